package archived

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clickledger/clickledger/jobs/analyst"
	"github.com/clickledger/clickledger/jobs/api"
)

// setup makes an archive of two days with results, reports and discrepancies, of the columns that the
// jobs write. The clock of the archive is the returned number of seconds.
func setup(t *testing.T) (*Archive, string, *atomic.Int64) {
	t.Helper()
	dir := t.TempDir()
	for _, tt := range []struct {
		day      string
		revision int
		clicks   int64 // adv_1's in report and discrepancies
		held     []string
	}{{"2026-11-09", 1, 1, nil}, {"2026-11-09", 2, 2, nil}, {"2026-11-10", 1, 3, []string{"adv_2"}}} {
		result := filepath.Join(dir, "results", "dt="+tt.day, fmt.Sprintf("rev=%d", tt.revision))
		write(t, filepath.Join(result, "run.json"), []byte("{}"))
		write(t, filepath.Join(result, "report.json"), reportOf(t, tt.day, tt.clicks, tt.held))
		parquet(t, filepath.Join(result, "discrepancies.parquet"), fmt.Sprintf(`from (values
			('adv_1', 'late_in_stream', %d::bigint, 450::bigint), ('adv_1', 'late_in_stream', 1::bigint, 50::bigint),
			('adv_2', 'unexplained', -1::bigint, -70::bigint)) as t(advertiser_id, cause, delta_clicks, delta_micros)`, tt.clicks))
		parquet(t, filepath.Join(result, "minutes.parquet"), `select timestamp '2026-11-10 07:00:00' as click_minute, 'adv_1' as advertiser_id`)
		parquet(t, filepath.Join(result, "decisions.parquet"), `from (values
			(0, 1::bigint, 'invalid', ['listed_ip', 'velocity_ip_ad']), (0, 2::bigint, 'invalid', ['listed_ip']), (0, 3::bigint, 'duplicate', []::varchar[]),
			(1, 1::bigint, 'invalid', ['bot_user_agent'])) as t("partition", "offset", verdict, rules)`)
	}
	parquet(t, filepath.Join(dir, "clicks", "dt=2026-11-10", "hr=07", "p=000", "00000000000000000000-00000000000000000009.parquet"), `from (values
		(0, 1::bigint, 'adv_1', 150::bigint, timestamptz '2026-11-10 07:00:00Z'), (0, 2::bigint, 'adv_1', 200::bigint, timestamptz '2026-11-10 07:01:00Z'),
		(0, 3::bigint, 'adv_1', 250::bigint, timestamptz '2026-11-10 07:02:00Z'), (1, 1::bigint, 'adv_2', 300::bigint, timestamptz '2026-11-10 07:03:00Z'),
		(1, 2::bigint, 'adv_2', 300::bigint, timestamptz '2026-11-09 07:03:00Z')) as t("partition", "offset", advertiser_id, cost_micros, event_time)`)
	clock := &atomic.Int64{}
	a, err := Open(t.Context(), Config{Config: analyst.Config{Archive: "file://" + dir, TempDir: t.TempDir()}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Now: func() time.Time { return time.Unix(clock.Load(), 0) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, dir, clock
}

func reportOf(t *testing.T, day string, clicks int64, held []string) []byte {
	t.Helper()
	doc, err := json.Marshal(map[string]any{"date": day, "cut": day + "T23:00:00Z", "is_complete": false, "is_posted": true,
		"stream": map[string]any{"billable_clicks": 100, "spend_micros": 1000}, "batch": map[string]any{"billable_clicks": 100 + clicks, "spend_micros": 1430},
		"causes":             map[string]any{"late_in_stream": map[string]any{"clicks": clicks + 1, "micros": 500}, "policy_changed": map[string]any{"clicks": 0, "micros": 0}},
		"unexplained_clicks": 1, "unexplained_micros": -70, "held_advertisers": held, "gate": []any{map[string]any{"name": "sql_audit", "is_ok": true, "detail": "all"}}})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func parquet(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("copy (%s) to '%s' (format parquet)", query, path)); err != nil {
		t.Fatal(err)
	}
}

func TestReconciliationOfAll(t *testing.T) {
	t.Parallel()
	a, _, _ := setup(t)
	got, err := a.Reconciliation(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	want := &api.Reconciliation{Date: "2026-11-10", Cut: time.Date(2026, 11, 10, 23, 0, 0, 0, time.UTC), IsPosted: true, IsHeld: true,
		Causes: []api.Cause{{Cause: "late_in_stream", Clicks: 4, Micros: 500}, {Cause: "policy_changed"}}, UnexplainedClicks: 1, UnexplainedMicros: -70,
		Gate: []api.Check{{Name: "sql_audit", IsOK: true}}}
	want.Whole(api.Layer{BillableClicks: 100, SpendMicros: 1000}, api.Layer{BillableClicks: 103, SpendMicros: 1430})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestReconciliationOfAnAdvertiser(t *testing.T) {
	t.Parallel()
	a, dir, clock := setup(t)
	for _, tt := range []struct {
		day, id string
		clicks  int64
		causes  int
		isHeld  bool
	}{{"", "adv_1", 4, 1, false}, {"2026-11-09", "adv_1", 3, 1, false}, {"", "adv_2", -1, 1, true}, {"", "adv_3", 0, 0, false}, {"", "adv_1", 4, 1, false}} {
		got, err := a.Reconciliation(t.Context(), tt.day, tt.id)
		if err != nil {
			t.Fatal(err)
		}
		if got.DifferenceClicks != tt.clicks || len(got.Causes) != tt.causes || got.IsHeld != tt.isHeld || got.Batch != nil || got.AdvertiserID != tt.id {
			t.Errorf("%s on %q: got %+v, want %+v", tt.id, tt.day, got, tt)
		}
	}
	if _, err := a.Reconciliation(t.Context(), "2026-11-11", "adv_1"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("a day that was not reconciled: got %v", err)
	}
	// The day is reconciled again: what was kept of it does not stand for the new report.
	result := filepath.Join(dir, "results", "dt=2026-11-10", "rev=1")
	write(t, filepath.Join(result, "report.json"), reportOf(t, "2026-11-10", 8, nil))
	parquet(t, filepath.Join(result, "discrepancies.parquet"), `select 'adv_1' as advertiser_id, 'late_in_stream' as cause, 9::bigint as delta_clicks, 1::bigint as delta_micros`)
	clock.Add(10)
	got, err := a.Reconciliation(t.Context(), "", "adv_1")
	if err != nil || got.DifferenceClicks != 9 {
		t.Errorf("after another reconciliation: got %+v, %v", got, err)
	}
}

func TestInvalidByRule(t *testing.T) {
	t.Parallel()
	a, _, _ := setup(t)
	days := []string{"2026-11-08", "2026-11-09", "2026-11-10"}
	for id, want := range map[string][]api.RuleCount{
		"adv_1": {{Rule: "listed_ip", Clicks: 2, CostMicros: 350}, {Rule: "velocity_ip_ad", Clicks: 1, CostMicros: 150}},
		"adv_2": {{Rule: "bot_user_agent", Clicks: 1, CostMicros: 300}},
		"adv_3": {},
	} {
		var got api.RuleCounts
		for range 40 { // the counting may take longer than a request waits
			var err error
			if got, err = a.InvalidByRule(t.Context(), id, days); err != nil {
				t.Fatal(err)
			}
			if got.State != api.RulesPending {
				break
			}
		}
		if !reflect.DeepEqual(got, api.RuleCounts{State: api.RulesReady, Days: days[1:], Rules: want}) {
			t.Errorf("%s: got %+v, want %+v", id, got, want)
		}
	}
	got, err := a.InvalidByRule(t.Context(), "adv_1", []string{"2026-11-11"})
	if err != nil || got.State != api.RulesNone || got.Rules == nil || got.Days == nil {
		t.Errorf("a day without a result: got %+v, %v", got, err)
	}
}
