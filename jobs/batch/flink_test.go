package batch

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

func TestValidateRunner(t *testing.T) {
	t.Parallel()
	loopback := FlinkConfig{REST: "http://127.0.0.1:8081", JobService: "127.0.0.1:8099"}
	external := FlinkConfig{REST: loopback.REST, JobService: loopback.JobService, Environment: "external", WorkerPool: "pool:50000"}
	for _, tc := range []struct {
		name string
		cfg  Config
		want string // in the error; empty for none
	}{
		{"default", Config{}, ""},
		{"prism", Config{Runner: Prism}, ""},
		{"another", Config{Runner: "spark"}, `batch.runner: "spark" is not supported`},
		{"loopback", Config{Runner: Flink, Flink: loopback}, ""},
		{"no job server", Config{Runner: Flink, Flink: FlinkConfig{REST: loopback.REST}}, "flink: job_service"},
		{"nothing shared", Config{Runner: Flink, Flink: external}, "batch.exchange: workers of the environment external are other processes"},
		{"shared", Config{Runner: Flink, Flink: external, Exchange: "s3://bucket/exchange"}, ""},
		{"not a place", Config{Runner: Flink, Flink: loopback, Exchange: "ftp://h/x"}, "batch.exchange: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.cfg.Archive, tc.cfg.Policy, tc.cfg.RunID = "file:///archive", policy.Default(), "r"
			tc.cfg.Date = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
			err := tc.cfg.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func newTestExchange(t *testing.T) (exchange, objectstore.Store) {
	t.Helper()
	x := exchange{URL: "file://" + t.TempDir(), Prefix: "run/1/"}
	store, err := x.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x, store
}

// TestExchange: records come back with their keys, an output that is written twice is there once, and
// clear leaves the other runs alone.
func TestExchange(t *testing.T) {
	t.Parallel()
	x, store := newTestExchange(t)
	ctx := t.Context()
	in, objects := x.inputs(store, "in")
	large := bytes.Repeat([]byte("x"), objectBytes/2)
	want := [][]byte{large, large, nil, []byte("last")}
	for i, data := range want {
		if err := in.add(ctx, int64(i)-1, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.flush(ctx); err != nil || *objects != 2 {
		t.Fatalf("%d objects, %v, want 2", *objects, err)
	}
	n := int64(0)
	for i := range *objects {
		if err := readRecords(ctx, store, x.input("in", i), func(key int64, data []byte) error {
			if key != n-1 || !bytes.Equal(data, want[n]) {
				t.Errorf("record %d: got key %d and %d bytes", n, key, len(data))
			}
			n++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n != int64(len(want)) {
		t.Errorf("got %d records, want %d", n, len(want))
	}
	for range 2 { // the bundle runs again
		out := x.outputs(store, "out")
		_ = out.add(ctx, 0, []byte("dropped"))
		out.drop()
		if err := errors.Join(out.add(ctx, 0, []byte("one")), out.flush(ctx), out.flush(ctx), out.add(ctx, 0, []byte("two")), out.flush(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	if err := x.collect(ctx, store, "out", func(data []byte) error { got = append(got, string(data)); return nil }); err != nil || len(got) != 2 {
		t.Errorf("got %q, %v, want two records", got, err)
	}
	if _, err := store.Put(ctx, "run/10/in/0", []byte{1, 200}, objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := readRecords(ctx, store, "run/10/in/0", func(int64, []byte) error { return nil }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v of a damaged object, want %v", err, io.ErrUnexpectedEOF)
	}
	if err := x.clear(ctx, store); err != nil {
		t.Fatal(err)
	}
	if left, err := store.List(ctx, "run/"); err != nil || len(left) != 1 {
		t.Errorf("got %v, %v, want the other run's object", left, err)
	}
}

// settled is a session whose output holds one row of 3 clicks, 1 of them billed, and the decisions on
// the other 2; each is there as often as asked for.
func settled(t *testing.T, rows, decisions int) *session {
	t.Helper()
	db, err := duckscan.Open(duckscan.Options{Threads: 1, MemoryLimit: "64MB", TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := &session{deps: Deps{Logger: slog.New(slog.DiscardHandler)}, db: db}
	if err := s.out.open(db); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.out.close)
	s.dayClicks.Store(3)
	row := schemas.NewRowBlock()
	row.AppendRow(0, schemas.AppendRowKey(nil, "adv", "campaign", "ad", "", ""),
		schemas.Sums{Raw: 3, Duplicates: 1, Invalid: 1, Unique: 1, SpendMicros: 250_000, Version: 3})
	for range rows {
		if err := s.out.rows(row); err != nil {
			t.Fatal(err)
		}
	}
	b := schemas.NewBlock()
	for i, v := range []schemas.Verdict{schemas.Duplicate, schemas.Invalid} {
		(&testClick{offset: int64(i), verdict: v}).appendTo(b)
		b.Rules[i] = schemas.Rules(i) // the invalid one hit a rule
	}
	for range decisions {
		for i := range b.Len() {
			if err := s.out.decision(b, i); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.out.closeAppenders(); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSettle: what came twice counts once, and what is missing or too much is an error.
func TestSettle(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name            string
		rows, decisions int
		isBad           bool
	}{
		{"once", 1, 1, false}, {"twice", 2, 2, false}, {"rows twice", 3, 1, false}, {"decisions twice", 1, 2, false},
		{"no rows", 0, 1, true}, {"no decisions", 1, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := settled(t, tc.rows, tc.decisions)
			err := s.settle(t.Context())
			if tc.isBad {
				if err == nil || !strings.Contains(err.Error(), "conservation") {
					t.Errorf("got %v, want a broken conservation", err)
				}
				return
			}
			got := []int64{s.verdicts[schemas.Billable].Load(), s.verdicts[schemas.Duplicate].Load(), s.verdicts[schemas.Invalid].Load(),
				s.byRule[0].Load(), s.spend.Load(), s.out.rowCount}
			for i, want := range []int64{1, 1, 1, 1, 250_000, 1} {
				if err != nil || got[i] != want {
					t.Fatalf("got %v, %v", got, err)
				}
			}
		})
	}
}

// TestCut: the clicks stay in order, and no block that is emitted is longer or shorter than the limit.
func TestCut(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 9, 10, 11, 20, 35} {
		b := schemas.NewBlock()
		for i := range n {
			(&testClick{offset: int64(i), ip: newTestKey("ip")}).appendTo(b)
		}
		var offsets []int64
		rest := cut(b, 10, func(full *schemas.Block) {
			if full.Len() != 10 || len(full.IPKey) != 10 || len(full.UserKey) != 10 {
				t.Errorf("%d clicks: a block of %d, with %d and %d keys", n, full.Len(), len(full.IPKey), len(full.UserKey))
			}
			offsets = append(offsets, full.Offset...)
		})
		if rest.Len() != n%10 {
			t.Errorf("%d clicks: the rest holds %d", n, rest.Len())
		}
		for i, offset := range append(offsets, rest.Offset...) {
			if offset != int64(i) {
				t.Fatalf("%d clicks: got offset %d at %d", n, offset, i)
			}
		}
	}
}
