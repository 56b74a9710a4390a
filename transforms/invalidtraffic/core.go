// Package invalidtraffic finds the clicks that must not be billed though they are unique: by the
// bot and network lists, and by velocity, which counts the clicks of an identity, (ip, ad) or
// (user, ad), within a sliding window and holds the identity for a cooling time when they are too
// many.
//
// A velocity core takes blocks sharded by identity from several channels, waits until the
// watermark has passed a click's turn, and judges in order of turn, event time, partition, offset.
// Blocks that are settled it passes on at once.
// An on-time click's turn is its event time; a late one's is the watermark that it came behind. So
// the verdicts depend on the log alone. Out: the same clicks with the rules that they hit.
package invalidtraffic

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/channel"
)

// Identity says by whom a velocity core counts.
type Identity int

// The identities of the two velocity rules, in the order in which a click passes them. ByUser comes
// last and turns a billable click that hit any rule into an invalid one.
const (
	ByIP   Identity = iota // (ip, ad)
	ByUser                 // (user, ad)
)

// Core is the state of one shard of one velocity rule. It is not safe for concurrent use.
type Core struct {
	// OwnsBlocks makes the core free the blocks that it was given when it is done with them.
	OwnsBlocks bool
	// KeepsJournal has Journal tell what the core learns.
	KeepsJournal bool

	policy   *policy.Policy
	identity Identity
	self     int32

	channels *channel.Set[*schemas.Block]
	waiting  []waiting
	velocity *velocity
	outbox   *channel.Outbox
	ready    []*schemas.Block
	done     []*schemas.Block
	due      []turn
	spare    []turn // for merging
	ends     []int  // of the sorted runs in due
	lastTurn int64  // newest turn of a click that was counted; what is forgotten goes by it
	judgedTo int64  // watermark up to which clicks had their turn
	wasCut   bool
	journal  journal
}

// waiting is a block of which some clicks' turn has not come, and the order of its clicks.
type waiting struct {
	block *schemas.Block
	turns []turn
}

// turn is one click's place in the order.
type turn struct {
	judge, event int64
	offset       int64
	partition    int32
	index        int32
	block        *schemas.Block
}

func compareTurns(a, b turn) int {
	switch { // not by cmp.Or, which works all of it out for every pair
	case a.judge != b.judge:
		return cmp.Compare(a.judge, b.judge)
	case a.event != b.event:
		return cmp.Compare(a.event, b.event)
	case a.partition != b.partition:
		return cmp.Compare(a.partition, b.partition)
	}
	return cmp.Compare(a.offset, b.offset)
}

// NewCore returns the empty state of shard self of shards; the next operator has nextShards.
func NewCore(p *policy.Policy, identity Identity, self, shards, nextShards int32) *Core {
	columns := schemas.ForSink
	if identity == ByIP {
		columns |= schemas.ForUser
	}
	return &Core{policy: p, identity: identity, self: self, channels: channel.New(header),
		judgedTo: schemas.MinWatermark, velocity: newVelocity(p), outbox: channel.NewOutbox(self, shards, nextShards, columns)}
}

func header(b *schemas.Block) *schemas.Header { return &b.Header }

// Apply takes one block and calls emit for every block that follows from it, with the shard of
// the next operator that it is for, and which owns it.
func (c *Core) Apply(in *schemas.Block, emit func(shard int32, b *schemas.Block)) error {
	var err error
	c.ready, err = c.channels.Offer(in, c.ready[:0])
	if err != nil {
		return fmt.Errorf("invalid traffic shard %d: %w", c.self, err)
	}
	for _, b := range c.ready {
		c.queue(b)
		c.channels.Pass(b)
	}
	watermark := c.channels.Watermark()
	clear(c.ready)
	if c.KeepsJournal && watermark < c.judgedTo {
		c.cut()
	}
	c.release(watermark)
	c.judgedTo = watermark
	c.outbox.Flush(watermark, c.channels.Tick(), emit)
	c.done = schemas.FreeAll(c.done, c.OwnsBlocks)
	return nil
}

// queue puts a block's clicks in order.
func (c *Core) queue(b *schemas.Block) {
	switch {
	case b.Len() == 0:
		c.done = append(c.done, b)
		return
	case b.IsSettled:
		c.settle(b)
		return
	}
	c.waiting = append(c.waiting, waiting{block: b, turns: turnsOf(b)})
}

// turnsOf returns the turns of a block's clicks in order.
func turnsOf(b *schemas.Block) []turn {
	turns := make([]turn, b.Len())
	for i := range turns {
		turns[i] = turn{judge: b.JudgeMillis[i], event: b.EventMillis[i], partition: b.Partition[i],
			offset: b.Offset[i], index: int32(i), block: b}
	}
	if !slices.IsSortedFunc(turns, compareTurns) {
		slices.SortFunc(turns, compareTurns)
	}
	return turns
}

// settle passes on a block of clicks that no velocity rule can hit.
func (c *Core) settle(b *schemas.Block) {
	if c.identity == ByUser {
		for i := range b.Rules {
			if b.Rules[i] != 0 && b.Verdict[i] == schemas.Billable {
				b.Verdict[i] = schemas.Invalid
			}
		}
	}
	c.outbox.Forward(int64(c.self)%int64(c.outbox.Shards()), b)
}

// release judges every click whose turn is before the watermark.
func (c *Core) release(watermark int64) {
	due, ends := c.due[:0], c.ends[:0]
	kept := c.waiting[:0]
	for _, w := range c.waiting {
		n := len(w.turns)
		if watermark != schemas.MaxWatermark {
			n, _ = slices.BinarySearchFunc(w.turns, watermark, func(t turn, limit int64) int { return cmp.Compare(t.judge, limit) })
		}
		if n > 0 {
			due = append(due, w.turns[:n]...)
			ends = append(ends, len(due))
		}
		if n < len(w.turns) {
			kept = append(kept, waiting{block: w.block, turns: w.turns[n:]})
		} else {
			c.done = append(c.done, w.block)
		}
	}
	clear(c.waiting[len(kept):])
	c.waiting = kept
	due, c.spare = mergeRuns(due, c.spare, ends)
	clear(c.spare)
	c.ends = ends
	for _, t := range due {
		c.judge(t.block, int(t.index))
	}
	clear(due)
	c.due = due[:0]
}

// mergeRuns sorts turns that consist of sorted runs, given by their ends, by merging neighbours. It
// returns the sorted turns, and the memory that is free now.
func mergeRuns(turns, spare []turn, ends []int) (sorted, free []turn) {
	spare = slices.Grow(spare[:0], len(turns))[:len(turns)]
	for len(ends) > 1 {
		from, left := 0, ends[:0]
		for i := 0; i < len(ends); i += 2 {
			middle := ends[i]
			to := ends[min(i+1, len(ends)-1)]
			mergeTwo(spare[from:to], turns[from:middle], turns[middle:to])
			left, from = append(left, to), to
		}
		turns, spare, ends = spare, turns, left
	}
	return turns, spare
}

// mergeTwo merges a and b, both sorted, into dst.
func mergeTwo(dst, a, b []turn) {
	for len(a) > 0 && len(b) > 0 {
		if compareTurns(b[0], a[0]) < 0 {
			dst[0], b = b[0], b[1:]
		} else {
			dst[0], a = a[0], a[1:]
		}
		dst = dst[1:]
	}
	copy(dst[copy(dst, a):], b)
}

func (c *Core) judge(b *schemas.Block, i int) {
	key, rule := &b.UserKey[i], schemas.RuleVelocityUserAd
	if c.identity == ByIP {
		key, rule = &b.IPKey[i], schemas.RuleVelocityIPAd
	}
	if b.Verdict[i] == schemas.Billable && !key.IsZero() {
		// Turns go back only where a channel that was silent has spoken: neighbours may have been
		// judged without this click.
		if b.JudgeMillis[i] < c.lastTurn {
			b.Flags[i] |= schemas.FlagLate
		}
		c.lastTurn = max(c.lastTurn, b.JudgeMillis[i])
		event, judged := b.EventMillis[i], c.lastTurn
		isInvalid, isTrip := c.velocity.judge(*key, event, judged, c.policy.At(event).Velocity)
		if isInvalid {
			b.Rules[i] |= rule
		}
		if c.KeepsJournal {
			c.note(*key, event, judged, isTrip)
		}
	}
	if c.identity == ByUser && b.Verdict[i] == schemas.Billable && b.Rules[i] != 0 {
		b.Verdict[i] = schemas.Invalid // the last rule has spoken
	}
	c.outbox.Add(c.next(b, i), b, i)
}

func (c *Core) note(k schemas.Key128, event, judged int64, isTrip bool) {
	c.journal.recent.put(k, event, judged)
	if isTrip {
		c.journal.lasting.put(k, event, judged)
	}
}

// next is the shard of the next operator that a click goes to: that of its (user, ad) identity, or
// any, by its offset, where it has none.
func (c *Core) next(b *schemas.Block, i int) int64 {
	n := c.outbox.Shards()
	switch {
	case n == 1:
		return 0
	case b.UserKey[i].IsZero():
		return int64(uint64(b.Offset[i]) % uint64(n))
	}
	return b.UserKey[i].Shard(n)
}
