package clicks_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"

	"github.com/clickledger/clickledger/internal/beamrunner"
	"github.com/clickledger/clickledger/pipelines/clicks"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/decode"
	"github.com/clickledger/clickledger/transforms/dedup"
	"github.com/clickledger/clickledger/transforms/handover"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

func init() {
	register.DoFn2x0[[]byte, func(decode.Batch)](&scriptFn{})
	register.DoFn2x1[[]byte, func(decode.Batch), error](&parseFn{})
	register.DoFn3x0[int64, []byte, func(int64, []byte)](&forgetFn{})
	register.DoFn2x1[int64, []byte, error](&judgedFn{})
	register.DoFn1x1[[]byte, error](&rowsFn{})
	register.DoFn1x0[schemas.DeadLetter](&deadFn{})
	register.Emitter1[decode.Batch]()
	register.Emitter2[int64, []byte]()
}

// result is what a run gave: one line a click, row and dead letter, sorted.
type result struct {
	mu      sync.Mutex
	clicks  []string
	rows    map[schemas.MinuteKey]schemas.MinuteRow
	dead    []string
	forgets int // how often the cores were dropped
	problem error

	script []decode.Batch
}

var results sync.Map // RunID -> *result

func resultOf(runID string) *result {
	r, _ := results.Load(runID)
	return r.(*result)
}

// scriptFn emits the batches of a run. RunID is configuration, as in the functions below.
type scriptFn struct{ RunID string }

func (f *scriptFn) ProcessElement(_ []byte, emit func(decode.Batch)) {
	for _, b := range resultOf(f.RunID).script {
		emit(b)
	}
}

// parseFn reads batches that come as bytes.
type parseFn struct{}

func (f *parseFn) ProcessElement(data []byte, emit func(decode.Batch)) error {
	var b decode.Batch
	if err := json.Unmarshal(data, &b); err != nil {
		return err
	}
	emit(b)
	return nil
}

// forgetter drops the run's cores at every Every-th element that it sees, as if all shards had
// moved. It sits behind each stateful DoFn, in its stage: the cores go while the stage is at work.
type forgetter struct {
	RunID string
	Every int

	seen int
}

func (f *forgetter) see() {
	f.seen++
	if f.Every == 0 || f.seen%f.Every != 0 {
		return
	}
	shardstate.Forget(f.RunID)
	r := resultOf(f.RunID)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgets++
}

// forgetFn passes elements on.
type forgetFn struct{ Forget forgetter }

func (f *forgetFn) ProcessElement(shard int64, data []byte, emit func(int64, []byte)) {
	f.Forget.see()
	emit(shard, data)
}

type judgedFn struct{ Forget forgetter }

func (f *judgedFn) ProcessElement(_ int64, data []byte) error {
	f.Forget.see()
	b, err := handover.Block(data)
	if err != nil {
		return err
	}
	r := resultOf(f.Forget.RunID)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range b.Len() {
		line := fmt.Sprintf("%s %s %s", b.Position(i), b.ClickID.At(i), b.Verdict[i])
		if winner := (schemas.Position{Partition: b.WinnerPartition[i], Offset: b.WinnerOffset[i]}); winner != b.Position(i) {
			line += " of " + winner.String()
		}
		if b.Flags[i]&schemas.FlagLate != 0 {
			line += " late"
		}
		if b.Flags[i]&schemas.FlagConflict != 0 {
			line += " conflict"
		}
		for _, rule := range b.Rules[i].Names() {
			line += " " + rule
		}
		r.clicks = append(r.clicks, line)
	}
	return nil
}

type rowsFn struct{ Forget forgetter }

func (f *rowsFn) ProcessElement(data []byte) error {
	f.Forget.see()
	b, err := handover.Rows(data)
	if err != nil {
		return err
	}
	r := resultOf(f.Forget.RunID)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range b.Len() {
		row, err := b.Row(i)
		if err != nil {
			return err
		}
		if old := r.rows[row.MinuteKey]; row.Version < old.Version {
			r.problem = fmt.Errorf("row %+v after version %d", row, old.Version)
		}
		r.rows[row.MinuteKey] = row
	}
	return nil
}

type deadFn struct{ RunID string }

func (f *deadFn) ProcessElement(d schemas.DeadLetter) {
	r := resultOf(f.RunID)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = append(r.dead, fmt.Sprintf("%s %s %q", d.Position, d.Reason, d.Value))
}

// options say how a script is run.
type options struct {
	shards      int32
	forgetEvery int  // elements of one worker's DoFn; 0 is never
	testStream  bool // one element a bundle, by Beam's TestStream
	inMemory    bool // blocks by reference, and no log of the state
}

// runScript runs the whole graph over batches.
func runScript(t *testing.T, script []decode.Batch, o options) *result {
	t.Helper()
	doc, err := policy.Default().YAML()
	if err != nil {
		t.Fatal(err)
	}
	runID := fmt.Sprintf("%s %+v", t.Name(), o)
	r := &result{rows: map[schemas.MinuteKey]schemas.MinuteRow{}, script: script}
	results.Store(runID, r)
	t.Cleanup(func() {
		results.Delete(runID)
		if n := handover.Forget(runID); n != 0 {
			t.Errorf("%d blocks were sent by reference and not received", n)
		}
		shardstate.Forget(runID)
	})
	cfg := clicks.Config{Config: shardstate.Config{PolicyYAML: string(doc), Shards: o.shards, RunID: runID, InMemory: o.inMemory}}
	beamrunner.Init()
	p, s := beam.NewPipelineWithRoot()
	batches := source(t, s, runID, script, o)
	var out clicks.Output
	forget := forgetter{RunID: runID, Every: o.forgetEvery}
	if o.forgetEvery > 0 {
		blocks, dead := decode.Records(s, cfg.Config, batches)
		unique := clicks.Unique(s, cfg, dedup.Sliding, blocks)
		out = clicks.Bill(s, cfg, beam.ParDo(s, &forgetFn{Forget: forget}, unique))
		out.DeadLetters = dead
	} else {
		out = clicks.Stream(s, cfg, batches)
	}
	beam.ParDo0(s, &judgedFn{Forget: forget}, out.Judged)
	beam.ParDo0(s, &rowsFn{Forget: forget}, out.Rows)
	beam.ParDo0(s, &deadFn{RunID: runID}, out.DeadLetters)
	if _, err := beamrunner.Run(t.Context(), "clicks-test", p); err != nil {
		t.Fatal(err)
	}
	if r.problem != nil {
		t.Error(r.problem)
	}
	slices.Sort(r.clicks)
	slices.Sort(r.dead)
	return r
}

func source(t *testing.T, s beam.Scope, runID string, script []decode.Batch, o options) beam.PCollection {
	t.Helper()
	if !o.testStream {
		return beam.ParDo(s, &scriptFn{RunID: runID}, beam.Impulse(s))
	}
	con := teststream.NewConfig()
	for i := range script {
		data, err := json.Marshal(script[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := con.AddElements(int64(i), data); err != nil {
			t.Fatal(err)
		}
		if err := con.AdvanceWatermark(int64(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := con.AdvanceWatermarkToInfinity(); err != nil {
		t.Fatal(err)
	}
	return beam.ParDo(s, &parseFn{}, teststream.Create(s, con))
}

// sums writes the rows in order, as "minute ad: raw duplicates invalid unique micros version".
func (r *result) sums() (out []string) {
	var rows []schemas.MinuteRow
	for _, row := range r.rows {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b schemas.MinuteRow) int { return cmp.Or(a.MinuteKey.Compare(b.MinuteKey), 0) })
	for _, w := range rows {
		out = append(out, fmt.Sprintf("%d %s: %d %d %d %d %d v%d", (w.MinuteMillis-origin)/schemas.MinuteMillis, w.AdID,
			w.RawClicks, w.DuplicateClicks, w.InvalidClicks, w.UniqueClicks, w.SpendMicros, w.Version))
	}
	return out
}
