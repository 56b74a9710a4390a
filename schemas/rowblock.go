package schemas

import (
	"fmt"
)

// RowBlock is a batch of rows by column: partial sums on their way to the totals, or totals on
// their way to the serving table. Every column has Len entries.
type RowBlock struct {
	Header

	MinuteMillis []int64
	RowKey       Text
	Raw          []int64
	Duplicates   []int64
	Invalid      []int64
	Unique       []int64
	SpendMicros  []int64
	Version      []int64 // records folded in

	// Encoded is what the block was decoded from, of one that was.
	Encoded []byte
}

// Len is the number of rows.
func (b *RowBlock) Len() int { return len(b.MinuteMillis) }

// rowBlockVersion is the first byte of every encoded row block.
const rowBlockVersion = 0x42

func (b *RowBlock) columns() [7]*[]int64 {
	return [...]*[]int64{&b.MinuteMillis, &b.Raw, &b.Duplicates, &b.Invalid, &b.Unique, &b.SpendMicros, &b.Version}
}

// Append encodes the block: version, header, number of rows, then column by column.
func (b *RowBlock) Append(dst []byte) []byte {
	dst = append(dst, rowBlockVersion)
	dst = b.Header.appendTo(dst, b.Len())
	for _, col := range b.columns() {
		dst = appendDeltas(dst, *col)
	}
	return b.RowKey.appendTo(dst)
}

// Decode reads an encoded row block into b, reusing its memory; the keys are views into data.
// Any bytes give a block or an error.
func (b *RowBlock) Decode(data []byte) error {
	b.Reset()
	if len(data) == 0 || data[0] != rowBlockVersion {
		return fmt.Errorf("%w: unknown version", errBlock)
	}
	r := reader{rest: data[1:]}
	n := r.header(&b.Header)
	if r.failed || n < 0 || n > MaxBlockClicks || n*8 > int64(len(r.rest)) {
		return errBlock
	}
	if !b.Header.valid() {
		return fmt.Errorf("%w: channel %d of %d", errBlock, b.Channel, b.Channels)
	}
	for _, col := range b.columns() {
		*col = readDeltas(&r, *col, int(n))
	}
	b.RowKey = b.RowKey.read(&r, int(n))
	if r.failed || len(r.rest) != 0 {
		return errBlock
	}
	b.Encoded = data
	return nil
}

// Sums are the figures of one row.
type Sums struct {
	Raw, Duplicates, Invalid, Unique int64
	SpendMicros                      int64
	Version                          int64
}

// AppendRow adds one row.
func (b *RowBlock) AppendRow(minuteMillis int64, rowKey []byte, s Sums) {
	b.MinuteMillis = append(b.MinuteMillis, minuteMillis)
	b.RowKey.Append(rowKey)
	b.Raw = append(b.Raw, s.Raw)
	b.Duplicates = append(b.Duplicates, s.Duplicates)
	b.Invalid = append(b.Invalid, s.Invalid)
	b.Unique = append(b.Unique, s.Unique)
	b.SpendMicros = append(b.SpendMicros, s.SpendMicros)
	b.Version = append(b.Version, s.Version)
}

// At returns the figures of row i.
func (b *RowBlock) At(i int) Sums {
	return Sums{Raw: b.Raw[i], Duplicates: b.Duplicates[i], Invalid: b.Invalid[i], Unique: b.Unique[i],
		SpendMicros: b.SpendMicros[i], Version: b.Version[i]}
}

// Row returns row i with its key.
func (b *RowBlock) Row(i int) (MinuteRow, error) {
	key, err := ParseRowKey(b.MinuteMillis[i], b.RowKey.At(i))
	if err != nil {
		return MinuteRow{}, err
	}
	return MinuteRow{MinuteKey: key, RawClicks: b.Raw[i], DuplicateClicks: b.Duplicates[i], InvalidClicks: b.Invalid[i],
		UniqueClicks: b.Unique[i], SpendMicros: b.SpendMicros[i], Version: uint64(b.Version[i])}, nil
}

// Reset empties the block and keeps its memory.
func (b *RowBlock) Reset() {
	b.Header = Header{}
	for _, col := range b.columns() {
		*col = (*col)[:0]
	}
	b.RowKey = b.RowKey.reset()
	b.Encoded = nil
}
