// Package dedup finds the copies of a click: of all records with one click_id the first recorded
// wins, the others are duplicates.
//
// The core takes blocks from several channels and judges clicks in log order (log time, partition,
// offset), merging the channels by their log times, so that its verdicts do not depend on the order
// in which blocks happen to arrive. In: blocks sharded by click key. Out: the same clicks, with
// duplicates marked and pointing to the winner, in blocks per shard of the next operator.
package dedup

import (
	"fmt"
	"math"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/claim"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/channel"
	"github.com/clickledger/clickledger/transforms/expiring"
)

// Mode says how long a click_id is remembered.
type Mode int

const (
	// Sliding is the stream's: the policy's dedup.ttl from the last copy, by received_at.
	Sliding Mode = iota
	// FromWinner is the batch's: dedup.lookback from the winner, end included, by received_at.
	FromWinner
)

// entry is what is remembered of a click_id: it holds the owning position, so that a record that
// comes again is recognised as itself.
type entry struct {
	anchor  int64 // received_at from which the time to live counts, Unix microseconds
	offset  int64 // of the winner
	content uint64
	// The winner's partition, and the log time of the last copy in seconds: what is older than the
	// map's span does not count, whether the map has dropped it yet or not.
	partition int32
	seconds   uint32
}

func (e *entry) winner() schemas.Position {
	return schemas.Position{Partition: e.partition, Offset: e.offset}
}

// Core is the state of one shard. It is not safe for concurrent use.
type Core struct {
	// OwnsBlocks makes the core free the blocks that it was given when it is done with them.
	OwnsBlocks bool
	// KeepsJournal has Journal tell what the core learns.
	KeepsJournal bool

	policy *policy.Policy
	mode   Mode
	self   int32

	channels *channel.Set[*schemas.Block]
	pending  []queue // by channel
	seen     *expiring.Map[entry]
	outbox   *channel.Outbox
	shared   *shared // nil where the core's own memory decides alone
	ready    []*schemas.Block
	done     []*schemas.Block
	lastLog  int64 // newest log time of a click that had its turn; what is forgotten goes by it
	judgedTo int64 // log time up to which clicks had their turn
	wasCut   bool
	journal  journal
}

// queue holds the clicks of one channel that wait for their turn.
type queue struct {
	blocks []*schemas.Block
	next   int // index into blocks[0]
}

// NewCore returns the empty state of shard self of shards; the next operator has as many.
func NewCore(p *policy.Policy, mode Mode, self, shards int32) *Core {
	span := int64(expiring.Forever)
	if mode == Sliding {
		span = SpanMillis(p)
	}
	return &Core{policy: p, mode: mode, self: self, channels: channel.New(header), judgedTo: schemas.MinWatermark,
		seen: expiring.New[entry](span), outbox: channel.NewOutbox(self, shards, shards, schemas.ForIP|schemas.ForUser|schemas.ForSink)}
}

// SpanMillis is how long the stream remembers a click_id at least, by log time.
func SpanMillis(p *policy.Policy) int64 {
	ttl := policy.Max(p, func(r *policy.Revision) int64 { return r.Dedup.TTL.Milliseconds() })
	skew := policy.Max(p, func(r *policy.Revision) int64 { return r.AllowedSkew.Milliseconds() })
	return ttl + skew + 60_000
}

func header(b *schemas.Block) *schemas.Header { return &b.Header }

// Apply takes one block and calls emit for every block that follows from it, with the shard of
// the next operator that it is for, and which owns it.
func (c *Core) Apply(in *schemas.Block, emit func(shard int32, b *schemas.Block)) error {
	var err error
	c.ready, err = c.channels.Offer(in, c.ready[:0])
	if err != nil {
		return fmt.Errorf("dedup shard %d: %w", c.self, err)
	}
	for _, b := range c.ready {
		for int32(len(c.pending)) < b.Channels {
			c.pending = append(c.pending, queue{})
		}
		if b.Len() > 0 {
			q := &c.pending[b.Channel]
			q.blocks = append(q.blocks, b)
		} else {
			c.done = append(c.done, b)
		}
		c.channels.Pass(b)
	}
	clear(c.ready)
	limit := c.channels.Log()
	if c.KeepsJournal && limit < c.judgedTo {
		c.cut()
	}
	c.merge(limit)
	c.judgedTo = limit
	if err := c.settle(); err != nil {
		return err
	}
	c.outbox.Flush(c.watermark(), c.channels.Tick(), emit)
	c.done = schemas.FreeAll(c.done, c.OwnsBlocks)
	return nil
}

// merge judges every waiting click with a log time before the limit, in log order.
func (c *Core) merge(limit int64) {
	for {
		var first, second *queue
		for i := range c.pending {
			switch q := &c.pending[i]; {
			case len(q.blocks) == 0:
			case first == nil || q.before(first):
				first, second = q, first
			case second == nil || q.before(second):
				second = q
			}
		}
		if first == nil || !first.due(limit) {
			return
		}
		for len(first.blocks) > 0 && first.due(limit) && (second == nil || first.before(second)) {
			b := first.blocks[0]
			c.judge(b, first.next)
			if first.pop() {
				c.done = append(c.done, b)
			}
		}
	}
}

func (q *queue) due(limit int64) bool {
	return limit == schemas.MaxWatermark || q.blocks[0].LogMillisColumn[q.next] < limit
}

// before orders the heads of two queues by log time, partition, offset.
func (q *queue) before(o *queue) bool {
	a, b := q.blocks[0], o.blocks[0]
	if l, m := a.LogMillisColumn[q.next], b.LogMillisColumn[o.next]; l != m {
		return l < m
	}
	return a.Position(q.next).Less(b.Position(o.next))
}

// pop goes on to the next click and reports whether that was the last of its block.
func (q *queue) pop() bool {
	q.next++
	if q.next < q.blocks[0].Len() {
		return false
	}
	q.blocks, q.next = q.blocks[1:], 0
	return true
}

// judge decides on one click, marks it, and puts it into the block of its next shard. With a store
// the click is marked by settle.
func (c *Core) judge(b *schemas.Block, i int) {
	if c.shared == nil {
		mark(b, i, c.remember(b, i))
	} else {
		c.claim(b, i)
	}
	to := b.IPKey[i]
	if to.IsZero() {
		to = b.ClickKey[i]
	}
	c.outbox.Add(to.Shard(c.outbox.Shards()), b, i)
}

// keepMicros is the time to live that holds for a click of that event time.
func (c *Core) keepMicros(eventMillis int64) int64 {
	rev := c.policy.At(eventMillis)
	if c.mode == FromWinner {
		return rev.Dedup.Lookback.Microseconds()
	}
	return rev.Dedup.TTL.Microseconds()
}

// remember returns the owner of a click's click_id, which is the click itself where it wins.
func (c *Core) remember(b *schemas.Block, i int) claim.Owner {
	now, pos := b.ReceivedMicros[i], b.Position(i)
	e, found := c.seen.Get(b.ClickKey[i])
	c.lastLog = max(c.lastLog, b.LogMillisColumn[i])
	if found && int64(logSeconds(c.lastLog))-int64(e.seconds) > c.seen.Span()/1000 {
		found = false // the map forgets later than it may
	}
	switch {
	case found && e.winner() == pos:
		// The winner itself, delivered again: it stays the winner.
	case found && now-e.anchor <= c.keepMicros(b.EventMillis[i]):
		if c.mode == Sliding {
			e.anchor, e.seconds = max(e.anchor, now), logSeconds(c.lastLog)
			c.put(b, i, e)
		}
	default:
		e = entry{partition: pos.Partition, offset: pos.Offset, anchor: now, content: b.ContentHash[i],
			seconds: logSeconds(c.lastLog)}
		c.put(b, i, e)
	}
	return claim.Owner{Position: e.winner(), Content: e.content}
}

func (c *Core) put(b *schemas.Block, i int, e entry) {
	c.seen.Put(b.ClickKey[i], e, c.lastLog)
	if c.KeepsJournal {
		c.journal.put(b.ClickKey[i], e, c.lastLog)
	}
}

// logSeconds is a log time as an entry keeps it.
func logSeconds(millis int64) uint32 { return uint32(min(max(millis/1000, 0), math.MaxUint32)) }

// mark makes a click that another one owns its duplicate.
func mark(b *schemas.Block, i int, owner claim.Owner) {
	if owner.Position == b.Position(i) {
		return
	}
	b.WinnerPartition[i], b.WinnerOffset[i] = owner.Position.Partition, owner.Position.Offset
	if b.ContentHash[i] != owner.Content {
		b.Flags[i] |= schemas.FlagConflict
	}
	if b.Verdict[i] != schemas.Late {
		b.Verdict[i], b.Rules[i] = schemas.Duplicate, 0
	}
}

// watermark is what no later output comes before: the channels' least, and the waiting clicks.
func (c *Core) watermark() int64 {
	watermark := c.channels.Watermark()
	for i := range c.pending {
		from := c.pending[i].next
		for _, b := range c.pending[i].blocks {
			for _, t := range b.JudgeMillis[from:] {
				watermark = min(watermark, t)
			}
			from = 0
		}
	}
	return watermark
}
