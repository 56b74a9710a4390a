package ledgerpg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clickledger/clickledger/internal/money"
	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

// ErrNotClosable is wrapped where a month cannot be closed yet.
var ErrNotClosable = errors.New("cannot be closed")

// Period is a closed month.
type Period struct {
	PeriodID int64  `json:"period_id" db:"period_id"`
	Month    string `json:"month" db:"month"` // YYYY-MM
	Entries  int64  `json:"entries" db:"entries"`
	// AmountMicros is the sum of its entries' amounts, payments and credits included.
	AmountMicros money.Micros `json:"amount_micros" db:"amount_micros"`
	RunID        string       `json:"run_id" db:"run_id"`
	ClosedAt     time.Time    `json:"closed_at" db:"closed_at"`
	PeriodHash   string       `json:"period_hash" db:"period_hash"`
	// WasClosed: it was closed before, and nothing was done.
	WasClosed bool `json:"was_closed" db:"-"`
}

// CloseRequest says what to close.
type CloseRequest struct {
	// Month is any instant of it, UTC.
	Month time.Time
	RunID string
	// Now is the clock: a month that is not over is not closed.
	Now time.Time
	// DryRun works everything out and rolls it back.
	DryRun bool
}

// ClosePeriod seals the days of a month and closes it: nothing is booked into it from then on. Months are
// closed in order; one without entries may be left out. Whether its days are settled is for the caller to
// ask (UnsettledDays). Closing again does nothing. The error wraps
// ErrNotClosable, or is the database's, after which repeating is safe.
func (l *Ledger) ClosePeriod(ctx context.Context, request CloseRequest) (Period, error) {
	first, _ := monthOf(request.Month)
	label := "close " + first.Format("2006-01")
	if request.RunID == "" || request.Month.IsZero() {
		return Period{}, fmt.Errorf("%s: month or run id is missing: %w", label, ErrInvalid)
	}
	if next := first.AddDate(0, 1, 0); request.Now.Before(next) {
		return Period{}, fmt.Errorf("%s: the month lasts until %s: %w", label, next.Format(time.RFC3339), ErrNotClosable)
	}
	var period Period
	err := l.inTransaction(ctx, func(tx pgx.Tx) (commit bool, err error) {
		if _, err := tx.Exec(ctx, "select lock_ledger()"); err != nil {
			return false, fmt.Errorf("take the posting lock: %w", err)
		}
		period, err = closeMonth(ctx, tx, first, request.RunID)
		if err != nil || period.WasClosed {
			return false, err
		}
		if request.DryRun {
			_, err := tx.Exec(ctx, "set constraints all immediate")
			return false, err
		}
		return true, appendLink(ctx, tx)
	})
	if err != nil {
		return Period{}, fmt.Errorf("%s: %w", label, l.explain(err))
	}
	period.ClosedAt = period.ClosedAt.UTC()
	return period, nil
}

// HeldDay is a day of which somebody was left alone when it was last settled.
type HeldDay struct {
	BillingDate string   `json:"billing_date" db:"billing_date"` // YYYY-MM-DD
	Advertisers []string `json:"advertisers" db:"held"`
}

// UnsettledDays are the days of a month (any instant of it) that no settlement covers to their end, as
// YYYY-MM-DD in order; none where the month is closed. Days without a click need a settlement, too. What
// is settled stays settled.
func (l *Ledger) UnsettledDays(ctx context.Context, month time.Time) ([]string, error) {
	first, last := monthOf(month)
	type day struct {
		BillingDate string `db:"billing_date"`
	}
	days, err := collect[day](ctx, l.pool, "select_unsettled_days", first, last)
	if err != nil {
		return nil, fmt.Errorf("read settlements of %s: %w", first.Format("2006-01"), l.explain(err))
	}
	dates := make([]string, len(days))
	for i, d := range days {
		dates[i] = d.BillingDate
	}
	return dates, nil
}

// HeldDays are the days of a month of which somebody is still held, in order.
func (l *Ledger) HeldDays(ctx context.Context, month time.Time) ([]HeldDay, error) {
	first, last := monthOf(month)
	days, err := collect[HeldDay](ctx, l.pool, "select_held_days", first, last)
	if err != nil {
		return nil, fmt.Errorf("read settlements of %s: %w", first.Format("2006-01"), l.explain(err))
	}
	return days, nil
}

// monthOf is the first and the last day of an instant's month.
func monthOf(instant time.Time) (first, last time.Time) {
	year, month, _ := instant.UTC().Date()
	first = time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	return first, first.AddDate(0, 1, -1)
}

// closeMonth does the work of ClosePeriod under the lock.
func closeMonth(ctx context.Context, tx pgx.Tx, first time.Time, runID string) (Period, error) {
	var periodID int64
	var isClosed bool
	var closedThrough, openBefore string
	err := tx.QueryRow(ctx, sqlpostgres.Query("select_period_state"), first).
		Scan(&periodID, &isClosed, &closedThrough, &openBefore)
	last := first.AddDate(0, 1, -1)
	switch {
	case err != nil:
		return Period{}, fmt.Errorf("read periods: %w", err)
	case isClosed:
	case closedThrough >= first.Format(time.DateOnly):
		return Period{}, fmt.Errorf("the ledger is closed through %s: %w", closedThrough, ErrNotClosable)
	case openBefore != "":
		return Period{}, fmt.Errorf("entries of %s are still open, close %s first: %w", openBefore, openBefore[:7],
			ErrNotClosable)
	default:
		if _, err := tx.Exec(ctx, sqlpostgres.Query("insert_sealed_days"), first, last, periodID); err != nil {
			return Period{}, fmt.Errorf("seal days: %w", err)
		}
		if _, err := tx.Exec(ctx, sqlpostgres.Query("insert_closed_period"), periodID, first, last, runID); err != nil {
			return Period{}, fmt.Errorf("insert the period: %w", err)
		}
	}
	periods, err := collect[Period](ctx, tx, "select_period", first)
	if err != nil {
		return Period{}, fmt.Errorf("read the period: %w", err)
	}
	periods[0].WasClosed = isClosed
	return periods[0], nil
}
