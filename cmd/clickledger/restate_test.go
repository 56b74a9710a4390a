package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/treetest"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/ledger"
	"github.com/clickledger/clickledger/jobs/reconcile"
)

// TestRestatement changes the policy of a closed month: the effect is shown first, by advertiser, and then
// posted as adjustments and credits into an open month. At last bytes of every file are changed.
func TestRestatement(t *testing.T) {
	t.Parallel()
	env, dir := settleDay(t, "duckdb://"+filepath.Join(t.TempDir(), "serving.duckdb"))
	startJSON(t, env, &migrateResult{}, "migrate")
	var posted reconcile.Report
	startJSON(t, env, &posted, "reconcile", "--date", "2026-03-01", "--post")
	settleFrom(t, env, 2)
	startJSON(t, env, &closeResult{}, "ledger", "close", "--month", "2026-03")
	rules := filepath.Join(dir, "stricter.yaml")
	text := "revisions:\n  - effective_from: 2020-01-01T00:00:00Z\n    velocity: {max_clicks: 5}\n"
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := append(slices.Clip(env), "CLICKLEDGER_POLICY="+rules)
	var judged batch.BackfillResult
	startJSON(t, changed, &judged, "batch", "--from", "2026-03-01", "--to", "2026-03-01")
	if len(judged.Days) != 1 || judged.Days[0].SpendMicros >= posted.Batch.SpendMicros {
		t.Fatalf("judged again %+v, posted %d micros", judged, posted.Batch.SpendMicros)
	}
	spend := judged.Days[0].SpendMicros
	plan := showEffect(t, changed, posted.LedgerMicros, spend)

	var restated, again reconcile.Report
	var period reconcile.PeriodReport
	startJSON(t, changed, &period, "reconcile", "--from", "2026-03-01", "--to", "2026-03-01", "--post")
	restated = *period.Days[0]
	if restated.PostedEntries != len(plan.Planned) || restated.PostedMicros != plan.ChargedMicros+plan.CreditedMicros ||
		restated.LedgerMicros != spend || len(restated.Planned) != 0 || restated.UnexplainedClicks != 0 {
		t.Errorf("posted %+v, planned %d entries, %d micros", restated, len(plan.Planned), plan.CreditedMicros)
	}
	startJSON(t, changed, &again, "reconcile", "--date", "2026-03-01", "--dry-run")
	if len(again.Planned) != 0 || again.PostedEntries != 0 {
		t.Errorf("after it was posted, another %d entries would be: %+v", again.PostedEntries, again.Planned)
	}
	changeBytes(t, changed, filepath.Join(dir, "archive"))
}

// showEffect looks at what the changed policy would do, and wants nothing to be done.
func showEffect(t *testing.T, env []string, held, spend int64) (plan reconcile.Report) {
	t.Helper()
	var before, after ledgerpg.Head
	startJSON(t, env, &before, "ledger", "head")
	startJSON(t, env, &plan, "reconcile", "--date", "2026-03-01", "--dry-run")
	var sum int64
	for i, p := range plan.Planned {
		sum += p.AmountMicros
		if p.AmountMicros == 0 || p.DayMicros-p.PostedMicros != p.AmountMicros || p.OriginalEntryID == nil || p.Kind == "charge" ||
			p.BookingDate <= "2026-03-31" || p.Reason == "" {
			t.Errorf("entry %d: %+v", i, p)
		}
	}
	if len(plan.Planned) == 0 || plan.IsPosted || held+sum != spend || plan.LedgerMicros != held || plan.CreditedMicros >= 0 ||
		plan.ChargedMicros+plan.CreditedMicros != sum {
		t.Fatalf("planned %+v, from %d to %d micros", plan, held, spend)
	}
	text := start(t, env, "reconcile", "--date", "2026-03-01", "--dry-run", "--limit", "1")
	for _, want := range []string{"would be posted", plan.Planned[0].AdvertiserID, "credited -", "more: see --limit", "nothing was"} {
		if text.code != config.ExitOK || !strings.Contains(text.out, want) {
			t.Errorf("dry run: exit code %d, lacks %q: %s%s", text.code, want, text.out, text.err)
		}
	}
	showPeriod(t, env, &plan)
	startJSON(t, env, &after, "ledger", "head")
	if before != after {
		t.Errorf("the dry run changed the ledger from %+v to %+v", before, after)
	}
	return plan
}

// showPeriod looks at the same over a period, of which the second day was not judged.
func showPeriod(t *testing.T, env []string, plan *reconcile.Report) {
	t.Helper()
	var period reconcile.PeriodReport
	startJSON(t, env, &period, "reconcile", "--from", "2026-03-01", "--to", "2026-03-01", "--dry-run")
	if len(period.Days) != 1 || len(period.Planned) != len(plan.Planned) || period.CreditedMicros != plan.CreditedMicros ||
		period.ChargedMicros != plan.ChargedMicros || period.Planned[0].AdvertiserID != plan.Planned[0].AdvertiserID ||
		period.Planned[0].AmountMicros != plan.Planned[0].AmountMicros || period.Planned[0].PostedMicros != plan.Planned[0].PostedMicros {
		t.Errorf("period %+v, day %+v", period, plan)
	}
	got := start(t, env, "reconcile", "--from", "2026-03-01", "--to", "2026-03-02", "--dry-run", "--limit", "2")
	if got.code != config.ExitFailed || !strings.Contains(got.err, "1 days are done; go on from 2026-03-02") ||
		!strings.Contains(got.out, plan.Planned[1].AdvertiserID) || !strings.Contains(got.out, "2026-03-02 failed") {
		t.Errorf("a day that was not judged: exit code %d: %s%s", got.code, got.out, got.err)
	}
	for _, args := range []string{"--from 2026-03-02 --to 2026-03-01", "--from 2026-03-01 --to 2026-03-01 --report x.json", ""} {
		if got := start(t, env, append([]string{"reconcile"}, strings.Fields(args)...)...); got.code != config.ExitUsage {
			t.Errorf("reconcile %s: exit code %d: %s", args, got.code, got.err)
		}
	}
}

// changeBytes changes a byte of every kind of file, or removes it, and wants both commands to name it.
func changeBytes(t *testing.T, env []string, archive string) {
	t.Helper()
	var sound ledger.Verification
	startJSON(t, env, &sound, "ledger", "verify")
	if !sound.IsSound || sound.ComparedObjects == 0 {
		t.Fatalf("ledger verify: %+v", sound)
	}
	if got := start(t, env, "archive", "verify"); got.code != config.ExitOK || !strings.Contains(got.out, "compared with 2 results, 0 have no seal") {
		t.Fatalf("archive verify: exit code %d: %s%s", got.code, got.out, got.err)
	}
	result := "results/dt=2026-03-01/rev=2/"
	kinds := []string{result + batch.MinutesFile, result + batch.DecisionsFile, result + batch.DeadLettersFile, result + batch.ManifestFile,
		result + reconcile.ReportFile, result + reconcile.PageFile, result + reconcile.DiscrepanciesFile, result + reconcile.ManifestFile}
	for _, folder := range []string{"clicks", "dead_letters", "decisions"} {
		for name := range treetest.Read(t, filepath.Join(archive, folder)) {
			kinds = append(kinds, folder+"/"+name)
			break
		}
	}
	for _, key := range kinds {
		path := filepath.Join(archive, filepath.FromSlash(key))
		data, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		other := bytes.Clone(data)
		other[len(other)/2] ^= 1
		if err := os.WriteFile(path, other, 0o600); err != nil {
			t.Fatal(err)
		}
		wantNamed(t, env, key, "ledger", "archive")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		wantNamed(t, env, key, "ledger", "archive")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(archive, filepath.FromSlash(result))
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	wantNamed(t, env, result+batch.ManifestFile, "ledger")
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
}

// wantNamed wants the verifying commands to end with exit code 3, and to name a file.
func wantNamed(t *testing.T, env []string, key string, commands ...string) {
	t.Helper()
	for _, command := range commands {
		got := start(t, env, command, "verify")
		if got.code != config.ExitDiscrepancies || !strings.Contains(got.out, key+": ") {
			t.Errorf("%s: %s verify: exit code %d: %s%s", key, command, got.code, got.out, got.err)
		}
	}
}
