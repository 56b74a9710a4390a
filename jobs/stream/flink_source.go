package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/internal/flinkrunner"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	"github.com/clickledger/clickledger/transforms/decode"
)

func init() {
	register.DoFn2x0[[]byte, func(int64, int64)](&tickFn{})
	register.DoFn6x1[context.Context, state.Provider, int64, int64, func(decode.Batch), func(int64, []byte), error](&pollFn{})
	register.Emitter2[int64, int64]()
	register.Emitter2[int64, []byte]()
}

const (
	// tickInterval is the time between two polls of a partition that has records. A block costs some
	// milliseconds at each operator, however few clicks it has: at 100 ms they queue up at 11,574 clicks/s.
	tickInterval = 250 * time.Millisecond
	// idleInterval is the time between two batches of one that has none: they only carry time.
	idleInterval = 200 * time.Millisecond
	// pollWaitMax bounds the wait for a first record: the partitions of a task wait one after the other.
	pollWaitMax = 20 * time.Millisecond
	// storedLag is how much more may be read ahead of the stored progress than of the last verdict,
	// which other processes do not know of: it is some seconds old.
	storedLag = 4
	// gateInterval is how often the stored progress is asked for, and gatePatience how long it may stay
	// as it is while a partition waits for it.
	gateInterval = time.Second
	gatePatience = 5 * time.Second
)

// readTicks is the source on Flink: see flinkrunner.Ticks. Out: PCollection<decode.Batch> and
// PCollection<KV<0, mark>>.
func readTicks(s beam.Scope, spec Spec) (batches, marks beam.PCollection) {
	s = s.Scope("stream.Read")
	ticks := beam.ParDo(s, &tickFn{Keys: flinkrunner.SpreadKeys(len(spec.Starts))}, flinkrunner.Ticks(s, tickInterval))
	return beam.ParDo2(s, &pollFn{Spec: spec, Place: state.MakeValueState[[]byte]("place")}, ticks)
}

// tickFn makes of each tick a poll of every partition, by its key. Keys is configuration.
type tickFn struct{ Keys []int64 }

func (f *tickFn) ProcessElement(_ []byte, emit func(int64, int64)) {
	for _, key := range f.Keys {
		emit(key, 0)
	}
}

// pollFn reads partitions, each once a bundle: ticks that have piled up are dropped, or checkpoints
// would wait behind them. Where a partition goes on is state. Spec is configuration.
type pollFn struct {
	Spec  Spec
	Place state.Value[[]byte]

	worker *worker
	polled map[int64]bool // in this bundle
}

func (f *pollFn) Setup() (err error) {
	f.worker, err = workerOf(f.Spec)
	return err
}

func (f *pollFn) StartBundle(_ context.Context, _ func(decode.Batch), _ func(int64, []byte)) {
	f.polled = map[int64]bool{}
}

func (f *pollFn) ProcessElement(ctx context.Context, sp state.Provider, key, _ int64, emit func(decode.Batch), marks func(int64, []byte)) error {
	partition := key % int64(len(f.Spec.Starts))
	if f.polled[partition] {
		return nil
	}
	f.polled[partition] = true
	text, exists, err := f.Place.Read(sp)
	if err != nil {
		return fmt.Errorf("read the place of partition %d: %w", partition, err)
	}
	at := newPlace(f.Spec.Starts[partition])
	if exists {
		if err := json.Unmarshal(text, &at); err != nil {
			return fmt.Errorf("read the place of partition %d: %w", partition, err)
		}
		if at.Shards != f.Spec.Shards {
			return fmt.Errorf("the savepoint is of a job with %d shards and this one has %d: set stream.shards", at.Shards, f.Spec.Shards)
		}
	}
	at.Shards = f.Spec.Shards
	if at.IsEnded {
		return nil
	}
	next, err := f.worker.poll(ctx, int32(partition), at, emit, func(m mark) { marks(0, m.encode()) })
	if err != nil || next == at {
		return err
	}
	if text, err = json.Marshal(next); err != nil {
		return err
	}
	return f.Place.Write(sp, text)
}

func (f *pollFn) Teardown() error { return releaseWorker(f.worker) }

// reading is this process's side of a partition on Flink.
type reading struct {
	mu       sync.Mutex
	reader   *kafkaio.Reader
	lastSeen time.Time // when the newest record was read; at first, when the reading began
	lastSent time.Time
}

func (w *worker) readingOf(partition int32) *reading {
	r, _ := w.readings.LoadOrStore(partition, &reading{})
	return r.(*reading)
}

// poll reads on in a partition, and returns where it goes on then.
func (w *worker) poll(ctx context.Context, id int32, at place, emit func(decode.Batch), send func(mark)) (place, error) {
	r := w.readingOf(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.reader == nil {
		r.reader, r.lastSeen = w.client.OpenPartition(schemas.TopicClicks, id, at.Next), now
	}
	if r.reader.Offset() != at.Next {
		r.reader.Rewind(at.Next) // the state is of a checkpoint, or another process went on meanwhile
	}
	may, err := w.gate.mayRead(ctx, w, id, at)
	if err != nil || !may {
		return at, err
	}
	wait := min(time.Duration(w.spec.PollWaitMillis)*time.Millisecond, pollWaitMax)
	recs, end, err := r.reader.Fetch(ctx, kafkaio.FetchLimits{MaxWait: wait, MaxRecords: w.spec.PollRecords})
	if err != nil {
		return at, err
	}
	now = time.Now()
	if len(recs) > 0 {
		r.lastSeen = now
	}
	isEnd := w.spec.UntilEnd && len(recs) == 0 && at.Next >= end
	if len(recs) == 0 && r.reader.Offset() == at.Next && !isEnd && now.Sub(r.lastSent) < idleInterval {
		return at, nil
	}
	r.lastSent = now
	of := int32(len(w.spec.Starts))
	next, batch := at.advance(id, of, polled{records: recs, next: r.reader.Offset(), end: end, now: now, lastSeen: r.lastSeen,
		resumed: resumedAt(&w.spec.Start, now, w.skew)}, w.skew)
	emit(batch)
	w.recent.add(recs)
	w.records.Add(int64(len(recs)))
	count(ctx, counterRecords, int64(len(recs)))
	if isEnd {
		next, batch = next.last(id, of, now)
		emit(batch)
	}
	send(sourceMark(id, recs, at, next))
	return next, nil
}

// gate keeps a partition from reading far ahead of the others.
type gate struct {
	mu      sync.Mutex
	stored  serving.Progress
	asked   time.Time
	changed time.Time
}

// mayRead tells whether a partition may read on: while few of its records are ahead of the stored
// progress, where it is one that the others wait for, and where the progress stands still for no
// reason that is known here.
func (g *gate) mayRead(ctx context.Context, w *worker, id int32, at place) (bool, error) {
	if w.store == nil {
		return true, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Sub(g.asked) >= gateInterval {
		stored, err := w.store.LoadProgress(ctx)
		if err != nil {
			return false, fmt.Errorf("load progress: %w", err)
		}
		if g.changed.IsZero() || stored.WatermarkMillis != g.stored.WatermarkMillis {
			g.changed = now
		}
		g.stored, g.asked = stored, now
	}
	from, watermark := at.Start, int64(math.MinInt64)
	if g.stored.PolicyHash == w.policy.Hash() {
		from, watermark = max(from, g.stored.NextOffsets[id]), g.stored.WatermarkMillis
	}
	limit := int64(w.spec.InFlightClicks) * storedLag / int64(len(w.spec.Starts))
	return at.Next-from < limit || at.AnnouncedMillis <= watermark || now.Sub(g.changed) > gatePatience, nil
}
