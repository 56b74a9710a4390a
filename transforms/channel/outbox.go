package channel

import (
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// maxBlockClicks bounds a block that is sent: a runner's buffers have to hold it whole.
const maxBlockClicks = 16_384

// heartbeatMillis is how far the watermark must move before an operator says so without clicks.
const heartbeatMillis = 200

// Outbox collects what an operator sends: one block for each shard of the next operator.
type Outbox struct {
	columns        schemas.Columns
	self, channels int32
	sources        []*schemas.Block // of the clicks that wait for Flush
	picks          [][]schemas.Pick // by shard
	whole          [][]*schemas.Block
	sent           []int64
	announced      int64
}

// NewOutbox returns the outbox of channel self of channels, towards that many shards of operators
// that need the columns.
func NewOutbox(self, channels, shards int32, columns schemas.Columns) *Outbox {
	return &Outbox{columns: columns, self: self, channels: channels, picks: make([][]schemas.Pick, shards),
		whole: make([][]*schemas.Block, shards), sent: make([]int64, shards), announced: schemas.MinWatermark}
}

// Add puts click i of a block into the shard's block. The click is copied by Flush: until then the
// block must stay, and what is changed of it counts.
func (o *Outbox) Add(shard int64, b *schemas.Block, i int) {
	if int(b.Slot) >= len(o.sources) || o.sources[b.Slot] != b {
		b.Slot = int32(len(o.sources))
		o.sources = append(o.sources, b)
	}
	o.picks[shard] = append(o.picks[shard], schemas.Pick{Source: b.Slot, Index: int32(i)})
}

// Forward sends a whole block to the shard, with its clicks as they are by Flush.
func (o *Outbox) Forward(shard int64, b *schemas.Block) { o.whole[shard] = append(o.whole[shard], b) }

// Shards is the number of shards that the outbox sends to.
func (o *Outbox) Shards() int { return len(o.picks) }

// Announced is the watermark that was last sent.
func (o *Outbox) Announced() int64 { return o.announced }

// Flush sends the blocks that hold clicks, and an empty one to every other shard where the
// watermark moved far enough to matter. Whoever an emitted block goes to owns it.
func (o *Outbox) Flush(watermark, tick int64, emit func(shard int32, b *schemas.Block)) {
	moved := watermark > o.announced && (o.announced == schemas.MinWatermark ||
		watermark == schemas.MaxWatermark || watermark-o.announced >= heartbeatMillis)
	send := func(shard int, b *schemas.Block, watermark int64) {
		b.Header = schemas.Header{Channel: o.self, Channels: o.channels, Prev: o.sent[shard], Next: o.sent[shard] + 1,
			WatermarkMillis: watermark, LogMillis: schemas.NoWatermark, TickMillis: tick, IsSettled: b.IsSettled}
		o.sent[shard]++
		emit(int32(shard), b)
	}
	for shard, picks := range o.picks {
		for _, b := range o.whole[shard] {
			send(shard, b, o.announced) // what is sent behind it may be judged before the new watermark
		}
		clear(o.whole[shard])
		o.whole[shard] = o.whole[shard][:0]
		if len(picks) == 0 && !moved {
			continue
		}
		o.picks[shard] = picks[:0]
		for len(picks) > maxBlockClicks {
			b := schemas.NewBlock()
			b.Gather(o.sources, picks[:maxBlockClicks], o.columns)
			send(shard, b, o.announced)
			picks = picks[maxBlockClicks:]
		}
		b := schemas.NewBlock()
		b.Gather(o.sources, picks, o.columns)
		send(shard, b, max(watermark, o.announced))
	}
	clear(o.sources)
	o.sources = o.sources[:0]
	if moved {
		o.announced = watermark
	}
}

// Save writes the outbox; it is empty between two calls of Flush.
func (o *Outbox) Save(w *snapshot.Writer) {
	w.Int(o.announced)
	for _, n := range o.sent {
		w.Int(n)
	}
}

// Load reads what Save wrote.
func (o *Outbox) Load(r *snapshot.Reader) {
	o.announced = r.Int()
	for i := range o.sent {
		o.sent[i] = r.Int()
	}
}
