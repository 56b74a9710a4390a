package schemas

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// blockVersion is the first byte of every encoded block.
const blockVersion = 3

// MaxBlockClicks bounds the clicks of one block, so that a damaged length cannot ask for memory.
const MaxBlockClicks = 1 << 24

// MaxChannels bounds the channels of an operator for the same reason: it holds a state for each.
const MaxChannels = 1 << 16

var errBlock = errors.New("malformed block")

// Append encodes the block: version, header, number of clicks, which columns there are, then column
// by column; integers as zigzag varints of the difference to the entry before, keys as they are.
// Records are left out.
func (b *Block) Append(dst []byte) []byte {
	dst = append(dst, blockVersion)
	dst = b.Header.appendTo(dst, b.Len())
	if b.Len() == 0 {
		return dst
	}
	// Of most columns an entry takes one or two bytes, of a few more.
	dst = slices.Grow(dst, b.Len()*(3+8+3*16+22)+len(b.ClickID.Bytes)+len(b.RowKey.Bytes))
	columns := b.columns()
	dst = append(dst, byte(columns))
	dst = appendDeltas(dst, b.Partition)
	dst = appendDeltas(dst, b.WinnerPartition)
	for _, col := range [...][]int64{b.Offset, b.EventMillis, b.JudgeMillis, b.CostMicros, b.WinnerOffset} {
		dst = appendDeltas(dst, col)
	}
	if columns&ForDedup != 0 {
		dst = appendDeltas(appendDeltas(dst, b.ReceivedMicros), b.LogMillisColumn)
	}
	for i := range b.Verdict {
		dst = append(dst, byte(b.Verdict[i]), byte(b.Rules[i]), byte(b.Flags[i]))
	}
	for _, v := range b.ContentHash {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	for _, col := range [...][]Key128{b.ClickKey, b.IPKey, b.UserKey} {
		for i := range col {
			dst = append(dst, col[i][:]...)
		}
	}
	dst = b.ClickID.appendTo(dst)
	return b.RowKey.appendTo(dst)
}

// columns tells which of Columns an encoded block has.
func (b *Block) columns() (c Columns) {
	if len(b.ClickKey) > 0 {
		c |= ForDedup
	}
	if len(b.IPKey) > 0 {
		c |= ForIP
	}
	if len(b.UserKey) > 0 {
		c |= ForUser
	}
	return c
}

// Decode reads an encoded block into b, reusing its memory; the text columns are views into data.
// Any bytes give a block or an error.
func (b *Block) Decode(data []byte) error {
	b.Reset()
	if len(data) == 0 || data[0] != blockVersion {
		return fmt.Errorf("%w: unknown version", errBlock)
	}
	r := reader{rest: data[1:]}
	n := r.header(&b.Header)
	const leastBytes = 2 + 5 + 3 + 2 // of one click
	if r.failed || n < 0 || n > MaxBlockClicks || n*leastBytes > int64(len(r.rest)) {
		return errBlock
	}
	if !b.Header.valid() {
		return fmt.Errorf("%w: channel %d of %d", errBlock, b.Channel, b.Channels)
	}
	if n > 0 {
		b.decodeColumns(&r, int(n))
	}
	if r.failed || len(r.rest) != 0 {
		return errBlock
	}
	b.Encoded = data
	return nil
}

// DecodeBlock reads an encoded block into a new one; see Block.Decode.
func DecodeBlock(data []byte) (*Block, error) {
	b := new(Block)
	if err := b.Decode(data); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Block) decodeColumns(r *reader, n int) {
	present := r.take(1)
	if present == nil || present[0]&^byte(ForDedup|ForIP|ForUser) != 0 {
		r.failed = true
		return
	}
	columns := Columns(present[0])
	b.Partition = readDeltas(r, b.Partition, n)
	b.WinnerPartition = readDeltas(r, b.WinnerPartition, n)
	for _, col := range [...]*[]int64{&b.Offset, &b.EventMillis, &b.JudgeMillis, &b.CostMicros, &b.WinnerOffset} {
		*col = readDeltas(r, *col, n)
	}
	if columns&ForDedup != 0 {
		b.ReceivedMicros, b.LogMillisColumn = readDeltas(r, b.ReceivedMicros, n), readDeltas(r, b.LogMillisColumn, n)
	}
	if marks := r.take(3 * n); marks != nil {
		b.Verdict, b.Rules, b.Flags = slices.Grow(b.Verdict, n), slices.Grow(b.Rules, n), slices.Grow(b.Flags, n)
		for i := range n {
			b.Verdict = append(b.Verdict, Verdict(marks[3*i]))
			b.Rules = append(b.Rules, Rules(marks[3*i+1]))
			b.Flags = append(b.Flags, ClickFlags(marks[3*i+2]))
			r.failed = r.failed || int(marks[3*i]) >= len(verdictNames)
		}
	}
	if columns&ForDedup != 0 {
		hashes := r.take(8 * n)
		b.ContentHash = slices.Grow(b.ContentHash, len(hashes)/8)
		for i := range len(hashes) / 8 {
			b.ContentHash = append(b.ContentHash, binary.LittleEndian.Uint64(hashes[8*i:]))
		}
	}
	if columns&ForDedup != 0 {
		b.ClickKey = r.keys(b.ClickKey, n)
	}
	if columns&ForIP != 0 {
		b.IPKey = r.keys(b.IPKey, n)
	}
	if columns&ForUser != 0 {
		b.UserKey = r.keys(b.UserKey, n)
	}
	b.ClickID = b.ClickID.read(r, n)
	b.RowKey = b.RowKey.read(r, n)
}

// valid reports whether the channel is one of its number.
func (h *Header) valid() bool {
	return 0 <= h.Channel && h.Channel < h.Channels && h.Channels <= MaxChannels
}

// appendTo encodes a header and the number of entries that follow it.
func (h *Header) appendTo(dst []byte, n int) []byte {
	var settled int64
	if h.IsSettled {
		settled = 1
	}
	for _, v := range [...]int64{int64(h.Channel), int64(h.Channels), h.Start, h.Prev, h.Next,
		h.WatermarkMillis, h.LogMillis, h.TickMillis, settled, int64(n)} {
		dst = binary.AppendVarint(dst, v)
	}
	return dst
}

func appendDeltas[T int32 | int64](dst []byte, col []T) []byte {
	var last int64
	for _, v := range col {
		dst = binary.AppendVarint(dst, int64(v)-last)
		last = int64(v)
	}
	return dst
}

func readDeltas[T int32 | int64](r *reader, col []T, n int) []T {
	var last int64
	if n <= len(r.rest) { // else it fails soon
		col = slices.Grow(col, n)
	}
	for range n {
		last += r.varint()
		col = append(col, T(last))
	}
	return col
}

func (t *Text) appendTo(dst []byte) []byte {
	var from uint32
	for _, end := range t.Ends {
		dst = binary.AppendUvarint(dst, uint64(end-from))
		from = end
	}
	return append(dst, t.Bytes...)
}

func (t *Text) read(r *reader, n int) Text {
	ends, total := t.Ends[:0], uint64(0)
	if n <= len(r.rest) {
		ends = slices.Grow(ends, n)
	}
	for range n {
		size := r.uvarint()
		if size > uint64(len(r.rest)) {
			r.failed = true
			break
		}
		total += size
		ends = append(ends, uint32(total))
	}
	return Text{Bytes: r.take(int(min(total, 1<<32-1))), Ends: ends, isView: true}
}

// reader reads from the front of rest; failed sticks.
type reader struct {
	rest   []byte
	failed bool
}

// header reads what Header.appendTo wrote and returns the number of entries.
func (r *reader) header(h *Header) int64 {
	h.Channel, h.Channels = int32(r.varint()), int32(r.varint())
	h.Start, h.Prev, h.Next = r.varint(), r.varint(), r.varint()
	h.WatermarkMillis, h.LogMillis, h.TickMillis = r.varint(), r.varint(), r.varint()
	h.IsSettled = r.varint() == 1
	return r.varint()
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 {
		v := r.rest[0]
		r.rest = r.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// take returns the next n bytes as a view; nil, and the reader fails, where there are fewer.
func (r *reader) take(n int) []byte {
	if r.failed || n < 0 || n > len(r.rest) {
		r.failed, r.rest = true, nil
		return nil
	}
	v := r.rest[:n:n]
	r.rest = r.rest[n:]
	return v
}

// keys reads n keys behind col.
func (r *reader) keys(col []Key128, n int) []Key128 {
	data := r.take(16 * n)
	col = slices.Grow(col, len(data)/16)
	for i := range len(data) / 16 {
		col = append(col, Key128(data[16*i:]))
	}
	return col
}
