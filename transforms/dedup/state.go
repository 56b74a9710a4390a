package dedup

import (
	"cmp"
	"errors"
	"slices"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// errOtherMemory says that the job was configured otherwise when the state was saved: what the one
// memory holds the other one lacks.
var errOtherMemory = errors.New("the state was saved with another setting of dedup; begin the job anew, without a savepoint")

// Ended reports whether nothing more will come.
func (c *Core) Ended() bool { return c.channels.Ended() }

// Head returns what changes with every block: see shardstate.Core.
func (c *Core) Head() []byte {
	var w snapshot.Writer
	w.Int(c.judgedTo)
	w.Int(c.lastLog)
	c.outbox.Save(&w)
	c.channels.Save(&w)
	w.Bool(c.shared != nil)
	if c.shared != nil {
		w.Bool(c.shared.isAway)
		w.Bytes(c.shared.store.Save())
	}
	return w.Seal()
}

// LoadHead takes what Head returned for a core of the same policy and shards.
func (c *Core) LoadHead(head []byte) error {
	r := snapshot.Open(head)
	c.judgedTo, c.lastLog = r.Int(), r.Int()
	c.outbox.Load(&r)
	c.channels.Load(&r)
	var isAway bool
	var store []byte
	isShared := r.Bool()
	if isShared {
		isAway, store = r.Bool(), r.Bytes()
	}
	if err := r.Err(); err != nil {
		return err
	}
	if isShared != (c.shared != nil) {
		return errOtherMemory
	}
	if !isShared {
		return nil
	}
	c.shared.isAway = isAway
	return c.shared.store.Load(store)
}

// journal is what the memory learned, one click_id after the other: its key, who owns it, and the
// differences of its times to those of the one before.
type journal struct {
	snapshot.Writer
	offset, anchor, log int64
}

func (j *journal) put(k schemas.Key128, e entry, logMillis int64) {
	j.Fixed(k[:])
	j.Int(int64(e.partition))
	j.Int(e.offset - j.offset)
	j.Int(e.anchor - j.anchor)
	j.Int(logMillis - j.log)
	j.Uint64(e.content)
	j.offset, j.anchor, j.log = e.offset, e.anchor, logMillis
}

// Journal returns the click_ids that were learned since the last call, stamped with the log time: see shardstate.Core.
func (c *Core) Journal() snapshot.Journal {
	learned := c.journal.Buf
	c.journal = journal{Writer: snapshot.Writer{Buf: learned[:0]}}
	return snapshot.Journal{Recent: learned, Stamp: c.lastLog}
}

// Span is how long a click_id is remembered by log time, in milliseconds.
func (c *Core) Span() int64 { return c.seen.Span() }

// Horizon is the log time up to which no click_id is remembered any more.
func (c *Core) Horizon() int64 { return c.lastLog - c.seen.Span() - 1000 }

// Redo learns what Journal returned.
func (c *Core) Redo(learned []byte) error {
	r := snapshot.Reader{Rest: learned}
	var offset, anchor, log int64
	for len(r.Rest) > 0 {
		var k schemas.Key128
		copy(k[:], r.Fixed(len(k)))
		e := entry{partition: int32(r.Int())}
		offset, anchor, log = offset+r.Int(), anchor+r.Int(), log+r.Int()
		e.offset, e.anchor, e.content, e.seconds = offset, anchor, r.Uint64(), logSeconds(log)
		if k.IsZero() {
			return snapshot.ErrMalformed
		}
		c.seen.Put(k, e, log)
	}
	return r.Err()
}

// Waiting returns the blocks with clicks that wait: see shardstate.Core.
func (c *Core) Waiting() (blocks [][]byte, anew bool) {
	var out [][]byte
	for i := range c.pending {
		for _, b := range c.pending[i].blocks {
			out = append(out, b.Encoded)
		}
	}
	c.ready = c.channels.AppendHeld(c.ready[:0])
	for _, b := range c.ready {
		out = append(out, b.Encoded)
	}
	clear(c.ready)
	anew, c.wasCut = c.wasCut, false
	return out, anew
}

// Wait takes back a block that Waiting returned.
func (c *Core) Wait(data []byte) error {
	b, err := schemas.DecodeBlock(data)
	if err != nil {
		return err
	}
	if !c.channels.Restore(b) || b.Len() == 0 {
		return nil
	}
	for int32(len(c.pending)) <= b.Channel {
		c.pending = append(c.pending, queue{})
	}
	q := &c.pending[b.Channel]
	at, found := slices.BinarySearchFunc(q.blocks, b.Prev, func(other *schemas.Block, prev int64) int { return cmp.Compare(other.Prev, prev) })
	switch {
	case found: // it came twice
		q.blocks[at] = b
	case !c.wasJudged(b.LogMillisColumn[b.Len()-1]):
		q.blocks = slices.Insert(q.blocks, at, b)
	}
	if q.next = 0; len(q.blocks) > 0 {
		for c.wasJudged(q.blocks[0].LogMillisColumn[q.next]) {
			q.next++
		}
	}
	return nil
}

// wasJudged reports whether clicks of that log time had their turn.
func (c *Core) wasJudged(logMillis int64) bool {
	return c.judgedTo == schemas.MaxWatermark || logMillis < c.judgedTo
}

// cut leaves of each block whose first clicks had their turn the other ones. It is called where the
// limit goes back, because a channel that was silent has spoken: from then on the limit alone does
// not tell whose turn it was.
func (c *Core) cut() {
	c.wasCut = true
	for i := range c.pending {
		q := &c.pending[i]
		if q.next == 0 {
			continue
		}
		old, rest := q.blocks[0], schemas.NewBlock()
		for n := q.next; n < old.Len(); n++ {
			rest.AppendFrom(old, n)
		}
		rest.Header = old.Header
		rest.Encoded = rest.Append(nil)
		q.blocks[0], q.next = rest, 0
		c.done = append(c.done, old)
	}
}
