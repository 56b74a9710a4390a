package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/embedpg"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/explain"
	"github.com/clickledger/clickledger/jobs/history"
	"github.com/clickledger/clickledger/jobs/reconcile"
)

// TestDayToTheLedger takes a day of clicks through every command up to the ledger, and asks about it.
func TestDayToTheLedger(t *testing.T) {
	t.Parallel()
	env, dir := settleDay(t, "duckdb://"+filepath.Join(t.TempDir(), "serving.duckdb"))
	reconcileDay(t, env, dir)
	explainDay(t, env)
	var runs history.Report
	startJSON(t, env, &runs, "jobs")
	if len(runs.Runs) != 1 || runs.Runs[0].Revision != 1 || !runs.HasLedger || len(runs.Settlements) != 2 {
		t.Errorf("history %+v, want one result and two settlements", runs)
	}
	var sums table
	startJSON(t, env, &sums, "sql", "select sum(unique_clicks)::bigint as billable, sum(spend_micros)::bigint as spend from minutes")
	if len(sums.Rows) != 1 || sums.Rows[0][0] != float64(runs.Runs[0].BillableClicks) || sums.Rows[0][1] != float64(runs.Runs[0].SpendMicros) {
		t.Errorf("SQL says %+v, the result %+v", sums, runs.Runs[0])
	}
}

// newPlaces starts a log and a ledger, and returns the environment that names all places, and the
// archive's parent folder.
func newPlaces(t *testing.T, serving string) (env []string, dir string) {
	t.Helper()
	broker, err := embedkafka.Start(t.Context(), embedkafka.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	ledgerDir, err := os.MkdirTemp("", "clickledger-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(ledgerDir) })
	server, err := embedpg.Start(context.WithoutCancel(t.Context()), embedpg.Config{Dir: ledgerDir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	dir = t.TempDir()
	env = []string{
		"CLICKLEDGER_LOG=" + broker.URL(),
		"CLICKLEDGER_ARCHIVE=file://" + filepath.Join(dir, "archive"),
		"CLICKLEDGER_SERVING=" + serving,
		"CLICKLEDGER_LEDGER=" + server.DSN,
	}
	return env, dir
}

// settleDay generates a day, streams, archives and judges it, and returns the environment for more.
func settleDay(t *testing.T, serving string) (env []string, dir string) {
	t.Helper()
	env, dir = newPlaces(t, serving)
	startJSON(t, env[:3], &migrateResult{}, "migrate")
	for _, args := range []string{
		"generate --clicks=5000 --rate=100 --seed=3 --start=2026-03-01T12:00:00Z", "archive --until-end", "stream --until-end",
		"archive --until-end",
	} {
		if got := start(t, env, strings.Fields(args)...); got.code != config.ExitOK {
			t.Fatalf("%s: exit code %d: %s", args, got.code, got.err)
		}
	}
	startJSON(t, env, &batch.Result{}, "batch", "--date", "2026-03-01")
	return env, dir
}

func reconcileDay(t *testing.T, env []string, dir string) {
	t.Helper()
	got := start(t, env, "reconcile", "--date", "2026-03-01", "--post")
	if got.code != config.ExitFailed || !strings.Contains(got.err, "clickledger migrate") {
		t.Errorf("without tables: exit code %d, %q, want 1 and the way out", got.code, got.err)
	}
	var migrated migrateResult
	startJSON(t, env, &migrated, "migrate")
	if len(migrated.Places) != 3 {
		t.Errorf("migrated %q, want ledger, serving store and log", migrated.Places)
	}
	var plan, report, again reconcile.Report
	startJSON(t, env, &plan, "reconcile", "--date", "2026-03-01", "--post", "--dry-run")
	file := filepath.Join(dir, "archive", "results", "dt=2026-03-01", "rev=1", reconcile.ReportFile)
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the dry run wrote a report: %v", err)
	}
	startJSON(t, env, &report, "reconcile", "--date", "2026-03-01", "--post")
	if report.UnexplainedClicks != 0 || report.PostedEntries == 0 || report.PostedEntries != plan.PostedEntries ||
		report.LedgerMicros != report.Batch.SpendMicros || report.LedgerDebitMicros != report.LedgerCreditMicros {
		t.Errorf("report %+v, dry run %+v", report, plan)
	}
	var written reconcile.Report
	doc, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(doc, &written)
	}
	if err != nil || written.PostedEntries != report.PostedEntries {
		t.Errorf("report.json holds %s: %v", doc, err)
	}
	elsewhere := filepath.Join(dir, "again.json")
	startJSON(t, env, &again, "reconcile", "--date", "2026-03-01", "--post", "--report", elsewhere)
	if _, err := os.Stat(elsewhere); err != nil || again.PostedEntries != 0 || again.LedgerMicros != report.LedgerMicros {
		t.Errorf("posted again: %+v, %v", again, err)
	}
	text := start(t, env, "reconcile", "--date", "2026-03-01")
	if text.code != config.ExitOK || !strings.Contains(text.out, "sql_audit") || !strings.Contains(text.out, "nothing was posted") {
		t.Errorf("exit code %d, %s%s", text.code, text.out, text.err)
	}
	got = start(t, append(env, "CLICKLEDGER_LEDGER_CURRENCY=EUR"), "reconcile", "--date", "2026-03-01", "--post")
	if got.code == config.ExitOK {
		t.Errorf("posted in another currency: %s", got.out)
	}
}

// explainDay asks for a click of every verdict, with and without the stores.
func explainDay(t *testing.T, env []string) {
	t.Helper()
	for verdict, query := range map[string]string{
		"billable":    "select c.click_id from clicks c anti join decisions d using (\"partition\", \"offset\") order by 1 limit 1",
		"invalid":     "select click_id from decisions where verdict = 'invalid' order by 1 limit 1",
		"duplicate":   "select click_id from decisions where verdict = 'duplicate' order by 1 limit 1",
		"dead_letter": "select decode(\"key\") from dead_letters where reason = 'bad_cost' and octet_length(\"key\") > 0 order by 1 limit 1",
	} {
		var answer table
		startJSON(t, env, &answer, "sql", query)
		if len(answer.Rows) != 1 {
			t.Errorf("%s: the log has no such click", verdict)
			continue
		}
		id, _ := answer.Rows[0][0].(string)
		var report explain.Report
		startJSON(t, env, &report, "explain", id)
		found := false
		for _, c := range report.Copies {
			found = found || c.Batch.Verdict == verdict && c.Stream.Verdict == verdict && c.Object != ""
			if c.Batch.Verdict == "billable" && (c.Final == nil || c.Provisional == nil || *c.Final != *c.Provisional) {
				t.Errorf("%s: rows %+v, %+v", id, c.Provisional, c.Final)
			}
		}
		if !found || verdict == "billable" && (len(report.Bills) == 0 || len(report.Bills[0].Entries) != 1) {
			t.Errorf("%s: no copy of %s is that: %+v", verdict, id, report)
		}
		text := start(t, env[1:2], "explain", id)
		if text.code != config.ExitOK || !strings.Contains(text.out, "no ledger is configured") || !strings.Contains(text.out, verdict) {
			t.Errorf("explain %s: exit code %d, %s%s", id, text.code, text.out, text.err)
		}
	}
	unknown := start(t, env, "explain", "no-such-click")
	if unknown.code != config.ExitFailed || strings.Count(unknown.err, "\n") != 1 || !strings.Contains(unknown.err, "no-such-click") {
		t.Errorf("an unknown click: exit code %d, %q", unknown.code, unknown.err)
	}
}

// TestSQL tries the forms of an answer, and what is refused.
func TestSQL(t *testing.T) {
	t.Parallel()
	archive := "--archive=file://" + writeArchive(t, generateRecords(t, 5, 500))
	values := "select 1 as n, 'a,b' as s, null as nothing, [1, 2] as list, 2.50::decimal(9,2) as d, timestamptz '2026-03-01 00:00:00+00' as t"
	if got := start(t, nil, "sql", archive, "--csv", values); got.out != "n,s,nothing,list,d,t\n1,\"a,b\",,\"[1,2]\",2.5,2026-03-01T00:00:00Z\n" {
		t.Errorf("CSV %q, %s", got.out, got.err)
	}
	got := start(t, nil, "sql", archive, "--limit=2", "select i as n, 'x' as word from range(98, 120) r(i)")
	if want := " n  word\n--  ----\n98  x\n99  x\n(2 rows, and there are more: see --limit and --csv)\n"; got.out != want {
		t.Errorf("table %q, want %q: %s", got.out, want, got.err)
	}
	for _, query := range []string{"describe clicks", "show tables", "select count(*) from minutes", "summarize dead_letters"} {
		if got := start(t, nil, "sql", archive, query); got.code != config.ExitOK {
			t.Errorf("%s: exit code %d, %s", query, got.code, got.err)
		}
	}
	target := filepath.Join(t.TempDir(), "x.csv")
	for _, query := range []string{
		"copy clicks to '" + target + "'", "create table x as select 1", "select 1; select 2", "selekt", "attach '" + target + "' as x",
	} {
		if got := start(t, nil, "sql", archive, query); got.code != config.ExitFailed || got.out != "" {
			t.Errorf("%s: exit code %d, %s%s", query, got.code, got.out, got.err)
		}
	}
	if got := start(t, nil, "sql", archive); got.code != config.ExitUsage {
		t.Errorf("no query: exit code %d, %s", got.code, got.err)
	}
}
