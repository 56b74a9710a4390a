package ledgerpg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

// Check is one rule of the ledger, computed again from its rows.
type Check struct {
	// Name is one of verifyChecks.
	Name string `json:"name"`
	// Violations is the number of entries or advertisers that break the rule.
	Violations int64 `json:"violations"`
	// Samples name up to five of them.
	Samples []string `json:"samples,omitempty"`
}

// VerifyReport is the outcome of Verify.
type VerifyReport struct {
	Checks []Check `json:"checks"`
}

// OK says whether no rule is broken.
func (r VerifyReport) OK() bool {
	for _, check := range r.Checks {
		if check.Violations > 0 {
			return false
		}
	}
	return true
}

// verifyChecks are the rules in the order of the report; each is the query verify_<name>.
var verifyChecks = []string{
	"entry_balance", // debits equal credits per entry and currency, no leg is missing
	"entry_legs",    // legs are in the right accounts with the entry's amount
	"balances",      // current_balance is the sum of billing_ledger
	"billing_rows",  // entries and rows of billing_ledger belong together one to one
	"rounding",      // sums of billing_ledger are the cumulative micros rounded once
	"hashes",        // idempotency keys and payload hashes
	"revisions",     // revisions without gaps, adjustments name their original
}

// Verify computes every rule of the ledger again, at one moment. Broken rules are in the report; an
// error means that verifying itself failed.
func (l *Ledger) Verify(ctx context.Context) (VerifyReport, error) {
	var report VerifyReport
	err := l.inSnapshot(ctx, func(tx pgx.Tx) error {
		for _, name := range verifyChecks {
			check := Check{Name: name}
			err := tx.QueryRow(ctx, sqlpostgres.Query("verify_"+name)).Scan(&check.Violations, &check.Samples)
			if err != nil {
				return fmt.Errorf("check %s: %w", name, err)
			}
			report.Checks = append(report.Checks, check)
		}
		return nil
	})
	if err != nil {
		return VerifyReport{}, fmt.Errorf("verify ledger: %w", l.explain(err))
	}
	return report, nil
}
