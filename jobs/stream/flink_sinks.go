package stream

import (
	"context"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	"github.com/clickledger/clickledger/transforms/handover"
)

func init() {
	register.DoFn4x1[context.Context, int64, []byte, func(int64, []byte), error](&decidedFn{})
	register.DoFn2x1[context.Context, schemas.DeadLetter, error](&buriedFn{})
	register.DoFn3x1[context.Context, []byte, func(int64, []byte), error](&storedFn{})
}

// What is counted for the status of a job on Flink. The names are those of Stats.
const counterSpace = "stream"

var (
	counterRecords = beam.NewCounter(counterSpace, "records")
	counterDead    = beam.NewCounter(counterSpace, "dead_letters")
	counterRows    = beam.NewCounter(counterSpace, "rows_published")
	counterSpend   = beam.NewCounter(counterSpace, "spend_micros")
	verdictNames   = [5]string{schemas.Billable: "billable_clicks", schemas.Duplicate: "duplicate_clicks",
		schemas.Invalid: "invalid_clicks", schemas.Late: "late_clicks"}
	counterVerdict, counterRule = countersOf(verdictNames[:]), countersOf(schemas.RuleNames[:])
)

func countersOf(names []string) []beam.Counter {
	list := make([]beam.Counter, len(names))
	for i, name := range names {
		if name != "" {
			list[i] = beam.NewCounter(counterSpace, name)
		}
	}
	return list
}

func count(ctx context.Context, c beam.Counter, n int64) {
	if n != 0 {
		c.Inc(ctx, n)
	}
}

// decidedFn is decisionsFn on Flink: it also says how far the decisions of a shard are, once they are
// acknowledged. Spec is configuration.
type decidedFn struct {
	Spec Spec

	decider
	marks []mark // the newest of each shard, in order of first appearance
}

func (f *decidedFn) Setup() (err error) {
	f.worker, err = workerOf(f.Spec)
	return err
}

func (f *decidedFn) StartBundle(_ context.Context, _ func(int64, []byte)) {
	f.reset()
	f.marks = f.marks[:0]
}

func (f *decidedFn) ProcessElement(ctx context.Context, _ int64, data []byte, _ func(int64, []byte)) error {
	in, err := handover.Block(data)
	if err != nil {
		return err
	}
	defer in.Free()
	counts, err := f.take(in)
	if err != nil {
		return err
	}
	for v, n := range counts.byVerdict {
		count(ctx, counterVerdict[v], n)
	}
	for r, n := range counts.byRule {
		count(ctx, counterRule[r], n)
	}
	count(ctx, counterSpend, counts.spend)
	for i := range f.marks {
		if f.marks[i].ID == in.Channel {
			f.marks[i].WatermarkMillis = max(f.marks[i].WatermarkMillis, in.WatermarkMillis)
			return nil
		}
	}
	f.marks = append(f.marks, mark{Kind: markDecisions, ID: in.Channel, WatermarkMillis: in.WatermarkMillis})
	return nil
}

func (f *decidedFn) FinishBundle(ctx context.Context, emit func(int64, []byte)) error {
	if err := f.flush(ctx); err != nil {
		return err
	}
	for _, m := range f.marks {
		emit(0, m.encode())
	}
	return nil
}

func (f *decidedFn) Teardown() error { return releaseWorker(f.worker) }

// buriedFn is deadLettersFn on Flink. Spec is configuration.
type buriedFn struct {
	Spec Spec

	worker *worker
	out    []kafkaio.OutRecord
}

func (f *buriedFn) Setup() (err error) {
	f.worker, err = workerOf(f.Spec)
	return err
}

func (f *buriedFn) StartBundle(context.Context) { f.out = f.out[:0] }

func (f *buriedFn) ProcessElement(ctx context.Context, d schemas.DeadLetter) error {
	f.worker.dead.Add(1)
	count(ctx, counterDead, 1)
	f.out = append(f.out, deadLetterRecord(&d))
	return nil
}

func (f *buriedFn) FinishBundle(ctx context.Context) error {
	if len(f.out) == 0 {
		return nil
	}
	return f.worker.producer.ProduceAll(ctx, f.out)
}

func (f *buriedFn) Teardown() error { return releaseWorker(f.worker) }

// storedFn stores rows by the block, and says how far those of a shard are. Spec is configuration.
type storedFn struct {
	Spec Spec

	worker *worker
}

func (f *storedFn) Setup() (err error) {
	f.worker, err = workerOf(f.Spec)
	return err
}

func (f *storedFn) ProcessElement(ctx context.Context, data []byte, emit func(int64, []byte)) error {
	in, err := handover.Rows(data)
	if err != nil {
		return err
	}
	defer in.Free()
	w := f.worker
	rows, err := w.fresh(in)
	if err != nil {
		return err
	}
	if w.store != nil && len(rows) > 0 {
		if err := w.store.UpsertRows(ctx, rows); err != nil {
			return err
		}
	}
	w.rows.Add(int64(len(rows)))
	count(ctx, counterRows, int64(len(rows)))
	emit(0, mark{Kind: markRows, ID: in.Channel, WatermarkMillis: in.WatermarkMillis}.encode())
	return nil
}

func (f *storedFn) Teardown() error { return releaseWorker(f.worker) }

// fresh are the rows of a block that a click after the stored watermark can reach; the others are
// only the rebuilding of what is published already.
func (w *worker) fresh(b *schemas.RowBlock) ([]schemas.MinuteRow, error) {
	rows := make([]schemas.MinuteRow, 0, b.Len())
	for i := range b.Len() {
		if w.spec.Start.PolicyHash != "" && b.MinuteMillis[i] < schemas.MinuteStart(w.spec.Start.WatermarkMillis-w.latenessMillis()) {
			continue
		}
		row, err := b.Row(i)
		if err != nil {
			return nil, err
		}
		row.Version |= w.spec.Epoch << serving.EpochShift
		rows = append(rows, row)
	}
	return rows, nil
}
