package nightly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
)

// plan lists the days that have something to settle, oldest first.
func (r *run) plan(ctx context.Context) (_ []Day, err error) {
	dates, err := batch.Days(ctx, r.cfg.Batch.Archive)
	if err != nil || len(dates) == 0 {
		return []Day{}, err
	}
	dir, err := os.MkdirTemp(r.cfg.Batch.TempDir, "clickledger-nightly-")
	if err != nil {
		return nil, fmt.Errorf("list days: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if r.archived.Clicks, err = batch.Inputs(ctx, r.store, "clicks/", dir); err != nil {
		return nil, err
	}
	if r.archived.DeadLetters, err = batch.Inputs(ctx, r.store, "dead_letters/", dir); err != nil {
		return nil, err
	}
	settled, err := r.deps.Ledger.SettledResults(ctx, ledgerpg.SettledQuery{First: dates[0], Last: dates[len(dates)-1]})
	if err != nil {
		return nil, err
	}
	last := map[string]ledgerpg.SettledResult{}
	for _, s := range settled {
		last[s.BillingDate.Format(time.DateOnly)] = s
	}
	days := []Day{}
	for _, date := range dates {
		day := Day{Date: date.Format(time.DateOnly), HeldAdvertisers: []string{}, FailedChecks: []string{}, date: date,
			isClosed: !r.deps.Now().Before(date.Add(24*time.Hour + r.cfg.Delay))}
		s, known := last[day.Date]
		if err := r.ask(ctx, &day, s, known); err != nil {
			return nil, err
		}
		if day.Reason == "" {
			continue
		}
		day.State = Planned
		if !day.isClosed && !r.cfg.Open {
			day.State = Open
		}
		if day.IsJudged, err = r.mustJudge(ctx, &day); err != nil {
			return nil, err
		}
		days = append(days, day)
	}
	return days, nil
}

// ask sets why a day has something to settle; the reason stays empty where it has nothing.
func (r *run) ask(ctx context.Context, day *Day, s ledgerpg.SettledResult, known bool) error {
	if !known {
		day.NewFiles = len(r.archived.Fresh(day.date, r.cfg.Batch.Policy, nil))
		day.Reason = "it was never settled"
		return nil
	}
	m, err := batch.LoadManifest(ctx, r.store, batch.RunKey{Prefix: s.Result + "/"})
	if errors.Is(err, objectstore.ErrNotFound) {
		day.Reason = "the result that it was settled by is not in the archive"
		return nil
	}
	if errors.Is(err, batch.ErrChanged) {
		day.Reason = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	isEnded, err := r.isEnded(ctx, s)
	if err != nil {
		return err
	}
	day.NewFiles = len(r.archived.Fresh(day.date, r.cfg.Batch.Policy, m.Inputs))
	switch {
	case day.NewFiles > 0:
		day.Reason = fmt.Sprintf("%d new files since it was settled", day.NewFiles)
	case s.CutAt != nil && s.CutAt.Before(day.date.Add(24*time.Hour)):
		day.Reason = "it was settled in part, up to " + s.CutAt.UTC().Format(time.RFC3339)
	case len(s.Held) > 0:
		day.Reason = fmt.Sprintf("%d advertisers were held", len(s.Held))
	case !isEnded:
		day.Reason = "it was posted, and what follows was cut off"
	}
	return nil
}

// isEnded reports whether the report of a settlement is there, which is written after final rows were
// published.
func (r *run) isEnded(ctx context.Context, s ledgerpg.SettledResult) (bool, error) {
	doc, err := r.store.Get(ctx, s.Result+"/"+reconcile.ReportFile)
	if errors.Is(err, objectstore.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var report struct {
		Result   string `json:"result"`
		IsPosted bool   `json:"is_posted"`
	}
	// A report that cannot be read is written again.
	err = json.Unmarshal(doc, &report)
	return err == nil && report.IsPosted && report.Result == s.Result, nil
}

// mustJudge reports whether the batch has to run: the newest result of the day is not what a run
// would come to now.
func (r *run) mustJudge(ctx context.Context, day *Day) (bool, error) {
	prefix, err := batch.LastRevision(ctx, r.store, day.Date)
	if err != nil || prefix == "" {
		return true, err
	}
	m, err := batch.LoadManifest(ctx, r.store, batch.RunKey{Prefix: prefix})
	if errors.Is(err, batch.ErrChanged) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	cfg := r.cfg.Batch
	cfg.Date = day.date
	return !r.archived.IsCurrent(cfg, m), nil
}
