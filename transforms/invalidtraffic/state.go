package invalidtraffic

import (
	"slices"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// Ended reports whether nothing more will come.
func (c *Core) Ended() bool { return c.channels.Ended() }

// Head returns what changes with every block: see shardstate.Core.
func (c *Core) Head() []byte {
	var w snapshot.Writer
	w.Int(c.judgedTo)
	w.Int(c.lastTurn)
	c.outbox.Save(&w)
	c.channels.Save(&w)
	return w.Seal()
}

// LoadHead takes what Head returned for a core of the same policy and shards.
func (c *Core) LoadHead(head []byte) error {
	r := snapshot.Open(head)
	c.judgedTo, c.lastTurn = r.Int(), r.Int()
	c.outbox.Load(&r)
	c.channels.Load(&r)
	return r.Err()
}

// journal is what the core learned, one click after the other: its identity, and the differences of
// its times to those of the one before. What is recent are the clicks that were counted, what is
// lasting are those over the limit.
type journal struct {
	recent, lasting clickLog
}

type clickLog struct {
	snapshot.Writer
	event int64
}

func (l *clickLog) put(k schemas.Key128, event, judged int64) {
	l.Fixed(k[:])
	l.Int(event - l.event)
	l.Int(judged - event)
	l.event = event
}

func readClicks(log []byte, each func(k schemas.Key128, event, judged int64)) error {
	r := snapshot.Reader{Rest: log}
	var event int64
	for len(r.Rest) > 0 {
		var k schemas.Key128
		copy(k[:], r.Fixed(len(k)))
		event += r.Int()
		judged := event + r.Int()
		if k.IsZero() {
			return snapshot.ErrMalformed
		}
		each(k, event, judged)
	}
	return r.Err()
}

// Journal returns what was learned since the last call, stamped with the time of the last turn: see shardstate.Core.
func (c *Core) Journal() snapshot.Journal {
	learned := snapshot.Journal{Recent: c.journal.recent.Buf, Stamp: c.lastTurn, Lasting: c.journal.lasting.Buf}
	c.journal.recent = clickLog{Writer: snapshot.Writer{Buf: learned.Recent[:0]}}
	c.journal.lasting = clickLog{Writer: snapshot.Writer{Buf: learned.Lasting[:0]}}
	return learned
}

// Redo counts the clicks again that Journal said were recent.
func (c *Core) Redo(recent []byte) error {
	return readClicks(recent, func(k schemas.Key128, event, judged int64) {
		c.velocity.count(k, event, judged, event)
	})
}

// RedoLasting holds the identities again that Journal said were over the limit.
func (c *Core) RedoLasting(lasting []byte) error {
	return readClicks(lasting, func(k schemas.Key128, event, judged int64) {
		c.velocity.trips.Put(k, event, judged)
	})
}

// Span is for how long a click is counted, in milliseconds.
func (c *Core) Span() int64 { return c.velocity.retentionMillis }

// Horizon is the time up to which no click is counted any more.
func (c *Core) Horizon() int64 { return c.lastTurn - c.velocity.retentionMillis - 1 }

// Save returns the identities that were over the limit; equal cores give equal bytes.
func (c *Core) Save() []byte {
	var w snapshot.Writer
	c.velocity.trips.Save(&w, func(w *snapshot.Writer, t int64) { w.Int(t) })
	return w.Seal()
}

// Load replaces them by what Save returned for a core of the same policy and shards.
func (c *Core) Load(data []byte) error {
	r := snapshot.Open(data)
	c.velocity.trips.Load(&r, func(r *snapshot.Reader) int64 { return r.Int() })
	return r.Err()
}

// Waiting returns the blocks with clicks that wait: see shardstate.Core.
func (c *Core) Waiting() (blocks [][]byte, anew bool) {
	out := make([][]byte, 0, len(c.waiting))
	for _, w := range c.waiting {
		out = append(out, w.block.Encoded)
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
	if !c.channels.Restore(b) || b.Len() == 0 || b.IsSettled {
		return nil
	}
	// It may come twice.
	c.waiting = slices.DeleteFunc(c.waiting, func(w waiting) bool { return w.block.Channel == b.Channel && w.block.Prev == b.Prev })
	turns := slices.DeleteFunc(turnsOf(b), func(t turn) bool { return c.judgedTo == schemas.MaxWatermark || t.judge < c.judgedTo })
	if len(turns) > 0 {
		c.waiting = append(c.waiting, waiting{block: b, turns: turns})
	}
	return nil
}

// cut leaves of each block of which some clicks had their turn the other ones. It is called where
// the watermark goes back, because a channel that was silent has spoken: from then on the watermark
// alone does not tell whose turn it was.
func (c *Core) cut() {
	c.wasCut = true
	for i, w := range c.waiting {
		if len(w.turns) == w.block.Len() {
			continue
		}
		rest := schemas.NewBlock()
		for _, t := range w.turns {
			rest.AppendFrom(w.block, int(t.index))
		}
		rest.Header = w.block.Header
		rest.Encoded = rest.Append(nil)
		c.done = append(c.done, w.block)
		c.waiting[i] = waiting{block: rest, turns: turnsOf(rest)}
	}
}
