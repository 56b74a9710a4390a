package generate

import (
	"context"
	"fmt"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/schemas"
	"golang.org/x/sync/errgroup"
)

const (
	batchRecords  = 10_000
	batchBytes    = 8 << 20
	batchesAhead  = 2
	paceTolerance = 5_000 // micros that a record may be early with others of its batch
)

// batch is a number of records with the memory that they lie in.
type batch struct {
	records     []kafkaio.OutRecord
	impressions int64 // of the records
	text        []byte
	last        int64 // received, micros
}

// add appends the record to the batch; n is the number of clicks before it.
func (b *batch) add(cfg *Config, it *loadgen.Item, n int64) {
	from := len(b.text)
	topic, key, partition := cfg.Topic, cfg.Key, int32(-1)
	switch {
	case it.IsImpression: // as the gateway does
		topic, key = schemas.TopicImpressions, schemas.KeyClickID
		b.impressions++
	case cfg.RoundRobin > 0:
		partition = int32(n % int64(cfg.RoundRobin))
	}
	b.text = it.AppendKey(b.text, key, cfg.Salts)
	middle := len(b.text)
	b.text = it.AppendValue(b.text)
	b.records = append(b.records, kafkaio.OutRecord{
		Topic: topic, Partition: partition, TimestampMicros: it.ReceivedAtMicros,
		// Growing the memory leaves what earlier records point to as it is.
		Key: b.text[from:middle:middle], Value: b.text[middle:len(b.text):len(b.text)],
	})
	b.last = it.ReceivedAtMicros
}

func (b *batch) reset() { b.records, b.impressions, b.text = b.records[:0], 0, b.text[:0] }

func (b *batch) full() bool { return len(b.records) >= batchRecords || len(b.text) >= batchBytes }

// toLog writes all records to the log, in order: one goroutine makes batches, one writes them.
func toLog(ctx context.Context, cfg Config, deps Deps, gen *loadgen.Generator, r *Result) error {
	group, ctx := errgroup.WithContext(ctx)
	made := make(chan *batch, batchesAhead)
	free := make(chan *batch, batchesAhead+2)
	for range cap(free) {
		free <- &batch{}
	}
	group.Go(func() error {
		defer close(made)
		return makeBatches(ctx, &cfg, newClock(cfg, deps.Now), gen, made, free)
	})
	group.Go(func() error {
		for b := range made {
			if err := deps.Producer.ProduceAll(ctx, b.records); err != nil {
				return fmt.Errorf("write records to the log after %d: %w", r.LogRecords+r.LogImpressions, err)
			}
			if r.LogRecords+r.LogImpressions == 0 {
				r.FirstMillis = b.records[0].TimestampMicros / 1000
			}
			r.LogRecords += int64(len(b.records)) - b.impressions
			r.LogImpressions += b.impressions
			r.LastMillis = b.last / 1000
			deps.Progress(stage, r.LogRecords, cfg.Load.Clicks)
			free <- b
		}
		return nil
	})
	return group.Wait()
}

func makeBatches(
	ctx context.Context, cfg *Config, clock *clock, gen *loadgen.Generator, made chan<- *batch, free <-chan *batch,
) error {
	var it loadgen.Item
	more := gen.Next(&it)
	for n := int64(0); more; {
		var b *batch
		select {
		case b = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		b.reset()
		until := int64(0)
		if clock.pace {
			behind, err := clock.wait(ctx, it.ReceivedAtMicros)
			if err != nil {
				return err
			}
			until = it.ReceivedAtMicros + behind + paceTolerance
		}
		for more && !b.full() && (until == 0 || it.ReceivedAtMicros <= until) {
			b.add(cfg, &it, n)
			if !it.IsImpression {
				n++
			}
			more = gen.Next(&it)
		}
		select {
		case made <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
