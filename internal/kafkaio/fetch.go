package kafkaio

import (
	"encoding/binary"
	"fmt"
	"io"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

const (
	// answerBytesMax is the largest answer that is read: the broker's limit for a request, and more.
	answerBytesMax   = 256 << 20
	fetchVersionMin  = 4  // the first with the record batches of today
	fetchVersionMax  = 11 // the last that names topics by name and that kafka-go encodes
	fetchCorrelation = 1  // the connection is this request's alone until it is answered
	fetchClientID    = "clickledger"
)

// fetchExchange asks for one partition's records and leaves them as the broker sent them. It is a
// kafka-go message that does its own reading (protocol.RawExchanger): kafka-go routes it to the
// partition's leader, and its own decoder, a struct and several allocations a record, is not run.
type fetchExchange struct {
	fetch.Request
	version int16
}

// fetchAnswer is the broker's answer; its batches are in a buffer of their own.
type fetchAnswer struct {
	code          kafka.Error
	highWatermark int64
	logStart      int64
	batches       []byte
}

// ApiKey is the name that kafka-go asks for.
func (*fetchAnswer) ApiKey() protocol.ApiKey { return protocol.Fetch } //nolint:staticcheck // kafka-go's name

// Required always answers that the exchange is raw, and notes the version agreed on.
func (f *fetchExchange) Required(versions map[protocol.ApiKey]int16) bool {
	f.version = min(versions[protocol.Fetch], fetchVersionMax)
	return true
}

// RawExchange writes the request and reads the answer.
func (f *fetchExchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if f.version < fetchVersionMin {
		return nil, fmt.Errorf("%w: the broker speaks fetch version %d only", errCorrupt, f.version)
	}
	if err := protocol.WriteRequest(rw, f.version, fetchCorrelation, fetchClientID, &f.Request); err != nil {
		return nil, err
	}
	r := &wireReader{r: rw, left: 4}
	r.left = int(r.int32())
	if r.err == nil && (r.left < 4 || r.left > answerBytesMax) {
		return nil, fmt.Errorf("%w: an answer of %d bytes", errCorrupt, r.left)
	}
	if id := r.int32(); r.err == nil && id != fetchCorrelation {
		return nil, fmt.Errorf("%w: the answer to another request", errCorrupt)
	}
	a := f.readAnswer(r)
	if r.err != nil {
		return nil, r.err
	}
	return a, nil
}

// readAnswer reads a fetch response of version 4 to 11 that holds one partition.
func (f *fetchExchange) readAnswer(r *wireReader) *fetchAnswer {
	a := &fetchAnswer{logStart: -1}
	r.int32() // throttle time
	if f.version >= 7 {
		a.code = kafka.Error(r.int16())
		r.int32() // session id
	}
	if r.int32() == 1 { // topics
		r.skip(int(r.int16())) // name
		if n := r.int32(); n != 1 {
			r.fail(n, "partitions")
		}
		r.int32() // partition
		if code := r.int16(); code != 0 {
			a.code = kafka.Error(code)
		}
		a.highWatermark = r.int64()
		r.int64() // last stable offset
		if f.version >= 5 {
			a.logStart = r.int64()
		}
		r.skip(16 * max(int(r.int32()), 0)) // aborted transactions
		if f.version >= 11 {
			r.int32() // preferred read replica
		}
		a.batches = r.bytes(max(int(r.int32()), 0))
	} else if r.err == nil && a.code == 0 {
		r.fail(0, "topics")
	}
	r.skip(r.left)
	return a
}

// wireReader reads big-endian values from a connection; after an error it returns zeros.
type wireReader struct {
	r    io.Reader
	left int // bytes of the answer that are not read yet
	buf  [8]byte
	err  error
}

func (w *wireReader) read(n int) []byte {
	if w.err == nil && n > w.left {
		w.err = fmt.Errorf("%w: the answer ends too early", errCorrupt)
	}
	if w.err == nil {
		_, w.err = io.ReadFull(w.r, w.buf[:n])
		w.left -= n
	}
	if w.err != nil {
		clear(w.buf[:])
	}
	return w.buf[:n]
}

func (w *wireReader) int16() int16 { return int16(binary.BigEndian.Uint16(w.read(2))) }
func (w *wireReader) int32() int32 { return int32(binary.BigEndian.Uint32(w.read(4))) }
func (w *wireReader) int64() int64 { return int64(binary.BigEndian.Uint64(w.read(8))) }

func (w *wireReader) bytes(n int) []byte {
	if w.err == nil && n > w.left {
		w.err = fmt.Errorf("%w: the answer ends too early", errCorrupt)
	}
	if w.err != nil || n == 0 {
		return nil
	}
	b := make([]byte, n)
	_, w.err = io.ReadFull(w.r, b)
	w.left -= n
	return b
}

func (w *wireReader) skip(n int) {
	for ; n > 0 && w.err == nil; n -= min(n, len(w.buf)) {
		w.read(min(n, len(w.buf)))
	}
}

func (w *wireReader) fail(n int32, what string) {
	if w.err == nil {
		w.err = fmt.Errorf("%w: an answer of %d %s", errCorrupt, n, what)
	}
}
