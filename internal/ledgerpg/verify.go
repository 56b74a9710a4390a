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
	// Violations is the number of rows that break the rule.
	Violations int64 `json:"violations"`
	// Samples name up to twenty of them, each by its table and key.
	Samples []string `json:"samples,omitempty"`
}

// VerifyReport is the outcome of Verify.
type VerifyReport struct {
	Checks []Check `json:"checks"`
	// Head is the newest link of the chain, as it was when the checks were made.
	Head Head `json:"head"`
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
	"missing",       // no row is missing, by gaps in the numbers
	"hashes",        // idempotency keys, payload hashes and hashes of entries
	"row_hashes",    // hashes of accounts, settlements and advertisers' events
	"chain",         // every link covers its rows and the link before it
	"periods",       // closed periods and their sealed days
	"entry_balance", // debits equal credits per entry, no leg is missing
	"entry_legs",    // legs are in the right accounts with the entry's amount
	"billing_rows",  // entries and rows of billing_ledger belong together one to one
	"balances",      // current_balance is the sum of billing_ledger
	"advertisers",   // advertisers are as their last event says
	"rounding",      // sums of billing_ledger are the cumulative micros rounded once
	"revisions",     // revisions without gaps, adjustments name their original
}

// Verify computes every rule of the ledger again, at one moment. Broken rules are in the report; an
// error means that verifying itself failed.
func (l *Ledger) Verify(ctx context.Context) (VerifyReport, error) {
	var report VerifyReport
	err := l.inSnapshot(ctx, func(tx pgx.Tx) (err error) {
		if report.Checks, err = verify(ctx, tx); err != nil {
			return err
		}
		report.Head, err = head(ctx, tx)
		return err
	})
	if err != nil {
		return VerifyReport{}, fmt.Errorf("verify ledger: %w", l.explain(err))
	}
	return report, nil
}

func verify(ctx context.Context, tx pgx.Tx) ([]Check, error) {
	// Every check joins whole tables, whatever old statistics make the planner believe.
	for _, statement := range []string{"set local work_mem = '128MB'", "set local jit = off", "set local enable_nestloop = off"} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
	}
	checks := make([]Check, 0, len(verifyChecks))
	for _, name := range verifyChecks {
		check := Check{Name: name}
		err := tx.QueryRow(ctx, sqlpostgres.Query("verify_"+name)).Scan(&check.Violations, &check.Samples)
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", name, err)
		}
		checks = append(checks, check)
	}
	return checks, nil
}
