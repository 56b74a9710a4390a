package batch

import (
	"context"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/handover"
)

// read is the source on Flink. Out: PCollection<KV<key, schemas.Block>> of the objects of a folder
// of the exchange, each read by one worker.
func read(s beam.Scope, x exchange, folder string, objects int64) beam.PCollection {
	s = s.Scope("batch.Read")
	numbers := beam.ParDo(s, &numbersFn{Count: objects}, beam.Impulse(s))
	return beam.ParDo(s, &readFn{Exchange: x, Folder: folder}, beam.Reshuffle(s, numbers))
}

// numbersFn counts. Count is configuration.
type numbersFn struct{ Count int64 }

func (f *numbersFn) ProcessElement(_ []byte, emit func(int64)) {
	for n := range f.Count {
		emit(n)
	}
}

// readFn reads objects by their number. Exchange and Folder are configuration.
type readFn struct {
	Exchange exchange
	Folder   string

	store objectstore.Store
}

func (f *readFn) Setup(ctx context.Context) (err error) {
	f.store, err = f.Exchange.open(ctx)
	return err
}

func (f *readFn) ProcessElement(ctx context.Context, n int64, emit func(int64, []byte)) error {
	return readRecords(ctx, f.store, f.Exchange.input(f.Folder, n), func(key int64, data []byte) error {
		emit(key, data)
		return nil
	})
}

// decidedFn puts the clicks that are not billed, of a span of event time, into a folder of the exchange.
// Exchange, Folder, FromMillis and ToMillis are configuration.
type decidedFn struct {
	Exchange             exchange
	Folder               string
	FromMillis, ToMillis int64

	out *records
}

func (f *decidedFn) Setup(ctx context.Context) error {
	store, err := f.Exchange.open(ctx)
	if err == nil {
		f.out = f.Exchange.outputs(store, f.Folder)
	}
	return err
}

func (f *decidedFn) StartBundle() { f.out.drop() }

func (f *decidedFn) ProcessElement(ctx context.Context, _ int64, data []byte) error {
	in, err := handover.Block(data)
	if err != nil {
		return err
	}
	defer in.Free()
	span := span{f.FromMillis, f.ToMillis}
	var picks []schemas.Pick
	for i := range in.Len() {
		if in.Verdict[i] != schemas.Billable && in.Flags[i]&schemas.FlagContext == 0 && span.holds(in.EventMillis[i]) {
			picks = append(picks, schemas.Pick{Index: int32(i)})
		}
	}
	if len(picks) == 0 {
		return nil
	}
	kept := schemas.NewBlock()
	defer kept.Free()
	kept.Gather([]*schemas.Block{in}, picks, 0)
	kept.Channels = 1 // the coder wants a valid one
	return f.out.add(ctx, 0, kept.Append(nil))
}

func (f *decidedFn) FinishBundle(ctx context.Context) error { return f.out.flush(ctx) }

// totalsFn puts totals into a folder of the exchange. Exchange and Folder are configuration.
type totalsFn struct {
	Exchange exchange
	Folder   string

	out *records
}

func (f *totalsFn) Setup(ctx context.Context) error {
	store, err := f.Exchange.open(ctx)
	if err == nil {
		f.out = f.Exchange.outputs(store, f.Folder)
	}
	return err
}

func (f *totalsFn) StartBundle() { f.out.drop() }

func (f *totalsFn) ProcessElement(ctx context.Context, data []byte) error {
	return f.out.add(ctx, 0, data)
}

func (f *totalsFn) FinishBundle(ctx context.Context) error { return f.out.flush(ctx) }
