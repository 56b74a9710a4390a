package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clickledger/clickledger/internal/objectstore"
)

// daysMax bounds a backfill: ten years.
const daysMax = 3660

// BackfillConfig configures the judgment of several days, one after the other.
type BackfillConfig struct {
	// Config is that of each day; Date is not used, and with Out each day has a folder of its own there,
	// dt=DATE.
	Config
	First, Last time.Time // days, midnight UTC, both inside
	// Resume keeps the newest result of a day that a run would come to again: of this version, by this
	// policy, whole and unchanged, and no file that matters to the day is new.
	Resume bool
}

// BackfillDay is one day of a backfill.
type BackfillDay struct {
	Result
	// IsKept: the result was there already.
	IsKept bool `json:"is_kept"`
}

// BackfillResult is the outcome of a backfill, the document that --json prints. Days are those that were
// done, in order, without a gap.
type BackfillResult struct {
	From string        `json:"from"`
	To   string        `json:"to"`
	Days []BackfillDay `json:"days"`
	// FailedDate is the day at which it ended; empty where all days are done.
	FailedDate string `json:"failed_date,omitempty"`
	Error      string `json:"error,omitempty"`
}

// Validate reports every problem at once, each with its key.
func (c BackfillConfig) Validate() error {
	day := c.Config
	day.Date = c.First
	err := day.Validate()
	switch {
	case c.Last.Before(c.First):
		return errors.Join(err, fmt.Errorf("to: %s is before %s", c.Last.Format(time.DateOnly), c.First.Format(time.DateOnly)))
	case !c.Last.Equal(c.Last.UTC().Truncate(24 * time.Hour)):
		return errors.Join(err, fmt.Errorf("to: %s is not a UTC day", c.Last.Format(time.RFC3339)))
	case c.Last.Sub(c.First) >= daysMax*24*time.Hour:
		return errors.Join(err, fmt.Errorf("to: more than %d days", daysMax))
	}
	return err
}

// days are the configurations of the days.
func (c BackfillConfig) days() []Config {
	var days []Config
	for date := c.First; !date.After(c.Last); date = date.AddDate(0, 0, 1) {
		day := c.Config
		day.Date, day.RunID = date, c.RunID+"-"+date.Format(time.DateOnly)
		if c.Out != "" {
			day.Out = filepath.Join(c.Out, "dt="+date.Format(time.DateOnly))
		}
		days = append(days, day)
	}
	return days
}

// Backfill judges every day, oldest first, and ends at the first one that fails: the result then holds
// the days before it, beside the error.
func Backfill(ctx context.Context, cfg BackfillConfig, deps Deps) (BackfillResult, error) {
	result := BackfillResult{From: cfg.First.Format(time.DateOnly), To: cfg.Last.Format(time.DateOnly), Days: []BackfillDay{}}
	if err := cfg.Validate(); err != nil {
		return result, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	days := cfg.days()
	for i := range days {
		date := days[i].Date.Format(time.DateOnly)
		of := deps
		if deps.Progress != nil {
			of.Progress = func(stage string, done, total int64) {
				deps.Progress(fmt.Sprintf("%s (%d of %d): %s", date, i+1, len(days), stage), done, total)
			}
		}
		day, err := backfillDay(ctx, days[i], of, cfg.Resume)
		if err != nil {
			result.FailedDate, result.Error = date, err.Error()
			return result, fmt.Errorf("%d of %d days are done; go on from %s: %w", i, len(days), date, err)
		}
		deps.Logger.Info("day judged", "job", "batch", "date", date, "records", day.Records, "is_kept", day.IsKept)
		result.Days = append(result.Days, day)
	}
	return result, nil
}

func backfillDay(ctx context.Context, cfg Config, deps Deps, resume bool) (BackfillDay, error) {
	if resume {
		kept, isCurrent, err := current(ctx, cfg)
		if err != nil {
			return BackfillDay{}, fmt.Errorf("look for the result of %s: %w", cfg.Date.Format(time.DateOnly), err)
		}
		if isCurrent {
			return BackfillDay{Result: kept, IsKept: true}, nil
		}
	}
	r, err := Run(ctx, cfg, deps)
	return BackfillDay{Result: r}, err
}

// ExploreBackfill says what Backfill would read and write for each day, and writes nothing.
func ExploreBackfill(ctx context.Context, cfg BackfillConfig) ([]Plan, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	plans := []Plan{}
	for _, day := range cfg.days() {
		plan, err := Explore(ctx, day)
		if err != nil {
			return nil, err
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

// IsCurrent reports whether a run would come to the result again: it is of the same version and policy,
// and no file that matters to the day is new.
func (a Archived) IsCurrent(cfg Config, m *Manifest) bool {
	return m.Version == cfg.Version && m.Result.PolicyHash == cfg.Policy.Hash() && len(m.Inputs) > 0 &&
		len(a.Fresh(cfg.Date, cfg.Policy, m.Inputs)) == 0
}

// current returns the newest result of a day, and whether a run would come to it again.
func current(ctx context.Context, cfg Config) (_ Result, isCurrent bool, err error) {
	store, err := objectstore.Open(ctx, cfg.Archive)
	if err != nil {
		return Result{}, false, err
	}
	results, prefix := store, ""
	if cfg.Out != "" {
		out, err := filepath.Abs(cfg.Out)
		if err != nil {
			return Result{}, false, fmt.Errorf("out: %w", err)
		}
		if results, err = objectstore.Open(ctx, "file://"+out); err != nil {
			return Result{}, false, err
		}
	} else if prefix, err = LastRevision(ctx, store, cfg.Date.Format(time.DateOnly)); err != nil || prefix == "" {
		return Result{}, false, err
	}
	v := Verifier{Store: results}
	m, err := v.VerifyResult(ctx, prefix)
	if err != nil || m == nil || v.Count > 0 {
		return Result{}, false, err
	}
	dir, err := os.MkdirTemp(cfg.TempDir, "clickledger-batch-")
	if err != nil {
		return Result{}, false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var archived Archived
	if archived.Clicks, err = Inputs(ctx, store, "clicks/", dir); err != nil {
		return Result{}, false, err
	}
	if archived.DeadLetters, err = Inputs(ctx, store, "dead_letters/", dir); err != nil {
		return Result{}, false, err
	}
	m.Result.Out = strings.TrimSuffix(results.URL(prefix), "/")
	return m.Result, archived.IsCurrent(cfg, m), nil
}
