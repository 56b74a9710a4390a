package dedup

import (
	"errors"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// errOtherMemory says that the job was configured otherwise when the state was saved: what the one
// memory holds the other one lacks.
var errOtherMemory = errors.New("the state was saved with another setting of dedup; begin the job anew, without a savepoint")

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
	w.Bool(c.shared != nil)
	if c.shared != nil {
		w.Bool(c.shared.isAway)
		w.Bytes(c.shared.store.Save())
	}
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

func encode(b *schemas.Block) []byte { return b.Append(nil) }
