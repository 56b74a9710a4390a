package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/treetest"
	"github.com/clickledger/clickledger/jobs/batch"
)

// TestBackfill judges a period twice, in other ways, and by single days: every byte is the same.
func TestBackfill(t *testing.T) {
	t.Parallel()
	archive := writeArchive(t, generateRecords(t, 11, 10_000))
	env := []string{"CLICKLEDGER_ARCHIVE=file://" + archive}
	one, other, single := t.TempDir(), t.TempDir(), t.TempDir()
	period := []string{"batch", "--from", "2026-02-28", "--to", "2026-03-02"}
	var result, again batch.BackfillResult
	startJSON(t, env, &result, append(period, "--out", one)...)
	startJSON(t, env, &again, append(period, "--out", other, "--slice-clicks", "2000", "--threads", "1")...)
	for i, want := range []string{"2026-02-28", "2026-03-01", "2026-03-02"} {
		if len(result.Days) != 3 || result.Days[i].Date != want || result.Days[i].IsKept {
			t.Fatalf("got %+v, want %s on place %d", result, want, i)
		}
		startJSON(t, env, &batch.Result{}, "batch", "--date", want, "--out", filepath.Join(single, "dt="+want))
	}
	want := treetest.Read(t, one)
	if len(want) != 12 || result.Days[0].Records != 0 || result.Days[1].Records == 0 || result.Days[2].Records == 0 {
		t.Fatalf("%d files, result %+v", len(want), result)
	}
	for _, dir := range []string{other, single} {
		got := treetest.Read(t, dir)
		for name := range want {
			if !bytes.Equal(got[name], want[name]) {
				t.Errorf("%s is not the same again", name)
			}
		}
		if len(got) != len(want) {
			t.Errorf("got %d files, want %d", len(got), len(want))
		}
	}
	plan := start(t, env, append(period, "--dry-run")...)
	if plan.code != config.ExitOK || strings.Count(plan.out, "dry run:") != 3 {
		t.Errorf("dry run: exit code %d: %s%s", plan.code, plan.out, plan.err)
	}
	for args, problem := range map[string]string{
		"--from 2026-03-02 --to 2026-03-01":                   "before",
		"--from 2026-03-02 --to x":                            "flag --to",
		"--from x --to y":                                     "flag --from",
		"--from 2026-03-02":                                   "[from to]",
		"--date 2026-03-02 --to 2026-03-03":                   "[from to]",
		"--from 2000-01-01 --to 2026-03-03":                   "more than",
		"--date 2026-03-02 --from 2026-03-01 --to 2026-03-01": "[date",
	} {
		got := start(t, env, append([]string{"batch"}, strings.Fields(args)...)...)
		if got.code != config.ExitUsage || !strings.Contains(got.err, problem) {
			t.Errorf("%s: exit code %d: %s, want %q", args, got.code, got.err, problem)
		}
	}
}

// TestBackfillGoesOn ends at a day that fails, says so, and goes on from there.
func TestBackfillGoesOn(t *testing.T) {
	t.Parallel()
	archive := writeArchive(t, generateRecords(t, 12, 4_000))
	env := []string{"CLICKLEDGER_ARCHIVE=file://" + archive}
	period := []string{"batch", "--from", "2026-03-01", "--to", "2026-03-02", "--resume", "--json"}
	run := func(args ...string) (result batch.BackfillResult, got outcome) {
		t.Helper()
		got = start(t, env, append(slices.Clone(period), args...)...)
		if err := json.Unmarshal([]byte(got.out), &result); err != nil {
			t.Fatalf("%v: %s%s", err, got.out, got.err)
		}
		return result, got
	}
	// A file stands where the second day's folder is to be.
	blocked := filepath.Join(archive, "results", "dt=2026-03-02")
	if err := os.MkdirAll(filepath.Dir(blocked), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blocked, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	result, got := run()
	if got.code != config.ExitFailed || len(result.Days) != 1 || result.FailedDate != "2026-03-02" || result.Error == "" ||
		!strings.Contains(got.err, "1 of 2 days are done; go on from 2026-03-02") {
		t.Fatalf("exit code %d, %+v: %s", got.code, result, got.err)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	if result, got = run(); got.code != config.ExitOK || len(result.Days) != 2 || !result.Days[0].IsKept || result.Days[1].IsKept {
		t.Fatalf("exit code %d, %+v: %s", got.code, result, got.err)
	}
	if result.Days[0].Records == 0 || !strings.HasSuffix(result.Days[0].Out, "results/dt=2026-03-01/rev=1") {
		t.Errorf("kept %+v", result.Days[0])
	}
	text := start(t, env, slices.DeleteFunc(slices.Clone(period), func(arg string) bool { return arg == "--json" })...)
	if text.code != config.ExitOK || strings.Count(text.out, "kept: a run would come to it again") != 2 {
		t.Errorf("exit code %d: %s%s", text.code, text.out, text.err)
	}
	// What was changed, and what another policy would judge otherwise, is not kept.
	minutes := filepath.Join(archive, "results", "dt=2026-03-01", "rev=1", batch.MinutesFile)
	data, err := os.ReadFile(minutes)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(minutes, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if result, got = run(); got.code != config.ExitOK || result.Days[0].IsKept || !result.Days[1].IsKept ||
		!strings.HasSuffix(result.Days[0].Out, "rev=2") {
		t.Errorf("after a change: exit code %d, %+v: %s", got.code, result, got.err)
	}
	rules := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(rules, []byte("revisions:\n  - effective_from: 2020-01-01T00:00:00Z\n    velocity: {max_clicks: 2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if result, got = run("--policy", rules); got.code != config.ExitOK || result.Days[0].IsKept || result.Days[1].IsKept {
		t.Errorf("by another policy: exit code %d, %+v: %s", got.code, result, got.err)
	}
}
