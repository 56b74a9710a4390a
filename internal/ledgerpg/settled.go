package ledgerpg

import (
	"context"
	"fmt"
	"time"

	"github.com/clickledger/clickledger/internal/money"
	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

// SettledResult is the batch's result that a day was posted from.
type SettledResult struct {
	BillingDate  time.Time  `db:"billing_date"`
	SettlementID int64      `db:"settlement_id"`
	RunID        string     `db:"run_id"`
	Result       string     `db:"result"`
	ResultHash   *string    `db:"result_hash"`
	CutAt        *time.Time `db:"cut_at"`
	Held         []string   `db:"held"`
}

// SettledQuery says which results to list.
type SettledQuery struct {
	First, Last time.Time // billing days, both inside
	// AdvertiserID leaves out settlements that held him; empty leaves out none.
	AdvertiserID string
	// AsOfClose leaves out what was settled of a day after its month was closed.
	AsOfClose bool
}

// SettledResults returns for each day the last settlement that says which result it posted.
func (l *Ledger) SettledResults(ctx context.Context, query SettledQuery) ([]SettledResult, error) {
	var advertiser any
	if query.AdvertiserID != "" {
		advertiser = query.AdvertiserID
	}
	results, err := collect[SettledResult](ctx, l.pool, "select_settled_results", utcDay(query.First),
		utcDay(query.Last), advertiser, query.AsOfClose)
	if err != nil {
		return nil, fmt.Errorf("read settled results: %w", l.explain(err))
	}
	return results, nil
}

// BalanceBefore is an advertiser's balance before all that is booked from a day on, in units of 1e-4,
// negative for what he owes.
func (l *Ledger) BalanceBefore(ctx context.Context, advertiserID string, day time.Time) (int64, error) {
	var balance int64
	err := l.pool.QueryRow(ctx, sqlpostgres.Query("select_balance_before"), advertiserID, utcDay(day)).Scan(&balance)
	if err != nil {
		return 0, fmt.Errorf("read the balance of advertiser %q: %w", advertiserID, l.explain(err))
	}
	return balance, nil
}

// Balance returns one registered advertiser. The error wraps ErrUnknown where he is none.
func (l *Ledger) Balance(ctx context.Context, advertiserID string) (Balance, error) {
	balances, err := collect[Balance](ctx, l.pool, "select_balances", advertiserID)
	if err != nil {
		return Balance{}, fmt.Errorf("read the balance of advertiser %q: %w", advertiserID, l.explain(err))
	}
	if len(balances) == 0 {
		return Balance{}, fmt.Errorf("advertiser %q: not registered: %w", advertiserID, ErrUnknown)
	}
	return balances[0], nil
}

// FindPeriod returns a closed month, and false while it is open.
func (l *Ledger) FindPeriod(ctx context.Context, month time.Time) (Period, bool, error) {
	year, number, _ := month.UTC().Date()
	periods, err := collect[Period](ctx, l.pool, "select_period", time.Date(year, number, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		return Period{}, false, fmt.Errorf("read the period: %w", l.explain(err))
	}
	if len(periods) == 0 {
		return Period{}, false, nil
	}
	return periods[0], true, nil
}

// InSuspense is what stands in suspense for an advertiser.
func (l *Ledger) InSuspense(ctx context.Context, advertiserID string) (money.Micros, error) {
	items, err := collect[SuspenseItem](ctx, l.pool, "select_suspense")
	if err != nil {
		return 0, fmt.Errorf("read suspense: %w", l.explain(err))
	}
	var sum money.Micros
	for _, item := range items {
		if item.AdvertiserID == advertiserID {
			sum += item.AmountMicros
		}
	}
	return sum, nil
}
