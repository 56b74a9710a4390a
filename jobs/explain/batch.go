package explain

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// dayResult is the batch's newest result for a day.
type dayResult struct {
	*batch.Loaded
	seen      map[string]bool // the objects that it was judged by
	decisions map[schemas.Position]Verdict
}

// result loads the newest result of a day; batch.ErrNoResult where there is none.
func (e *explainer) result(ctx context.Context, date string) (*dayResult, error) {
	if d, ok := e.days[date]; ok && d == nil {
		return nil, batch.ErrNoResult
	} else if ok {
		return d, nil
	}
	loaded, err := batch.Load(ctx, e.db.Store, date, e.db.Dir)
	if errors.Is(err, batch.ErrNoResult) {
		e.days[date] = nil
	}
	if err != nil {
		return nil, err
	}
	d := &dayResult{Loaded: loaded, seen: map[string]bool{}}
	for _, in := range loaded.Inputs {
		d.seen[in.Key] = true
	}
	if d.decisions, err = e.decisions(ctx, "explain_batch_decisions", sqlduck.EscapeGlob(loaded.Decisions), e.cfg.ClickID); err != nil {
		return nil, err
	}
	e.days[date] = d
	return d, nil
}

// addBatch adds the verdicts of the newest results of the copies' days.
func (e *explainer) addBatch(ctx context.Context, r *Report) error {
	for i := range r.Copies {
		c := &r.Copies[i]
		var err error
		if c.Batch, err = e.batchVerdict(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (e *explainer) batchVerdict(ctx context.Context, c *Copy) (Verdict, error) {
	day, err := e.result(ctx, c.BillingDate)
	if errors.Is(err, batch.ErrNoResult) {
		return Verdict{Basis: "the batch has not judged " + c.BillingDate + " yet"}, nil
	}
	if err != nil {
		return Verdict{}, err
	}
	basis := strings.TrimSuffix(day.Prefix, "/")
	if c.Object != "" && !day.seen[c.Object] {
		return Verdict{Basis: "archived after " + basis + " was made: run the batch again"}, nil
	}
	v, decided := day.decisions[c.position()]
	if !decided {
		if v, err = e.undecided(ctx, c); err != nil {
			return Verdict{}, err
		}
	}
	v.Basis, v.PolicyHash = basis, day.Result.PolicyHash
	return v, nil
}

// undecided is the verdict on a copy without a decision: a dead letter of the day in which it was
// received, or billable.
func (e *explainer) undecided(ctx context.Context, c *Copy) (Verdict, error) {
	received, err := e.result(ctx, c.ReceivedAt.Format(time.DateOnly))
	if err != nil && !errors.Is(err, batch.ErrNoResult) {
		return Verdict{}, err
	}
	if received != nil {
		var reason string
		err := e.query(ctx, "explain_batch_dead_letter", func(rows *sql.Rows) error { return rows.Scan(&reason) },
			sqlduck.EscapeGlob(received.DeadLetters), c.Partition, c.Offset)
		if err != nil {
			return Verdict{}, fmt.Errorf("read %s%s: %w", received.Prefix, batch.DeadLettersFile, err)
		}
		if reason != "" {
			return Verdict{Verdict: schemas.DeadLettered.String(), Reason: reason}, nil
		}
	}
	if strings.HasPrefix(c.Object, archive.FolderDeadLetters) && c.EventTime == nil {
		return Verdict{Verdict: schemas.DeadLettered.String(), Reason: c.DeadLetter}, nil
	}
	return Verdict{Verdict: schemas.Billable.String()}, nil
}
