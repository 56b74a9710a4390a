package windowing

import (
	"math"
	"slices"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// Ended reports whether nothing more will come.
func (c *Core) Ended() bool { return c.channels.Ended() }

// Head returns what changes with every block: see shardstate.Core.
func (c *Core) Head() []byte {
	var w snapshot.Writer
	w.Int(c.published)
	w.Int(c.watermark)
	w.Int(c.sent)
	w.Int(c.forgotten)
	w.Int(c.newest)
	c.channels.Save(&w)
	return w.Seal()
}

// LoadHead takes what Head returned for a core of the same policy and shards.
func (c *Core) LoadHead(head []byte) error {
	r := snapshot.Open(head)
	c.published, c.watermark, c.sent, c.forgotten, c.newest = r.Int(), r.Int(), r.Int(), r.Int(), r.Int()
	c.channels.Load(&r)
	return r.Err()
}

// clear forgets which rows are to be published.
func (m *minute) clear() {
	m.dirty = m.dirty[:0]
	for i := range m.clean {
		m.clean[i] = true
	}
}

func (c *Core) noteRows(b *schemas.RowBlock) {
	if b.Len() > 0 {
		c.journal.Bool(true)
		c.journal.Bytes(b.Encoded)
		c.newest = max(c.newest, slices.Max(b.MinuteMillis))
	}
}

func (c *Core) notePublished(watermark int64) {
	c.journal.Bool(false)
	c.journal.Int(watermark)
}

// Journal returns the rows that were added and the publications since the last call, stamped with the newest
// minute of all: see shardstate.Core.
func (c *Core) Journal() snapshot.Journal {
	learned := snapshot.Journal{Recent: c.journal.Buf, Stamp: c.newest}
	c.journal.Buf = learned.Recent[:0]
	return learned
}

// Redo adds the rows again that Journal returned.
func (c *Core) Redo(recent []byte) error {
	r := snapshot.Reader{Rest: recent}
	var rows schemas.RowBlock
	for len(r.Rest) > 0 {
		if areRows := r.Bool(); !areRows {
			for _, m := range c.minutes {
				m.clear()
			}
			c.forget(r.Int())
			continue
		}
		if err := rows.Decode(r.Bytes()); err != nil {
			return err
		}
		c.addAll(&rows)
	}
	return r.Err()
}

// Span is for how long a minute is kept, in milliseconds.
func (c *Core) Span() int64 { return schemas.MinuteMillis + c.latenessMillis }

// Horizon is the newest minute that is forgotten.
func (c *Core) Horizon() int64 {
	if c.forgotten == schemas.MinWatermark {
		return math.MinInt64
	}
	return c.forgotten - c.Span()
}

// Waiting returns the blocks that wait for one before them: see shardstate.Core.
func (c *Core) Waiting() (blocks [][]byte, anew bool) {
	for _, b := range c.channels.AppendHeld(nil) {
		blocks = append(blocks, b.Encoded)
	}
	return blocks, false
}

// Wait takes back a block that Waiting returned.
func (c *Core) Wait(data []byte) error {
	b := new(schemas.RowBlock)
	if err := b.Decode(data); err != nil {
		return err
	}
	c.channels.Restore(b)
	return nil
}
