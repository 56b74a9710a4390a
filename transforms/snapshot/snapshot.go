// Package snapshot writes and reads the operators' state as plain bytes. A snapshot is read by the
// same build that wrote it or by a restored job; a damaged one is an error, never a wrong state.
package snapshot

import (
	"encoding/binary"
	"errors"

	"github.com/zeebo/xxh3"
)

const sumBytes = 8

// ErrMalformed says that bytes are not a snapshot.
var ErrMalformed = errors.New("malformed snapshot")

// Writer appends values to Buf.
type Writer struct{ Buf []byte }

// Int appends an integer.
func (w *Writer) Int(v int64) { w.Buf = binary.AppendVarint(w.Buf, v) }

// Bool appends a truth value.
func (w *Writer) Bool(v bool) {
	if v {
		w.Buf = append(w.Buf, 1)
	} else {
		w.Buf = append(w.Buf, 0)
	}
}

// Fixed appends bytes whose number the reader knows.
func (w *Writer) Fixed(b []byte) { w.Buf = append(w.Buf, b...) }

// Uint64 appends eight bytes.
func (w *Writer) Uint64(v uint64) { w.Buf = binary.LittleEndian.AppendUint64(w.Buf, v) }

// Bytes appends bytes with their number.
func (w *Writer) Bytes(b []byte) {
	w.Int(int64(len(b)))
	w.Buf = append(w.Buf, b...)
}

// Seal returns what was written with a checksum behind it; Open reads it.
func (w *Writer) Seal() []byte { return binary.LittleEndian.AppendUint64(w.Buf, xxh3.Hash(w.Buf)) }

// Open returns a reader of sealed bytes. Where the checksum is wrong it reads zeros and fails.
func Open(sealed []byte) Reader {
	at := len(sealed) - sumBytes
	if at < 0 || binary.LittleEndian.Uint64(sealed[at:]) != xxh3.Hash(sealed[:at]) {
		return Reader{failed: true}
	}
	return Reader{Rest: sealed[:at]}
}

// Reader reads what a Writer wrote, in the same order. After the first failure it reads zeros.
type Reader struct {
	Rest   []byte
	failed bool
}

// Int reads an integer.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.Rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.Rest = r.Rest[n:]
	return v
}

// Count reads a number of things that take at least size bytes each.
func (r *Reader) Count(size int) int {
	n := r.Int()
	if n < 0 || n > int64(len(r.Rest)/max(size, 1)) {
		r.fail()
		return 0
	}
	return int(n)
}

// Bool reads a truth value.
func (r *Reader) Bool() bool {
	b := r.Fixed(1)
	return b != nil && b[0] == 1
}

// Fixed reads n bytes as a view; nil on failure.
func (r *Reader) Fixed(n int) []byte {
	if n < 0 || n > len(r.Rest) {
		r.fail()
		return nil
	}
	b := r.Rest[:n:n]
	r.Rest = r.Rest[n:]
	return b
}

// Uint64 reads eight bytes.
func (r *Reader) Uint64() uint64 {
	b := r.Fixed(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// Bytes reads bytes with their number, as a view.
func (r *Reader) Bytes() []byte { return r.Fixed(r.Count(1)) }

func (r *Reader) fail() { r.failed, r.Rest = true, nil }

// Err is ErrMalformed where anything could not be read or is left over.
func (r *Reader) Err() error {
	if r.failed || len(r.Rest) != 0 {
		return ErrMalformed
	}
	return nil
}
