package invalidtraffic

import (
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// Ended reports whether nothing more will come.
func (c *Core) Ended() bool { return c.channels.Ended() }

// Save returns the state as bytes; equal states give equal bytes.
func (c *Core) Save() []byte {
	var w snapshot.Writer
	c.outbox.Save(&w)
	c.channels.Save(&w, encode)
	w.Int(int64(len(c.waiting)))
	var rest schemas.Block
	for _, q := range c.waiting {
		rest.Reset()
		for _, t := range q.turns {
			rest.AppendFrom(q.block, int(t.index))
		}
		rest.Header = q.block.Header
		w.Bytes(encode(&rest))
	}
	c.velocity.save(&w)
	return w.Seal()
}

// Load replaces the state by what Save returned for a core of the same policy and shards.
func (c *Core) Load(data []byte) error {
	r := snapshot.Open(data)
	c.outbox.Load(&r)
	if err := c.channels.Load(&r, schemas.DecodeBlock); err != nil {
		return err
	}
	c.waiting = nil
	for range r.Count(1) {
		b, err := schemas.DecodeBlock(r.Bytes())
		if err != nil {
			return err
		}
		c.queue(b)
	}
	c.velocity.load(&r)
	return r.Err()
}

func encode(b *schemas.Block) []byte { return b.Append(nil) }
