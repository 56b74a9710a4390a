// Package windowing keeps the one-minute windows: the second stage of the two-stage sums. It adds
// partial rows, sharded by ad, to absolute totals by row, publishes the rows that changed, and
// forgets a minute once no click that the stream still counts can fall into it.
//
// In: partial rows from several channels. Out: rows with absolute totals, by minute, whose
// Version is the number of records folded in; a block's watermark says how far the rows are complete.
package windowing

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/channel"
	"github.com/clickledger/clickledger/transforms/rowindex"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// AtEnd as the time between publications publishes once, when every channel has ended.
const AtEnd = math.MaxInt64

// maxPublishedRows bounds the rows of one published block.
const maxPublishedRows = 32_768

// Core is the state of one shard. It is not safe for concurrent use.
type Core struct {
	// OwnsBlocks makes the core free the blocks that it was given when it is done with them.
	OwnsBlocks bool
	// KeepsJournal has Journal tell what the core learns.
	KeepsJournal bool

	self, shards   int32
	latenessMillis int64
	publishMillis  int64 // between two publications, by the source's clock

	channels  *channel.Set[*schemas.RowBlock]
	minutes   map[int64]*minute
	published int64 // tick of the last publication
	watermark int64 // of the last publication
	sent      int64
	ready     []*schemas.RowBlock
	journal   snapshot.Writer
	newest    int64 // minute that was ever added to
	forgotten int64 // watermark up to which minutes were forgotten
}

// minute holds the totals of one window.
type minute struct {
	index rowindex.Index
	rows  schemas.RowBlock
	dirty []int32
	clean []bool // by row: not in dirty
}

// NewCore returns the empty state of shard self of shards, which publishes at most once in
// publishMillis.
func NewCore(p *policy.Policy, publishMillis int64, self, shards int32) *Core {
	return &Core{self: self, shards: shards, publishMillis: publishMillis,
		latenessMillis: policy.Max(p, func(r *policy.Revision) int64 { return r.AllowedLateness.Milliseconds() }),
		channels:       channel.New(header), minutes: map[int64]*minute{}, watermark: schemas.MinWatermark,
		forgotten: schemas.MinWatermark}
}

func header(b *schemas.RowBlock) *schemas.Header { return &b.Header }

// Apply takes one block of partial rows and calls emit for the blocks of totals that are to be
// published. Whoever an emitted block goes to owns it.
func (c *Core) Apply(in *schemas.RowBlock, emit func(*schemas.RowBlock)) error {
	var err error
	c.ready, err = c.channels.Offer(in, c.ready[:0])
	if err != nil {
		return fmt.Errorf("minutes shard %d: %w", c.self, err)
	}
	for _, b := range c.ready {
		if c.KeepsJournal {
			c.noteRows(b)
		}
		c.addAll(b)
		c.channels.Pass(b)
		if c.OwnsBlocks {
			b.Free()
		}
	}
	clear(c.ready)
	watermark, tick := c.channels.Watermark(), c.channels.Tick()
	final := watermark == schemas.MaxWatermark && c.watermark != watermark
	if final || (tick-c.published >= c.publishMillis && c.anyNews(watermark)) {
		c.publish(max(watermark, c.watermark), tick, emit)
		c.forget(watermark)
		if c.KeepsJournal {
			c.notePublished(watermark)
		}
	}
	return nil
}

func (c *Core) addAll(b *schemas.RowBlock) {
	for i := range b.Len() {
		m := c.minutes[b.MinuteMillis[i]]
		if m == nil {
			m = &minute{}
			c.minutes[b.MinuteMillis[i]] = m
		}
		m.add(b.MinuteMillis[i], b.RowKey.At(i), b.At(i))
	}
}

func (m *minute) add(minuteMillis int64, key []byte, s schemas.Sums) {
	r := &m.rows
	row := m.index.Row(r, minuteMillis, key)
	if int(row) == len(m.clean) {
		m.clean = append(m.clean, true)
	}
	r.Raw[row] += s.Raw
	r.Duplicates[row] += s.Duplicates
	r.Invalid[row] += s.Invalid
	r.Unique[row] += s.Unique
	r.SpendMicros[row] += s.SpendMicros
	r.Version[row] += s.Version
	if m.clean[row] {
		m.clean[row] = false
		m.dirty = append(m.dirty, row)
	}
}

func (c *Core) anyNews(watermark int64) bool {
	if watermark > c.watermark {
		return true
	}
	for _, m := range c.minutes {
		if len(m.dirty) > 0 {
			return true
		}
	}
	return false
}

// publish sends the changed rows by minute, in the order in which they changed first. Only the last block carries the new watermark.
func (c *Core) publish(watermark, tick int64, emit func(*schemas.RowBlock)) {
	out := schemas.NewRowBlock()
	send := func(mark int64) {
		out.Header = schemas.Header{Channel: c.self, Channels: c.shards, Prev: c.sent, Next: c.sent + 1,
			WatermarkMillis: mark, LogMillis: schemas.NoWatermark, TickMillis: tick}
		c.sent++
		emit(out)
		out = schemas.NewRowBlock()
	}
	for _, start := range slices.Sorted(maps.Keys(c.minutes)) {
		m := c.minutes[start]
		for _, row := range m.dirty {
			out.AppendRow(start, m.rows.RowKey.At(int(row)), m.rows.At(int(row)))
			m.clean[row] = true
			if out.Len() == maxPublishedRows {
				send(c.watermark)
			}
		}
		m.dirty = m.dirty[:0]
	}
	send(watermark)
	c.published, c.watermark = tick, watermark
}

// forget drops the minutes that no click may change any more.
func (c *Core) forget(watermark int64) {
	if watermark == schemas.MinWatermark {
		return
	}
	c.forgotten = max(c.forgotten, watermark)
	for start := range c.minutes {
		if watermark == schemas.MaxWatermark || watermark-start >= schemas.MinuteMillis+c.latenessMillis {
			delete(c.minutes, start)
		}
	}
}
