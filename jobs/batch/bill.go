package batch

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/clickledger/clickledger/internal/beamrunner"
	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/pipelines/clicks"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/decode"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

// openClicks bounds the clicks that a reader holds before they are spooled.
const openClicks = 262_144

// spoolClicks reads what is judged and spools it into the buckets: several readers, each on its
// own share of the files.
func (s *session) spoolClicks(ctx context.Context, shards int) error {
	var total int64
	for _, f := range s.main {
		total += f.Rows
	}
	var read atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	n := max(1, min(s.cfg.Threads, len(s.main)))
	for i := range n {
		var share []File
		for j := i; j < len(s.main); j += n {
			share = append(share, s.main[j])
		}
		group.Go(func() error {
			return s.spoolShare(ctx, share, i == 0, shards, func(clicks int64) {
				s.progress("read", read.Add(clicks), total)
			})
		})
	}
	return group.Wait()
}

func (s *session) spoolShare(ctx context.Context, files []File, withExtra bool, shards int, progress func(int64)) error {
	conn, err := s.db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := newReader(s, shards)
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

// reader validates clicks and puts them into blocks by bucket and shard.
type reader struct {
	s      *session
	core   *decode.Core
	shards int
	limit  int // clicks of one block
	blocks []schemas.Block
}

func newReader(s *session, shards int) (*reader, error) {
	core, err := decode.NewCore(s.cfg.Policy, 1)
	if err != nil {
		return nil, err
	}
	n := shards * len(s.buckets)
	return &reader{s: s, core: core, shards: shards, limit: min(blockClicks, max(16, openClicks/n)), blocks: make([]schemas.Block, n)}, nil
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
		var keys decode.Keys
		keys.IP, keys.User = r.core.Identities(&raw, &j)
		h := xxh3.Hash128(raw.ClickID).Bytes()
		keys.Click = schemas.Key128(h) // spreads clicks without identity; pass 1 compared the click_ids
		to := keys.IP
		if to.IsZero() {
			to = keys.Click
		}
		shard := to.Shard(r.shards)
		at := r.s.bucketIndex(raw.AdID)*r.shards + int(shard)
		b := &r.blocks[at]
		r.core.AddTo(b, &raw, &j, pos, keys)
		if j.EventTimeMillis < t.day.from {
			b.Flags[b.Len()-1] |= schemas.FlagContext
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
	b := &r.blocks[at]
	b.Channels = 1
	err := r.s.buckets[at/r.shards].addClicks(int64(at%r.shards), b)
	b.Reset()
	return err
}

func (r *reader) flush() error {
	for at := range r.blocks {
		if r.blocks[at].Len() > 0 {
			if err := r.spool(at); err != nil {
				return err
			}
		}
	}
	return nil
}

// billBuckets is the second half of pass 2: invalid traffic and sums, bucket by bucket.
func (s *session) billBuckets(ctx context.Context, graph clicks.Config) error {
	var total, done int64
	for _, b := range s.buckets {
		total += b.n
	}
	for i, b := range s.buckets {
		if b.n > 0 {
			if err := s.billBucket(ctx, graph, i); err != nil {
				return fmt.Errorf("bill bucket %d of %d: %w", i+1, len(s.buckets), err)
			}
		}
		done += b.n
		s.progress("judge", done, total)
		if err := b.remove(); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) billBucket(ctx context.Context, graph clicks.Config, i int) error {
	s.feed.Store(&feed{next: func(emit func(int64, []byte)) error { return s.buckets[i].emit(int(graph.Shards), emit) }})
	graph.RunID = fmt.Sprintf("%s/bill/%d", s.cfg.RunID, i)
	defer shardstate.Forget(graph.RunID)
	p, root := beam.NewPipelineWithRoot()
	out := clicks.Bill(root, graph, slice(root, s.cfg.RunID))
	beamrunner.Sink(root, &judgedFn{RunID: s.cfg.RunID}, out.Judged)
	beamrunner.Sink(root, &rowsFn{RunID: s.cfg.RunID}, out.Rows)
	_, err := beamrunner.Run(ctx, "clickledger-batch-bill", p)
	return err
}
