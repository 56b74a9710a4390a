package nightly

import (
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
)

// TestSettlesDaysWithNewRecords goes through nights: nothing to do, a day that is open, a WAL that is
// shipped late, and a result that is up to date already.
func TestSettlesDaysWithNewRecords(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.run("")
	n.ship(at(1, 10), 10)
	n.ship(at(2, 12), 20)
	n.ship(at(4, 12), 5)
	n.cfg.DryRun = true
	if report := n.run("2026-03-01 planned 0, 2026-03-02 planned 0, 2026-03-04 planned 0"); report.Days[0].NewFiles != 1 || !report.Days[0].IsJudged {
		t.Errorf("plan %+v", report)
	}
	n.owes(1, 0)
	n.cfg.DryRun = false

	n.deps.Now = func() time.Time { return at(5, 1) } // the day is over, but not for long enough
	report := n.run("2026-03-01 settled 10, 2026-03-02 settled 20, 2026-03-04 open 0")
	if report.SettledDays != 2 || report.OpenDays != 1 || report.FailedDays+report.HeldDays != 0 || report.PostedMicros != 30*cost {
		t.Errorf("report %+v", report)
	}
	n.deps.Now = func() time.Time { return at(5, 2) }
	n.run("2026-03-04 settled 5")
	n.run("")
	if n.results(1)+n.results(2)+n.results(4) != 3 {
		t.Error("a day was judged again without need")
	}

	// The WAL of another gateway comes late; copies may lie in the next day.
	n.ship(at(1, 20), 7)
	n.run("2026-03-01 settled 7, 2026-03-02 settled 0")
	n.run("")
	n.owes(1, 17)
	n.owes(2, 20)
	n.owes(4, 5)

	// Somebody has run the batch already.
	n.ship(at(2, 15), 3)
	b := n.cfg.Batch
	b.Date, b.RunID = at(2, 0), "by-hand"
	if _, err := batch.Run(t.Context(), b, batch.Deps{}); err != nil {
		t.Fatal(err)
	}
	judged := n.results(2)
	n.run("2026-03-02 settled 3")
	if n.results(2) != judged {
		t.Error("the batch ran again on the same files")
	}
}

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.ship(at(1, 10), 10)
	unlock, ok, err := n.ledger.LockJob(t.Context(), lockName)
	if err != nil || !ok {
		t.Fatalf("lock: %t, %v", ok, err)
	}
	if report := n.run(""); !report.IsRunningAlready {
		t.Errorf("beside another run: %+v", report)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	n.run("2026-03-01 settled 10")
}

// TestResumes cuts a run off at every step, settles again, and wants the bill once and everything
// that follows the posting.
func TestResumes(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	whole := n.deps
	day, total := 0, int64(0)
	for _, tc := range []struct {
		name  string
		cut   func()
		again string // how the day comes out afterwards
	}{
		{"half of a result", func() {
			for _, name := range []string{batch.MinutesFile, batch.DecisionsFile} {
				if _, err := n.store.Put(t.Context(), "results/dt="+at(day, 0).Format(time.DateOnly)+"/rev=1/"+name, []byte("x"), objectstore.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			n.deps.Ledger = &dyingLedger{Ledger: n.ledger, before: true}
		}, "settled 10"},
		{"before the posting", func() { n.deps.Ledger = &dyingLedger{Ledger: n.ledger, before: true} }, "settled 10"},
		{"after the posting", func() { n.deps.Ledger = &dyingLedger{Ledger: n.ledger, after: true} }, "settled 0"},
		{"before publishing", func() { n.deps.Serving = &dyingServing{Store: whole.Serving} }, "settled 0"},
		{"after publishing", func() { n.deps.Serving = &dyingServing{Store: whole.Serving, after: true} }, "settled 0"},
	} {
		day++
		n.deps.Now = func() time.Time { return at(day+2, 0) }
		n.ship(at(day, 1), 10)
		tc.cut()
		report, err := Run(t.Context(), n.cfg, n.deps)
		if err != nil || report.FailedDays != 1 || !strings.Contains(report.Days[0].Error, errCrash.Error()) {
			t.Fatalf("%s: %+v, %v", tc.name, report, err)
		}
		n.deps = whole
		n.deps.Now = func() time.Time { return at(day+2, 0) }
		date := at(day, 0).Format(time.DateOnly)
		report = n.run(date + " " + tc.again)
		n.run("")
		// Killed after publishing, before the report was there.
		if err := n.store.Delete(t.Context(), report.Days[0].Result+"/"+reconcile.ReportFile); err != nil {
			t.Fatal(err)
		}
		n.run(date + " settled 0")
		n.owes(day, 10)
		if n.results(day) != 1 {
			t.Errorf("%s: %d results, want the first taken up", tc.name, n.results(day))
		}
		total += 10
	}
	totals, err := n.ledger.Totals(t.Context())
	if err != nil || int64(totals.DebitMicros) != total*cost || totals.Entries != int64(day) {
		t.Errorf("ledger %+v, %v, want %d entries", totals, err, day)
	}
}

// TestBrokenArchive shuts every gate, and opens them when the archive is whole.
func TestBrokenArchive(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.ship(at(1, 10), 10)
	n.next += 5
	n.ship(at(2, 10), 10)
	report := n.run("2026-03-01 gate_shut 0, 2026-03-02 gate_shut 0")
	if report.HeldDays != 2 || len(report.ArchiveProblems) != 1 || n.results(1) != 0 {
		t.Errorf("report %+v", report)
	}
	n.next = 10
	n.ship(at(1, 12), 5)
	n.run("2026-03-01 settled 15, 2026-03-02 settled 10")
}
