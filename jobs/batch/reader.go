package batch

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/decode"
)

// openClicks bounds the clicks that a reader holds before they go to their buckets.
const openClicks = 1 << 20

// spoolClicks reads what is judged and puts it into the buckets: several readers, each on its own
// share of the files.
func (s *session) spoolClicks(ctx context.Context) error {
	var total int64
	for _, f := range s.main {
		total += f.Rows
	}
	var read atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	n := max(1, min(s.cfg.Threads, len(s.main)))
	identity := newIdentity()
	for i := range n {
		var share []File
		for j := i; j < len(s.main); j += n {
			share = append(share, s.main[j])
		}
		group.Go(func() error {
			return s.spoolShare(ctx, share, i == 0, identity, func(clicks int64) {
				s.progress("read", read.Add(clicks), total)
			})
		})
	}
	return group.Wait()
}

// newIdentity returns a hash of identities that nobody can foresee, as SHA-256 is one that nobody
// can invert. It holds for this run: what is written does not depend on it.
func newIdentity() func([]byte) schemas.Key128 {
	low, high := maphash.MakeSeed(), maphash.MakeSeed()
	return func(b []byte) schemas.Key128 {
		return schemas.MakeKey128(maphash.Bytes(low, b), maphash.Bytes(high, b))
	}
}

func (s *session) spoolShare(ctx context.Context, files []File, withExtra bool, identity func([]byte) schemas.Key128, progress func(int64)) error {
	conn, err := s.db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := newReader(s, identity)
	if err != nil {
		return err
	}
	var sources []string
	if len(files) > 0 {
		sources = append(sources, readParquet(files))
	}
	if withExtra {
		sources = append(sources, "extra")
	}
	for _, source := range sources {
		query := fmt.Sprintf("select %s from %s where %s or %s", clickColumns, source,
			s.event.within("event_time", s.times.judged), s.received.within("received_at", s.times.day))
		if err := conn.Scan(ctx, query, func(c *duckscan.Chunk) error {
			progress(int64(c.Len()))
			return r.take(c)
		}); err != nil {
			return fmt.Errorf("read clicks: %w", err)
		}
	}
	return r.flush()
}

// reader validates clicks and puts them into blocks by bucket.
type reader struct {
	s      *session
	core   *decode.Core
	limit  int // clicks of one block
	blocks []*schemas.Block
	day    int64 // clicks of the day
}

func newReader(s *session, identity func([]byte) schemas.Key128) (*reader, error) {
	core, err := decode.NewCore(s.cfg.Policy, 1)
	if err != nil {
		return nil, err
	}
	core.Identity = identity
	r := &reader{s: s, core: core, limit: min(s.blockClicks(), max(16, openClicks/len(s.buckets))),
		blocks: make([]*schemas.Block, len(s.buckets))}
	for i := range r.blocks {
		r.blocks[i] = schemas.NewBlock()
	}
	return r, nil
}

func (r *reader) take(c *duckscan.Chunk) error {
	chunk := newClickChunk(c)
	t := &r.s.times
	var raw schemas.RawClick
	for i := range c.Len() {
		pos := chunk.read(i, &raw)
		j, reason := r.core.Decoder().Validate(&raw, raw.ReceivedAt)
		if reason != "" {
			if t.day.holds(floorDiv(j.ReceivedAtMicros, 1000)) {
				r.s.dead.add(schemas.DeadLetter{Position: pos, ReceivedAtMicros: j.ReceivedAtMicros, Reason: reason})
			}
			continue
		}
		if !t.judged.holds(j.EventTimeMillis) {
			continue
		}
		var keys decode.Keys // copies are found by click_id already
		keys.IP, keys.User = r.core.Identities(&raw, &j)
		at := r.s.bucketIndex(raw.AdID)
		b := r.blocks[at]
		r.core.AddBareTo(b, &raw, &j, pos, keys)
		if j.EventTimeMillis < t.day.from {
			b.Flags[b.Len()-1] |= schemas.FlagContext
		} else {
			r.day++
		}
		if b.Len() >= r.limit {
			if err := r.spool(at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) spool(at int) error {
	b := r.blocks[at]
	b.FillBare()
	r.blocks[at] = schemas.NewBlock()
	mayStay := r.s.inMemory.Add(int64(b.Len())) <= slicesInMemory*int64(r.s.cfg.SliceClicks)
	return r.s.buckets[at].addClicks(b, mayStay)
}

func (r *reader) flush() error {
	r.s.dayClicks.Add(r.day)
	for at := range r.blocks {
		if r.blocks[at].Len() > 0 {
			if err := r.spool(at); err != nil {
				return err
			}
		}
	}
	return nil
}
