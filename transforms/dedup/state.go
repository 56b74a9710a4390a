package dedup

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
	w.Int(int64(len(c.pending)))
	for i := range c.pending {
		w.Int(int64(c.pending[i].next))
		w.Int(int64(len(c.pending[i].blocks)))
		for _, b := range c.pending[i].blocks {
			w.Bytes(encode(b))
		}
	}
	c.seen.Save(&w, func(w *snapshot.Writer, e entry) {
		w.Int(int64(e.winner.Partition))
		w.Int(e.winner.Offset)
		w.Int(e.anchor)
		w.Uint64(e.content)
	})
	return w.Seal()
}

// Load replaces the state by what Save returned for a core of the same policy and shards.
func (c *Core) Load(data []byte) error {
	r := snapshot.Open(data)
	c.outbox.Load(&r)
	if err := c.channels.Load(&r, schemas.DecodeBlock); err != nil {
		return err
	}
	c.pending = make([]queue, r.Count(2))
	for i := range c.pending {
		q := &c.pending[i]
		q.next = int(r.Int())
		for range r.Count(1) {
			b, err := schemas.DecodeBlock(r.Bytes())
			if err != nil {
				return err
			}
			q.blocks = append(q.blocks, b)
		}
	}
	c.seen.Load(&r, func(r *snapshot.Reader) entry {
		e := entry{winner: schemas.Position{Partition: int32(r.Int()), Offset: r.Int()}}
		e.anchor, e.content = r.Int(), r.Uint64()
		return e
	})
	return r.Err()
}

func encode(b *schemas.Block) []byte { return b.Append(nil) }
