package bench_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/bench"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// TestLoopEqualsOracle: the floor is only one if the loop does the whole job.
func TestLoopEqualsOracle(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	cfg := loadgen.DefaultConfig(seed, 20_000, time.Date(2026, 3, 1, 23, 58, 0, 0, time.UTC).UnixMilli(), 100)
	cfg.Shares.Late, cfg.Shares.VeryLate, cfg.Shares.DuplicateOld = 0, 0, 0
	g, err := loadgen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var log bench.Log
	var recs []schemas.Record
	var it loadgen.Item
	for offset := int64(0); g.Next(&it); offset++ {
		rec := schemas.Record{Position: schemas.Position{Offset: offset}, TimestampMicros: it.ReceivedAtMicros / 1000 * 1000,
			Value: it.AppendValue(nil)}
		recs = append(recs, rec)
		log.Add(rec.Position, rec.TimestampMicros, rec.Value)
	}
	p := policy.Default()
	got, rows, err := bench.RunLoop(p, &log)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	result := oracle.Judge(recs, p)
	w := result.Totals(oracle.All)
	want := bench.Totals{Records: w.Records, Billable: w.Billable, Duplicates: w.Duplicates, Invalid: w.Invalid,
		DeadLetters: w.DeadLetters, SpendMicros: w.SpendMicros}
	if got != want || rows != int64(len(result.Rows(oracle.All))) {
		t.Errorf("seed %d: got %+v in %d rows, want %+v in %d", seed, got, rows, want, len(result.Rows(oracle.All)))
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	used := func(wall, cpu time.Duration) bench.Usage { return bench.Usage{Wall: wall, CPU: cpu} }
	r := bench.Report{Figures: []bench.Figures{
		bench.NewFigures("a", "", used(time.Second, time.Second), 1, bench.Totals{Records: 1_000_000, Billable: 5}),
		bench.NewFigures("b", "", used(2*time.Second, 3*time.Second), 1, bench.Totals{Records: 1_000_000, Billable: 5}),
	}}
	r.Compare("b", "a")
	r.Compare("b", "absent")
	if len(r.Ratios) != 1 || r.Ratios[0].CPU != 3 || r.Ratios[0].Speed != 0.5 {
		t.Errorf("got %+v, want one ratio of 3 and 0.5", r.Ratios)
	}
	if err := r.Check(); err != nil {
		t.Errorf("got %v, want equal totals", err)
	}
	r.Figures[1].Totals.SpendMicros = 1
	if err := r.Check(); err == nil {
		t.Error("got no error, want the totals to differ")
	}
	var out strings.Builder
	if err := r.Write(&out); err != nil || !strings.Contains(out.String(), "b / a") {
		t.Errorf("got %q, %v", out.String(), err)
	}
}
