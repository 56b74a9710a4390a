package schemas

import (
	"encoding/binary"
	"math"
	"slices"
)

// Watermark bounds: a channel that never saw a record bounds nothing; one that ended passes all.
const (
	MinWatermark = math.MinInt64
	MaxWatermark = math.MaxInt64
	// NoWatermark is said by a channel that has had nothing to say yet: it holds nobody back.
	NoWatermark = math.MaxInt64 - 1
)

// Key128 is the first half of the SHA-256 of an identity: equal for equal identities, and nobody
// can make two different ones meet. The zero key means that there is no identity.
type Key128 [16]byte

// MakeKey128 is the key of two halves; never zero.
func MakeKey128(low, high uint64) (k Key128) {
	binary.LittleEndian.PutUint64(k[:], low)
	binary.LittleEndian.PutUint64(k[8:], high)
	if k.IsZero() {
		k[0] = 1
	}
	return k
}

// IsZero reports whether the key stands for no identity.
func (k Key128) IsZero() bool { return k == Key128{} }

// Shard maps the key onto one of n shards.
func (k Key128) Shard(n int) int64 {
	return int64((uint64(k[0]) | uint64(k[1])<<8 | uint64(k[2])<<16 | uint64(k[3])<<24) % uint64(n))
}

// Header says through which channel a block came and how far that channel is.
type Header struct {
	// Channel is the sender (a Kafka partition, then an upstream shard) of Channels senders.
	Channel, Channels int32
	// Start, Prev and Next chain the blocks of one channel: each begins where the one before it
	// ended, the first at Start. The receiver restores the order and sees a loss.
	Start, Prev, Next int64
	// WatermarkMillis promises that no later block of the channel holds a click that is to be
	// judged before it.
	WatermarkMillis int64
	// LogMillis promises that no later block of the channel holds a record whose log time is less.
	LogMillis int64
	// TickMillis is the source's clock when it made the block; it paces publishing and decides nothing.
	TickMillis int64
	// IsSettled says that the sender knows that no velocity rule can hit a click of the block: the
	// operators pass it on whole and in no order. The batch counts before it judges, and says so.
	IsSettled bool
}

// Block is a batch of clicks by column, the element that flows through the pipelines. Every
// column has Len entries, or none if it is one of Columns and nobody needs it any more; a block
// without clicks only carries its header.
type Block struct {
	Header

	Partition       []int32
	Offset          []int64
	EventMillis     []int64
	JudgeMillis     []int64 // when the click's turn is: its event time, or the watermark that it came behind
	CostMicros      []int64
	Verdict         []Verdict
	Rules           []Rules
	Flags           []ClickFlags
	WinnerPartition []int32 // of a duplicate's first copy
	WinnerOffset    []int64
	ClickID         Text
	RowKey          Text // AppendRowKey of the click's row, without the minute

	// ForDedup.
	ReceivedMicros  []int64
	LogMillisColumn []int64  // highest record timestamp of the partition so far, Unix milliseconds
	ClickKey        []Key128 // of click_id
	ContentHash     []uint64 // of ad and cost: differs between conflicting copies

	IPKey   []Key128 // ForIP: of (ip, ad); zero where the ip is empty
	UserKey []Key128 // ForUser: of (user, ad); zero where the user is empty

	// Records are the clicks' records, whole. Only blocks that stay in one process have them.
	Records []*Record

	// Encoded is what the block was decoded from, of one that was.
	Encoded []byte

	// Slot is scratch space of the operator that works on the block.
	Slot int32
}

// Columns are the columns that only some operators need.
type Columns uint8

// The columns by the operator that needs them. ForSink is for those that forward whole records.
const (
	ForDedup Columns = 1 << iota
	ForIP
	ForUser
	ForSink
)

// ClickFlags are marks on a click.
type ClickFlags uint8

// The marks on a click.
const (
	FlagLate     ClickFlags = 1 << iota // came behind its partition's watermark, or was judged after later ones
	FlagConflict                        // a duplicate whose ad or cost differs from the winner's
	FlagContext                         // counts as history only: judged, but neither summed nor reported
)

// Len is the number of clicks.
func (b *Block) Len() int { return len(b.Offset) }

// Position returns the position of click i.
func (b *Block) Position(i int) Position {
	return Position{Partition: b.Partition[i], Offset: b.Offset[i]}
}

// AppendFrom appends click i of src, whose columns all blocks appended to b must have.
func (b *Block) AppendFrom(src *Block, i int) {
	b.Partition = append(b.Partition, src.Partition[i])
	b.Offset = append(b.Offset, src.Offset[i])
	b.EventMillis = append(b.EventMillis, src.EventMillis[i])
	b.JudgeMillis = append(b.JudgeMillis, src.JudgeMillis[i])
	b.CostMicros = append(b.CostMicros, src.CostMicros[i])
	b.Verdict = append(b.Verdict, src.Verdict[i])
	b.Rules = append(b.Rules, src.Rules[i])
	b.Flags = append(b.Flags, src.Flags[i])
	b.WinnerPartition = append(b.WinnerPartition, src.WinnerPartition[i])
	b.WinnerOffset = append(b.WinnerOffset, src.WinnerOffset[i])
	b.ClickID.Append(src.ClickID.At(i))
	b.RowKey.Append(src.RowKey.At(i))
	b.ReceivedMicros = appendAt(b.ReceivedMicros, src.ReceivedMicros, i)
	b.LogMillisColumn = appendAt(b.LogMillisColumn, src.LogMillisColumn, i)
	b.ClickKey = appendAt(b.ClickKey, src.ClickKey, i)
	b.ContentHash = appendAt(b.ContentHash, src.ContentHash, i)
	b.IPKey = appendAt(b.IPKey, src.IPKey, i)
	b.UserKey = appendAt(b.UserKey, src.UserKey, i)
	b.Records = appendAt(b.Records, src.Records, i)
}

// appendAt appends entry i of a column that may be absent.
func appendAt[T any](dst, col []T, i int) []T {
	if len(col) == 0 {
		return dst
	}
	return append(dst, col[i])
}

// FillBare completes a block whose clicks are on time and need no deduplication any more, of which
// only the other columns were appended.
func (b *Block) FillBare() {
	n := b.Len()
	b.JudgeMillis = append(b.JudgeMillis[:0], b.EventMillis...)
	b.WinnerPartition = append(b.WinnerPartition[:0], b.Partition...)
	b.WinnerOffset = append(b.WinnerOffset[:0], b.Offset...)
	b.Verdict = slices.Grow(b.Verdict[:0], n)[:n]
	clear(b.Verdict)
}

// Reset empties the block and keeps its memory.
func (b *Block) Reset() {
	clear(b.Records)
	*b = Block{
		Records:   b.Records[:0],
		Partition: b.Partition[:0], Offset: b.Offset[:0], ReceivedMicros: b.ReceivedMicros[:0],
		EventMillis: b.EventMillis[:0], LogMillisColumn: b.LogMillisColumn[:0],
		JudgeMillis: b.JudgeMillis[:0], CostMicros: b.CostMicros[:0], Verdict: b.Verdict[:0],
		Rules: b.Rules[:0], Flags: b.Flags[:0], WinnerPartition: b.WinnerPartition[:0],
		WinnerOffset: b.WinnerOffset[:0], ClickKey: b.ClickKey[:0], ContentHash: b.ContentHash[:0],
		IPKey: b.IPKey[:0], UserKey: b.UserKey[:0],
		ClickID: b.ClickID.reset(), RowKey: b.RowKey.reset(),
	}
}

// Text is a column of strings: all bytes in one piece, and where each string ends.
type Text struct {
	Bytes []byte
	Ends  []uint32

	isView bool // Bytes belong to whoever was decoded from
}

// Append adds one string.
func (t *Text) Append(s []byte) {
	t.Bytes = append(t.Bytes, s...)
	t.Ends = append(t.Ends, uint32(len(t.Bytes)))
}

// At returns string i as a view.
func (t *Text) At(i int) []byte {
	var from uint32
	if i > 0 {
		from = t.Ends[i-1]
	}
	return t.Bytes[from:t.Ends[i]]
}

// Close ends the string whose bytes were appended to Bytes directly.
func (t *Text) Close() { t.Ends = append(t.Ends, uint32(len(t.Bytes))) }

func (t *Text) reset() Text {
	if t.isView {
		return Text{Ends: t.Ends[:0]}
	}
	return Text{Bytes: t.Bytes[:0], Ends: t.Ends[:0]}
}
