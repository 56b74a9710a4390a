package kafkaio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/clickledger/clickledger/schemas"
	"github.com/klauspost/compress/s2"
	"github.com/segmentio/kafka-go/compress"
)

const (
	batchPrefix = 12 // base offset and length
	batchHeader = 61 // up to the first record
	crcStart    = 21 // what the checksum covers begins here

	recordBytesMin = 7 // length, attributes, timestamp, offset, key, value, headers

	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrControl       = 0x20

	// inflatedBytesMax bounds what one batch may decompress to.
	inflatedBytesMax = 256 << 20
)

// errCorrupt marks bytes that no retry will make readable.
var errCorrupt = errors.New("unreadable log")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decodeBatches appends to recs the records at or after offset next of the batches in b, and returns
// them with the offset after the last batch. Keys and values are views into b, or into one buffer a
// batch where it is compressed. A batch that the broker cut off is left for the next fetch.
func decodeBatches(recs []schemas.Record, b []byte, partition int32, next int64) ([]schemas.Record, int64, error) {
	return decodeBatchesAs(recs, b, partition, next, false)
}

// decodeBatchesAs is decodeBatches, with tails in place of values where they are asked for.
func decodeBatchesAs(recs []schemas.Record, b []byte, partition int32, next int64, tails bool) ([]schemas.Record, int64, error) {
	for len(b) >= batchPrefix {
		base := int64(binary.BigEndian.Uint64(b))
		length := int(int32(binary.BigEndian.Uint32(b[8:])))
		if length < batchHeader-batchPrefix {
			return recs, next, fmt.Errorf("%w: a batch of %d bytes at offset %d", errCorrupt, length, base)
		}
		if len(b) < batchPrefix+length {
			break
		}
		batch := b[:batchPrefix+length]
		b = b[len(batch):]
		if magic := batch[16]; magic != 2 {
			return recs, next, fmt.Errorf("%w: format version %d at offset %d", errCorrupt, magic, base)
		}
		if binary.BigEndian.Uint32(batch[17:]) != crc32.Checksum(batch[crcStart:], castagnoli) {
			return recs, next, fmt.Errorf("%w: wrong checksum at offset %d", errCorrupt, base)
		}
		end := base + int64(int32(binary.BigEndian.Uint32(batch[23:]))) + 1
		attrs := binary.BigEndian.Uint16(batch[21:])
		if end > next && attrs&attrControl == 0 {
			var err error
			if recs, err = decodeBatch(recs, batch, partition, next, tails); err != nil {
				return recs, next, fmt.Errorf("%w: batch at offset %d: %w", errCorrupt, base, err)
			}
		}
		next = max(next, end)
	}
	return recs, next, nil
}

func decodeBatch(recs []schemas.Record, batch []byte, partition int32, next int64, tails bool) ([]schemas.Record, error) {
	attrs := binary.BigEndian.Uint16(batch[21:])
	base := int64(binary.BigEndian.Uint64(batch))
	firstMillis := int64(binary.BigEndian.Uint64(batch[27:]))
	maxMillis := int64(binary.BigEndian.Uint64(batch[35:]))
	count := int(int32(binary.BigEndian.Uint32(batch[57:])))
	body := batch[batchHeader:]
	if codec := attrs & attrCodec; codec != 0 {
		var err error
		if body, err = inflate(compress.Compression(codec), body); err != nil {
			return recs, err
		}
	}
	c := cursor{b: body}
	recs = slices.Grow(recs, min(max(count, 0), len(body)/recordBytesMin))
	for range count {
		length := c.varint()
		if c.bad || length < 0 || length > int64(len(c.b)) {
			return recs, errors.New("a record ends too early")
		}
		r := cursor{b: c.b[:length:length]}
		c.b = c.b[length:]
		r.skip(1) // attributes
		millis := firstMillis + r.varint()
		off := base + r.varint()
		key := r.bytes()
		tail := r.b
		value := r.bytes()
		if tails {
			value = tail
		}
		if r.bad {
			return recs, fmt.Errorf("the record at offset %d is malformed", off)
		}
		if attrs&attrLogAppendTime != 0 {
			millis = maxMillis
		}
		if off >= next {
			recs = append(recs, schemas.Record{
				Position:        schemas.Position{Partition: partition, Offset: off},
				TimestampMicros: millis * 1000, Key: key, Value: value,
			})
		}
	}
	return recs, nil
}

// inflate decompresses the records of a batch into a buffer of their own.
func inflate(c compress.Compression, b []byte) ([]byte, error) {
	if c == compress.Snappy && !bytes.HasPrefix(b, xerialMagic) {
		return inflateSnappy(b)
	}
	codec := c.Codec()
	if codec == nil {
		return nil, fmt.Errorf("unknown compression %d", c)
	}
	r := codec.NewReader(bytes.NewReader(b))
	defer func() { _ = r.Close() }()
	var out bytes.Buffer
	out.Grow(2 * len(b)) // and doubled when that does not do
	n, err := out.ReadFrom(io.LimitReader(r, inflatedBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if n > inflatedBytesMax {
		return nil, fmt.Errorf("a batch of more than %d bytes", inflatedBytesMax)
	}
	return out.Bytes(), nil
}

// xerialMagic begins snappy in the frames of the Java client; other clients write one plain block.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

// inflateSnappy decompresses one block, whose length is known, into a buffer of just that size.
func inflateSnappy(b []byte) ([]byte, error) {
	n, err := s2.DecodedLen(b)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if n > inflatedBytesMax {
		return nil, fmt.Errorf("a batch of more than %d bytes", inflatedBytesMax)
	}
	out, err := s2.Decode(make([]byte, 0, n), b)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return out, nil
}

// cursor reads the values of a record from the front of b.
type cursor struct {
	b   []byte
	bad bool
}

// varint reads a zigzag number.
func (c *cursor) varint() int64 {
	if len(c.b) > 0 && c.b[0] < 0x80 {
		v := c.b[0]
		c.b = c.b[1:]
		return int64(v>>1) ^ -int64(v&1)
	}
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

// bytes reads a length and as many bytes; nil where the length is negative.
func (c *cursor) bytes() []byte {
	n := c.varint()
	if c.bad || n < 0 {
		return nil
	}
	if n > int64(len(c.b)) {
		c.bad = true
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) skip(n int) {
	if n > len(c.b) {
		c.bad, c.b = true, nil
		return
	}
	c.b = c.b[n:]
}
