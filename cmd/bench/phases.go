package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"

	"github.com/clickledger/clickledger/internal/auditduck"
	"github.com/clickledger/clickledger/internal/bench"
	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

const (
	phaseBroker  = "broker"
	phaseLoad    = "load"
	phaseArchive = "archive"
)

var phases = map[string]func(context.Context, *settings) (result, error){
	phaseLoad:      load,
	phaseArchive:   writeArchive,
	nameLoop:       runLoop,
	nameStream:     func(ctx context.Context, s *settings) (result, error) { return runStream(ctx, s, nameStream) },
	nameStreamRows: func(ctx context.Context, s *settings) (result, error) { return runStream(ctx, s, nameStreamRows) },
	nameFlink:      runFlink,
	nameBatch:      runBatch,
	nameSQL:        runSQL,
}

// measured runs work between two readings of the process's clocks, under the profiler where it is
// asked for.
func (s *settings) measured(name string, work func() error) (used bench.Usage, err error) {
	if s.Profile != "" {
		f, err := os.Create(filepath.Join(s.Profile, name+".cpu.pprof"))
		if err != nil {
			return used, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return used, err
		}
		defer pprof.StopCPUProfile()
	}
	clock, err := bench.Start()
	if err != nil {
		return used, err
	}
	if err := work(); err != nil {
		return used, err
	}
	if used, err = clock.Stop(); err != nil || s.Profile == "" {
		return used, err
	}
	f, err := os.Create(filepath.Join(s.Profile, name+".allocs.pprof"))
	if err != nil {
		return used, err
	}
	return used, errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}

func runLoop(_ context.Context, s *settings) (result, error) {
	runtime.GOMAXPROCS(1)
	var log bench.Log
	err := s.records(func(pos schemas.Position, timeMicros int64, _, value []byte) error {
		log.Add(pos, timeMicros, value)
		return nil
	})
	if err != nil {
		return result{}, err
	}
	runtime.GC()
	var totals bench.Totals
	var rows int64
	used, err := s.measured(nameLoop, func() (err error) {
		totals, rows, err = bench.RunLoop(policy.Default(), &log)
		return err
	})
	return result{Figures: bench.NewFigures(nameLoop, "bare Go loop over the values in memory, one core; the peak holds the log itself", used, rows, totals)}, err
}

func runStream(ctx context.Context, s *settings, name string) (_ result, err error) {
	runtime.GOMAXPROCS(s.Threads)
	deps, what := stream.Deps{}, "stream pipeline on prism, Kafka bytes to rows that are counted"
	if name == nameStreamRows {
		what = "stream pipeline on prism, Kafka bytes to rows in DuckDB"
		store, err := servingduck.Open(ctx, "duckdb://"+filepath.Join(s.Dir, "serving.duckdb"), servingduck.Options{MustOwn: true, Threads: s.Threads})
		if err != nil {
			return result{}, err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		deps.Serving = store
	}
	var st stream.Stats
	used, err := s.measured(name, func() (err error) {
		st, err = stream.Run(ctx, stream.Config{Log: s.URL, Policy: policy.Default(), RunID: name, UntilEnd: true}, deps)
		return err
	})
	if err != nil {
		return result{}, err
	}
	if st.Late != 0 {
		return result{}, fmt.Errorf("%d clicks were late", st.Late)
	}
	totals := bench.Totals{Records: st.Records, Billable: st.Billable, Duplicates: st.Duplicates, Invalid: st.Invalid,
		DeadLetters: st.DeadLetters, SpendMicros: st.SpendMicros}
	if deps.Serving != nil {
		if err := checkServing(ctx, deps.Serving, totals); err != nil {
			return result{}, err
		}
	}
	return result{Figures: bench.NewFigures(name, what, used, st.Rows, totals)}, nil
}

// checkServing holds the stored rows to the verdicts that were counted.
func checkServing(ctx context.Context, store serving.Store, want bench.Totals) error {
	got := bench.Totals{Records: want.Records, DeadLetters: want.DeadLetters}
	from := day.UnixMilli()
	for row, err := range store.Rows(ctx, serving.Provisional, serving.Range{FromMillis: from - 86_400_000, ToMillis: from + 2*86_400_000}) {
		if err != nil {
			return err
		}
		got.Billable += row.UniqueClicks
		got.Duplicates += row.DuplicateClicks
		got.Invalid += row.InvalidClicks
		got.SpendMicros += row.SpendMicros
	}
	if got != want {
		return fmt.Errorf("%w: the serving table has %+v, the verdicts say %+v", bench.ErrTotals, got, want)
	}
	return nil
}

func runBatch(ctx context.Context, s *settings) (result, error) {
	runtime.GOMAXPROCS(s.Threads)
	var r batch.Result
	used, err := s.measured(nameBatch, func() (err error) {
		r, err = batch.Run(ctx, batch.Config{Archive: "file://" + s.archive(), Date: day, Policy: policy.Default(),
			Out: filepath.Join(s.Dir, "batch"), RunID: nameBatch, Threads: s.Threads}, batch.Deps{})
		return err
	})
	return result{Figures: bench.NewFigures(nameBatch, "batch pipeline, Parquet to minutes.parquet, with decisions and manifest", used, r.Rows,
		bench.Totals{Records: r.Records, Billable: r.BillableClicks, Duplicates: r.DuplicateClicks, Invalid: r.InvalidClicks,
			DeadLetters: r.DeadLetters, SpendMicros: r.SpendMicros})}, err
}

func runSQL(ctx context.Context, s *settings) (result, error) {
	runtime.GOMAXPROCS(s.Threads)
	var files [2][]string
	for i, folder := range []string{"clicks", "dead_letters"} {
		var err error
		if files[i], err = filepath.Glob(filepath.Join(s.archive(), folder, "*", "*", "*", "*.parquet")); err != nil {
			return result{}, err
		}
		slices.Sort(files[i])
	}
	path := filepath.Join(s.Dir, "sql-minutes.parquet")
	used, err := s.measured(nameSQL, func() error {
		return auditduck.Minutes(ctx, auditduck.Input{ClickFiles: files[0], DeadLetterFiles: files[1], DayStartMillis: day.UnixMilli(),
			DayEndMillis: day.AddDate(0, 0, 1).UnixMilli(), Policy: policy.Default(), Threads: s.Threads, TempDir: s.Dir}, path)
	})
	if err != nil {
		return result{}, err
	}
	totals, rows, err := totalsOf(ctx, path, files[1])
	return result{Figures: bench.NewFigures(nameSQL, "DuckDB SQL, the same Parquet to a Parquet of minutes", used, rows, totals)}, err
}

// totalsOf adds up the rows of a file of minutes, and counts the dead letters, which it does not hold.
func totalsOf(ctx context.Context, minutes string, deadLetters []string) (t bench.Totals, rows int64, err error) {
	db, err := duckscan.Open(duckscan.Options{})
	if err != nil {
		return t, 0, err
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		return t, 0, err
	}
	defer conn.Close()
	for query, to := range map[string]*int64{
		"select count(*)::bigint from '" + minutes + "'":              &rows,
		"select sum(unique_clicks)::bigint from '" + minutes + "'":    &t.Billable,
		"select sum(duplicate_clicks)::bigint from '" + minutes + "'": &t.Duplicates,
		"select sum(invalid_clicks)::bigint from '" + minutes + "'":   &t.Invalid,
		"select sum(spend_micros)::bigint from '" + minutes + "'":     &t.SpendMicros,
	} {
		if *to, err = conn.Int64(ctx, query); err != nil {
			return t, 0, err
		}
	}
	for _, path := range deadLetters {
		n, err := conn.Int64(ctx, "select count(*)::bigint from '"+path+"'")
		if err != nil {
			return t, 0, err
		}
		t.DeadLetters += n
	}
	t.Records = t.Billable + t.Duplicates + t.Invalid + t.DeadLetters
	return t, rows, nil
}
