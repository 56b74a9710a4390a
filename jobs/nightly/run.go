package nightly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas"
)

// problemsShown is how many problems of the archive a report lists.
const problemsShown = 20

type run struct {
	cfg      Config
	deps     Deps
	store    objectstore.Store
	archived batch.Archived
}

// Run settles what there is to settle. What became of each day is in the report, also of those that
// failed: one day does not keep the others from being settled. The error says that the job as a whole
// could not work, or was interrupted; the report then has what was done before.
func Run(ctx context.Context, cfg Config, deps Deps) (_ *Report, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Ledger == nil || !cfg.DryRun && deps.Serving == nil {
		return nil, errors.New("nightly: needs a ledger and a serving store")
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	begun := deps.Now()
	r := &run{cfg: cfg, deps: deps}
	report := &Report{RunID: cfg.RunID, DryRun: cfg.DryRun, ArchiveProblems: []string{}, Days: []Day{}}
	defer func() {
		report.ElapsedMillis = deps.Now().Sub(begun).Milliseconds()
		report.sum()
	}()
	if !cfg.DryRun {
		unlock, ok, err := deps.Ledger.LockJob(ctx, lockName)
		if err != nil {
			return report, err
		}
		if !ok {
			report.IsRunningAlready = true
			return report, nil
		}
		defer func() {
			// What was done is done; a lock that was lost let another run begin at worst, and posting is
			// serialised by the ledger.
			if err := unlock(); err != nil {
				deps.Logger.Warn("lock was not given back, the end of the session frees it", "job", lockName, "error", err)
			}
		}()
	}
	if r.store, err = objectstore.Open(ctx, cfg.Batch.Archive); err != nil {
		return report, err
	}
	return report, r.run(ctx, report)
}

func (r *run) run(ctx context.Context, report *Report) (err error) {
	if report.Days, err = r.plan(ctx); err != nil {
		return err
	}
	if r.cfg.DryRun || !report.hasPlanned() {
		return nil
	}
	if err := r.verify(ctx, report); err != nil {
		return err
	}
	for i := range report.Days {
		day := &report.Days[i]
		if day.State == Open {
			continue
		}
		if len(report.ArchiveProblems) > 0 {
			day.State, day.FailedChecks = GateShut, []string{"archive_complete"}
			continue
		}
		if err := r.settle(ctx, day); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("settle %s: %w", day.Date, err)
			}
			day.State, day.Error = Failed, err.Error()
			r.deps.Logger.Error("day was not settled, the next run tries again", "job", lockName, "date", day.Date, "error", err)
			continue
		}
		r.deps.Logger.Info("day ended", "job", lockName, "date", day.Date, "state", day.State, "posted_entries", day.PostedEntries)
	}
	return nil
}

func (rep *Report) hasPlanned() bool {
	for i := range rep.Days {
		if rep.Days[i].State == Planned {
			return true
		}
	}
	return false
}

// verify proves once for all days that the archive is whole.
func (r *run) verify(ctx context.Context, report *Report) error {
	r.deps.Logger.Info("verify archive", "job", lockName)
	verified, err := archive.Verify(ctx, archive.Config{Archive: r.cfg.Batch.Archive, Log: r.cfg.Reconcile.Log,
		Topics: []string{schemas.TopicClicks}}, archive.Deps{Store: r.store, Logger: r.deps.Logger})
	if err != nil && !errors.Is(err, archive.ErrBroken) {
		return err
	}
	report.ArchiveProblems = verified.Problems[:min(len(verified.Problems), problemsShown)]
	return nil
}

// settle takes one day through batch and reconciliation. Nothing in it is lost or done twice if it
// is cut off: the batch's result appears whole, the ledger posts differences, and the report, which
// ends the day, comes last.
func (r *run) settle(ctx context.Context, day *Day) error {
	if day.IsJudged {
		r.deps.Logger.Info("judge day", "job", lockName, "date", day.Date, "reason", day.Reason)
		b := r.cfg.Batch
		b.Date, b.RunID = day.date, r.cfg.RunID+"-"+day.Date
		if _, err := batch.Run(ctx, b, batch.Deps{Logger: r.deps.Logger, Progress: r.progress(day.Date)}); err != nil {
			return err
		}
	}
	r.deps.Logger.Info("reconcile day", "job", lockName, "date", day.Date)
	c := r.cfg.Reconcile
	c.Date, c.RunID, c.Post, c.DryRun = day.date, r.cfg.RunID, true, false
	report, err := reconcile.Run(ctx, c, reconcile.Deps{Serving: r.deps.Serving, Ledger: r.deps.Ledger,
		Logger: r.deps.Logger, Progress: r.progress(day.Date), Now: r.deps.Now})
	if errors.Is(err, reconcile.ErrNothingComplete) {
		day.State, day.Error = Incomplete, err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	day.take(report)
	return nil
}

func (r *run) progress(date string) func(string, int64, int64) {
	return func(stage string, done, total int64) {
		if r.deps.Progress != nil {
			r.deps.Progress(date+": "+stage, done, total)
		}
	}
}

// take notes what the reconciliation of the day came to.
func (d *Day) take(r *reconcile.Report) {
	d.Result, d.BillableClicks, d.SpendMicros = r.Result, r.Batch.BillableClicks, r.Batch.SpendMicros
	d.PostedEntries, d.PostedMicros, d.SuspenseMicros = r.PostedEntries, r.PostedMicros, r.SuspenseMicros
	d.LedgerMicros, d.HeldAdvertisers = r.LedgerMicros, r.HeldAdvertisers
	for _, c := range r.Gate {
		if !c.IsOK {
			d.FailedChecks = append(d.FailedChecks, c.Name)
		}
	}
	switch {
	case !r.IsPosted:
		d.State = GateShut
	case !r.IsClean():
		d.State = Held
	case !r.IsComplete:
		d.State = Incomplete
	default:
		d.State = Settled
	}
}

// sum counts the days by what became of them, and says it in one line.
func (rep *Report) sum() {
	planned := 0
	for i := range rep.Days {
		d := &rep.Days[i]
		rep.PostedEntries += d.PostedEntries
		rep.PostedMicros += d.PostedMicros
		switch {
		case d.State == Planned:
			planned++
		case d.State == Settled:
			rep.SettledDays++
		case d.State == Held, d.State == GateShut:
			rep.HeldDays++
		case d.State == Open, d.State == Incomplete && !d.isClosed:
			rep.OpenDays++
		default:
			rep.FailedDays++
		}
	}
	switch {
	case rep.IsRunningAlready:
		rep.Text = "nightly: another run is at work"
	case rep.DryRun:
		rep.Text = fmt.Sprintf("nightly: %d days would be settled, %d are still open", planned, rep.OpenDays)
	default:
		rep.Text = fmt.Sprintf("nightly: %d days settled, %d held, %d failed, %d still open; %d entries, %s posted",
			rep.SettledDays, rep.HeldDays, rep.FailedDays+planned, rep.OpenDays, rep.PostedEntries, money.Micros(rep.PostedMicros))
	}
}
