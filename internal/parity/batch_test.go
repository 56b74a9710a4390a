package parity

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas/policy"
)

// digests are the files of a result with their SHA-256.
func digests(t testing.TB, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue // of the store's own
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		m[e.Name()] = hex.EncodeToString(sum[:])
	}
	return m
}

// TestBatchIsReproducible: the same inputs give the same bytes, however the work is divided.
func TestBatchIsReproducible(t *testing.T) {
	b := newBed(t, logPartitions, parsePolicy(t, twoRevisions))
	l := seeded{seed: 11, clicks: 8_000, rate: 1.2, isLate: true}.log(t)
	b.produce(l)
	b.keep("clicks")
	var first map[string]string
	for i, cfg := range []batch.Config{{}, {}, {Shards: 1}, {Shards: 7, SliceClicks: 500}, {Shards: 2, SliceClicks: 97, Threads: 1, MemoryLimit: "300MB"}} {
		cfg.Archive, cfg.Date, cfg.Policy, cfg.Out, cfg.RunID = b.archive, day.AddDate(0, 0, 1), b.policy, t.TempDir(), b.runID("batch")
		if _, err := batch.Run(b.ctx, cfg, batch.Deps{}); err != nil {
			t.Fatal(err)
		}
		got := digests(t, cfg.Out)
		if i == 0 {
			first = got
		}
		if len(got) != 4 || !maps.Equal(got, first) {
			t.Errorf("run %d (%+v): got %v, want %v", i, cfg, got, first)
		}
	}
}

// rewrite copies an archive's Parquet files by DuckDB, each by a query over its rows.
func rewrite(t *testing.T, from, to, folder, columns string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, folder, "*", "*", "*", "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files: %v", folder, len(files), err)
	}
	db := openDuck(t)
	for _, file := range files {
		out := filepath.Join(to, strings.TrimPrefix(file, from))
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), fmt.Sprintf("copy (select %s from read_parquet('%s', hive_partitioning = false)) to '%s' (format parquet)",
			columns, file, out)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestForeignArchive judges archives that another program wrote.
func TestForeignArchive(t *testing.T) {
	p := policy.Default()
	b := newBed(t, logPartitions, p)
	l := seeded{seed: 12, clicks: 6_000, rate: 1, isLate: true}.log(t)
	b.produce(l)
	b.keep("clicks")
	own := strings.TrimPrefix(b.archive, "file://")
	want := oracle.Judge(l.recs, p)
	const dead = "dead_letters"
	nullable := "* replace (" + strings.Join(func() (list []string) {
		for _, c := range []string{"user_id", "ip_address", "user_agent", "referrer", "device_type", "country_code"} {
			list = append(list, fmt.Sprintf("nullif(%s, '') as %[1]s", c))
		}
		return list
	}(), ", ") + ")"
	for _, tc := range []struct{ name, clicks, dead string }{
		{"nulls for empty texts", nullable, "*"},
		{"time without a zone", `* replace (received_at at time zone 'UTC' as received_at, event_time::timestamp as event_time)`,
			"* replace (received_at at time zone 'UTC' as received_at)"},
		{"nanoseconds and other columns, in another order", `event_time::timestamp_ns as event_time, 'x' as extra, * exclude (event_time)`, "reason, * exclude (reason)"},
		{"without the derived and the unneeded", "* exclude (referrer)", "* exclude (reason)"},
		{"wider numbers", `* replace (partition::bigint as partition, cost_micros::hugeint as cost_micros)`, "* replace (partition::bigint as partition)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			rewrite(t, own, dir, "clicks", tc.clicks)
			rewrite(t, own, dir, dead, tc.dead)
			foreign := *b
			foreign.t, foreign.archive = t, "file://"+dir
			for _, d := range days(want) {
				foreign.checkBatch(foreign.batch(time.UnixMilli(d).UTC()), want, d)
			}
		})
	}
	t.Run("no dead letters", func(t *testing.T) {
		dir := t.TempDir()
		rewrite(t, own, dir, "clicks", "*")
		foreign := *b
		foreign.t, foreign.archive = t, "file://"+dir
		got, totals := foreign.batch(day), want.Totals(oracle.Day(day.UnixMilli()))
		if got.DeadLetters != 0 || got.BillableClicks != totals.Billable || got.SpendMicros != totals.SpendMicros {
			t.Errorf("got %+v, want %+v without its dead letters", got, totals)
		}
	})
	t.Run("nothing at all", func(t *testing.T) {
		foreign := *b
		foreign.t, foreign.archive = t, "file://"+t.TempDir()
		if got := foreign.batch(day); got.Records != 0 || got.Rows != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestEmptyClickFile: a range of nothing but dead letters has an empty click file.
func TestEmptyClickFile(t *testing.T) {
	b := newBed(t, 2, policy.Default())
	var l clickLog
	for i := range 3 {
		l.addTo(1, event{id: fmt.Sprint("bad-", i), at: noon, ip: "no address"})
	}
	b.produce(&l)
	b.keep("clicks")
	b.checkBatch(b.batch(day), oracle.Judge(l.recs, b.policy), day.UnixMilli())
	l.add(event{id: "good", at: noon}, event{id: "good", at: noon + 1})
	b.produce(&l)
	b.keep("clicks")
	b.checkBatch(b.batch(day), oracle.Judge(l.recs, b.policy), day.UnixMilli())
	b.stream()
	b.keep()
	wantCauses(t, b.reconcile(day, nil), map[string]effect{})
}

// TestBatchByAnotherPolicy: the archive keeps what it was given, and the batch's policy decides what
// is a click. Copies of a click that was dead before count from then on.
func TestBatchByAnotherPolicy(t *testing.T) {
	narrow := parsePolicy(t, `
revisions:
  - effective_from: 2020-01-01T00:00:00Z
    max_event_age: 10m
    max_event_ahead: 1s
    max_cost_micros: 300000
`)
	var l clickLog
	l.add(flow(noon, 3)...)
	l.add(event{id: "dear", at: noon + 3*second, cost: 0.5}, event{id: "dear", at: noon + 4*second, cost: 0.25},
		event{id: "old", at: noon - 20*minute, received: noon + 5*second}, event{id: "ahead", at: noon + 2*minute, received: noon + 6*second},
		event{id: "long", at: noon + 7*second, agent: strings.Repeat("x", 70_000)},
		event{id: "bad", at: noon + 8*second, ip: "no address"})
	l.add(burst(31, noon+9*second, 10, event{id: "burst", cost: 0.25, ip: "203.0.113.7"})...)
	l.add(burst(1, noon+10*second, 0, event{id: "dear-too", cost: 0.75, ip: "203.0.113.7", user: "user-of-burst"})...)
	late := event{id: "late", at: noon - 30*second, received: noon + 12*second, cost: 0.125}
	for _, tc := range []struct {
		name           string
		archived, used *policy.Policy
		log            func(*clickLog)
		want           map[string]effect
	}{
		{"revived", narrow, policy.Default(), func(*clickLog) {}, map[string]effect{"late_in_stream": {Clicks: 1, Micros: 250_000, Gross: 1}}},
		{"refused", policy.Default(), narrow, func(*clickLog) {}, map[string]effect{}},
		// A row that differs for another reason, with a click in it that both layers refuse.
		{"refused, and not seen", policy.Default(), narrow, func(l *clickLog) { l.add(late) },
			map[string]effect{"not_seen_by_stream": {Clicks: 1, Micros: 125_000, Gross: 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBed(t, 1, tc.used)
			l := clickLog{recs: slices.Clone(l.recs), next: maps.Clone(l.next)}
			l.add(event{id: "dear-before", at: noon - 30*second, received: noon + 11*second, cost: 0.75})
			b.produce(&l)
			b.stream()
			tc.log(&l)
			b.produce(&l)
			b.policy = tc.archived
			b.keep()
			b.policy = tc.used
			b.checkBatch(b.batch(day), oracle.Judge(l.recs, b.policy), day.UnixMilli())
			wantCauses(t, b.reconcile(day, nil), tc.want)
		})
	}
}
