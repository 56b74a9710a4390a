package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas/policy"
)

// TestBatchEqualsOracle runs the program over both days of a log, with nothing but an archive.
func TestBatchEqualsOracle(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	records := generateRecords(t, seed, 10_000)
	archive := "file://" + writeArchive(t, records)
	judged := oracle.Judge(records, policy.Default())
	for _, day := range []string{"2026-03-01", "2026-03-02"} {
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		want := judged.Totals(oracle.Day(at.UnixMilli()))
		out := filepath.Join(t.TempDir(), "out")
		var got batch.Result
		startJSON(t, nil, &got, "batch", "--archive", archive, "--date", day, "--out", out, "--slice-clicks", "3000")
		if got.Records != want.Records || got.BillableClicks != want.Billable || got.DuplicateClicks != want.Duplicates ||
			got.InvalidClicks != want.Invalid || got.DeadLetters != want.DeadLetters || got.SpendMicros != want.SpendMicros ||
			got.Advertisers != int64(len(want.Advertisers)) {
			t.Errorf("seed %d, %s: got %+v, want %+v", seed, day, got, want)
		}
		for rule, n := range got.InvalidByRule {
			if n != want.InvalidByRule[rule] {
				t.Errorf("seed %d, %s: %s: got %d, want %d", seed, day, rule, n, want.InvalidByRule[rule])
			}
		}
		for _, name := range []string{batch.MinutesFile, batch.DecisionsFile, batch.ManifestFile} {
			if _, err := os.Stat(filepath.Join(out, name)); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestBatchOfNothing: a day without records gives zeros; an archive that is not there is an error,
// and is not created; a dry run writes nothing.
func TestBatchOfNothing(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	var got batch.Result
	startJSON(t, nil, &got, "batch", "--archive", "file://"+empty, "--date", "2026-03-01")
	if got.Records != 0 || got.SpendMicros != 0 || !strings.HasSuffix(got.Out, "results/dt=2026-03-01/rev=1") {
		t.Errorf("a day without records gives %+v", got)
	}
	missing := filepath.Join(t.TempDir(), "archive")
	failed := start(t, nil, "batch", "--archive", "file://"+missing, "--date", "2026-03-01")
	if failed.code != config.ExitFailed || strings.Count(failed.err, "\n") != 1 || !strings.Contains(failed.err, "file://"+missing) {
		t.Errorf("exit code %d, %q, want 1 and one line with the URL", failed.code, failed.err)
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("the archive was created: %v", err)
	}
	dir := writeArchive(t, generateRecords(t, 1, 1_000))
	var plan batch.Plan
	startJSON(t, nil, &plan, "batch", "--archive", "file://"+dir, "--date", "2026-03-01", "--dry-run")
	if len(plan.Clicks) != archivedPartitions || plan.Rows == 0 || !strings.HasSuffix(plan.Out, "rev=1") {
		t.Errorf("the dry run says %+v", plan)
	}
	if _, err := os.Stat(filepath.Join(dir, "results")); !os.IsNotExist(err) {
		t.Errorf("the dry run wrote a result: %v", err)
	}
}

// TestBatchDefaults: the settings that are unset are the job's own defaults.
func TestBatchDefaults(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"batch.slice_clicks": batch.DefaultSliceClicks, "batch.shards": batch.DefaultShards} {
		key, ok := config.Find(name)
		if !ok || key.Default != strconv.Itoa(want) {
			t.Errorf("%s: default %q, want %d", name, key.Default, want)
		}
	}
}
