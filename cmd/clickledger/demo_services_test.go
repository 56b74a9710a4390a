package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/internal/embedpg"
	"github.com/clickledger/clickledger/jobs/demo"
)

// plainEnviron is the environment without what would name another S3, or other places.
func plainEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(pair string) bool {
		return strings.HasPrefix(pair, "AWS_") || strings.HasPrefix(pair, config.EnvPrefix) && !strings.HasPrefix(pair, embedpg.BinEnvironment)
	})
}

// reconciled runs the demo on the configured services, and holds its report to what the demo shows.
func reconciled(r *devRig, file string, before int64) *demo.Report {
	r.Helper()
	got := start(r.T, plainEnviron(), "demo", "--config", file, "--clicks", "20000", "--dir", filepath.Join(r.TempDir(), "work"), "--json")
	if got.code != config.ExitOK {
		r.Fatalf("demo: exit code %d\n%s%s", got.code, got.out, got.err)
	}
	if strings.Contains(got.out+got.err, devservices.S3SecretKey) {
		r.Error("the demo prints a secret")
	}
	report := &demo.Report{}
	if err := json.Unmarshal([]byte(got.out), report); err != nil {
		r.Fatal(err)
	}
	l := report.Ledger
	if !report.IsClean || report.RecordsBefore != before || report.PostedAgain != 0 || l.DebitMicros != l.CreditMicros || l.DebitMicros == 0 || !l.IsVerified {
		r.Errorf("demo on %d records: %+v", before, report)
	}
	var sum int64
	for _, day := range report.Days {
		rec := day.Reconcile
		if rec.UnexplainedClicks != 0 || rec.UnexplainedMicros != 0 || len(rec.HeldAdvertisers) > 0 ||
			rec.AuditSpendMicros != rec.Batch.SpendMicros || rec.LedgerMicros != rec.Batch.SpendMicros {
			r.Errorf("day %s: %+v", day.Batch.Date, rec)
		}
		sum += rec.LedgerMicros
	}
	// The ledger's postings are in ten-thousandths of the currency's unit.
	if len(report.Days) == 0 || sum-l.DebitMicros > 100*l.Entries || l.DebitMicros-sum > 100*l.Entries {
		r.Errorf("the days make %d micros, the ledger %d", sum, l.DebitMicros)
	}
	return report
}

// TestServicesDemo: the demo ends reconciled on real services, on what earlier runs have left, and on
// what a crash has.
func TestServicesDemo(t *testing.T) {
	r := newDevRig(t)
	pids := r.up()
	file := filepath.Join(r.dir, "clickledger.yaml")
	first := reconciled(r, file, 0)
	if got, want := first.Archive.DLQ, first.Stream.Invalid+first.Stream.DeadLetters; got < want || want == 0 {
		t.Errorf("%d records of clicks.dlq are archived, want at least %d", got, want)
	}
	again := reconciled(r, file, first.Generate.Records)
	for _, name := range []string{"kafka", "clickhouse", "s3", "postgres"} {
		r.kill(pids[name])
	}
	r.up()
	reconciled(r, file, first.Generate.Records+again.Generate.Records)

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The same archive with another log, an embedded one.
	other := filepath.Join(r.dir, "other.yaml")
	_, rest, _ := strings.Cut(string(text), "\narchive:")
	archive, rest, _ := strings.Cut(rest, "\n")
	_, s3, _ := strings.Cut(rest, "\ns3:")
	if err := os.WriteFile(other, []byte("archive:"+archive+"\ns3:"+s3), 0o600); err != nil {
		t.Fatal(err)
	}
	got := start(t, plainEnviron(), "demo", "--config", other, "--clicks", "1000", "--dir", filepath.Join(t.TempDir(), "work"))
	_, message, _ := strings.Cut(strings.TrimSpace(got.err), "clickledger demo: ") // after what PostgreSQL warns of
	if got.code != config.ExitFailed || !strings.Contains(message, "belongs to another log") || strings.Contains(message, "\n") {
		t.Errorf("with another log: exit code %d, %q, want 1 and one line", got.code, got.err)
	}
}
