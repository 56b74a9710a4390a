package batch

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"golang.org/x/sync/errgroup"

	"github.com/clickledger/clickledger/internal/beamrunner"
	"github.com/clickledger/clickledger/pipelines/clicks"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

// slicesInMemory is how many slices of clicks may wait in memory for their turn; the rest waits in
// files.
const slicesInMemory = 4

// slicesAtOnce is how many slices run at once, so that one is read while another one is judged.
const slicesAtOnce = 2

// billSlices is the second half of pass 2: invalid traffic and sums, slice by slice. A slice is a
// run of whole buckets.
func (s *session) billSlices(ctx context.Context, graph clicks.Config) error {
	stage := "judge"
	if s.cfg.Runner == Flink {
		stage = "hand over"
	}
	var total int64
	for _, b := range s.buckets {
		total += b.n
	}
	var done atomic.Int64
	var w *sliceWriter
	if s.cfg.Runner == Flink {
		w = s.newSliceWriter(uniqueFolder)
	}
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(slicesAtOnce)
	for from := 0; from < len(s.buckets); {
		n, size := s.nextSlice(from)
		at, buckets := from, s.buckets[from:from+n]
		from += n
		group.Go(func() error {
			if err := within.Err(); err != nil || size == 0 {
				return err
			}
			if err := s.billSlice(within, graph, at, buckets, w); err != nil {
				return fmt.Errorf("bill buckets %d to %d of %d: %w", at+1, at+n, len(s.buckets), err)
			}
			s.progress(stage, done.Add(size), total)
			return nil
		})
	}
	if err := group.Wait(); err != nil || w == nil {
		return err
	}
	return s.billOnFlink(ctx, graph, w)
}

// nextSlice is how many buckets from the given one on make a slice, and how many clicks they hold.
func (s *session) nextSlice(from int) (n int, clicks int64) {
	for _, b := range s.buckets[from:] {
		if n > 0 && clicks+b.n > int64(s.cfg.SliceClicks/slicesAtOnce) {
			break
		}
		n, clicks = n+1, clicks+b.n
	}
	return n, clicks
}

// billSlice judges a slice, or leaves it with the writer if there is one.
func (s *session) billSlice(ctx context.Context, graph clicks.Config, from int, buckets []*bucket, w *sliceWriter) error {
	each := func(emit func(int64, []byte)) error { return s.emitBuckets(graph, buckets, emit) }
	if w != nil {
		return w.write(ctx, int64(from), each)
	}
	name := fmt.Sprintf("bill/%d", from)
	graph.RunID = s.cfg.RunID + "/" + name
	defer shardstate.Forget(graph.RunID)
	defer s.openFeed(name, &feed{next: each})()
	p, root := beam.NewPipelineWithRoot()
	out := clicks.Bill(root, graph, slice(root, s.cfg.RunID, name))
	beamrunner.Sink(root, &judgedFn{RunID: s.cfg.RunID}, out.Judged)
	beamrunner.Sink(root, &rowsFn{RunID: s.cfg.RunID}, out.Rows)
	_, err := beamrunner.Run(ctx, "clickledger-batch-bill", p)
	return err
}

// emitBuckets sends the clicks of some buckets as one channel in every shard: those that a velocity
// rule may hit by the shard of their identity, the others in whole blocks.
func (s *session) emitBuckets(graph clicks.Config, buckets []*bucket, emit func(shard int64, data []byte)) error {
	p, err := graph.Policy()
	if err != nil {
		return err
	}
	shards := int64(graph.Shards)
	sender, sent, next := graph.Sender(), make([]int64, shards), int64(0)
	send := func(shard int64, block *schemas.Block, watermark int64) {
		block.Header = schemas.Header{Channels: 1, Prev: sent[shard], Next: sent[shard] + 1,
			WatermarkMillis: watermark, LogMillis: watermark, IsSettled: block.IsSettled}
		sent[shard]++
		emit(shard, sender.Block(block))
	}
	open := make([]*schemas.Block, shards)
	for shard := range open {
		open[shard] = schemas.NewBlock()
	}
	d := newDoubt(p)
	for _, b := range buckets {
		blocks, err := b.load()
		if err != nil {
			return err
		}
		d.count(blocks, b.n)
		d.take(blocks, open)
		for _, block := range blocks {
			send(next%shards, block, schemas.MinWatermark)
			next++
		}
		for shard, block := range open {
			open[shard] = cut(block, s.blockClicks(), func(full *schemas.Block) { send(int64(shard), full, schemas.MinWatermark) })
		}
		if err := b.remove(); err != nil {
			return err
		}
	}
	for shard, block := range open {
		send(int64(shard), block, schemas.MaxWatermark)
	}
	return nil
}

// cut calls emit with blocks of limit clicks that a block of clicks in doubt holds, and returns the rest.
func cut(b *schemas.Block, limit int, emit func(full *schemas.Block)) (rest *schemas.Block) {
	if b.Len() < limit {
		return b
	}
	defer b.Free()
	for from := 0; ; from += limit {
		part := schemas.NewBlock()
		var picks []schemas.Pick
		for i := from; i < min(from+limit, b.Len()); i++ {
			picks = append(picks, schemas.Pick{Index: int32(i)})
		}
		part.Gather([]*schemas.Block{b}, picks, schemas.ForIP|schemas.ForUser)
		if part.Len() < limit {
			return part
		}
		emit(part)
	}
}
