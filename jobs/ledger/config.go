// Package ledger answers for the ledger: it verifies it against itself and against the batch's
// results in the archive, and writes an advertiser's statement and invalid-activity report.
//
// Input: the ledger, and the results that its settlements name. Output: reports, as values and as
// text, CSV or HTML. It only reads. Money is int64 micros; balances are units of 1e-4, the ledger's
// DECIMAL(15,4), negative for what is owed.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/analyst"
)

// Book is what statements need of the ledger.
type Book interface {
	Balance(ctx context.Context, advertiserID string) (ledgerpg.Balance, error)
	BalanceBefore(ctx context.Context, advertiserID string, day time.Time) (int64, error)
	EntriesBetween(ctx context.Context, advertiserID string, first, last time.Time) ([]ledgerpg.Entry, error)
	FindPeriod(ctx context.Context, month time.Time) (ledgerpg.Period, bool, error)
	InSuspense(ctx context.Context, advertiserID string) (money.Micros, error)
	SettledResults(ctx context.Context, query ledgerpg.SettledQuery) ([]ledgerpg.SettledResult, error)
}

// Config says whose month is asked for.
type Config struct {
	// Archive holds the results and the clicks; its copies go to TempDir.
	analyst.Config
	AdvertiserID string
	// Month is any instant of it, UTC.
	Month time.Time
}

// Validate reports every problem at once, each with its key.
func (c Config) Validate() error {
	var problems []error
	if c.AdvertiserID == "" {
		problems = append(problems, errors.New("advertiser: missing"))
	}
	if c.Month.IsZero() {
		problems = append(problems, errors.New("month: missing"))
	}
	return errors.Join(problems...)
}

// days are the first and the last day of the month.
func (c Config) days() (first, last time.Time) {
	year, month, _ := c.Month.UTC().Date()
	first = time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	return first, first.AddDate(0, 1, -1)
}

// cutMillis ends what was posted of a result: the end of the day, or before.
func cutMillis(r ledgerpg.SettledResult) int64 {
	end := r.BillingDate.AddDate(0, 0, 1).UnixMilli()
	if r.CutAt != nil {
		end = min(end, r.CutAt.UnixMilli())
	}
	return end
}

// ErrNoBill says that an advertiser has no account to make a statement of.
var ErrNoBill = errors.New("no statement")

func noBill(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrNoBill)...)
}
