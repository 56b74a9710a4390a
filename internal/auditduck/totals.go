package auditduck

import (
	"context"
	"fmt"

	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// totals sums the verdicts up.
func (a *audit) totals(ctx context.Context) (Totals, error) {
	t := Totals{InvalidByRule: map[string]int64{}, DeadLettersByReason: map[string]int64{}}
	rows, err := a.conn.QueryContext(ctx, sqlduck.SQL("audit_totals"))
	if err != nil {
		return t, fmt.Errorf("audit_totals: %w", err)
	}
	defer rows.Close()
	rules := [...]string{"velocity_ip_ad", "velocity_user_ad", "bot_user_agent", "listed_ip"}
	for rows.Next() {
		var of AdvertiserTotal
		var clicks, conflicts int64
		var byRule [len(rules)]int64
		err := rows.Scan(&of.AdvertiserID, &clicks, &of.BillableClicks, &of.DuplicateClicks, &conflicts, &of.InvalidClicks,
			&byRule[0], &byRule[1], &byRule[2], &byRule[3], &of.SpendMicros)
		if err != nil {
			return t, fmt.Errorf("audit_totals: %w", err)
		}
		t.Records += clicks
		t.BillableClicks += of.BillableClicks
		t.DuplicateClicks += of.DuplicateClicks
		t.ConflictClicks += conflicts
		t.InvalidClicks += of.InvalidClicks
		t.SpendMicros += of.SpendMicros
		for i, n := range byRule {
			if n > 0 {
				t.InvalidByRule[rules[i]] += n
			}
		}
		t.Advertisers = append(t.Advertisers, of)
	}
	if err := rows.Err(); err != nil {
		return t, fmt.Errorf("audit_totals: %w", err)
	}
	return t, a.deadLetters(ctx, &t)
}

func (a *audit) deadLetters(ctx context.Context, t *Totals) error {
	rows, err := a.conn.QueryContext(ctx, sqlduck.SQL("audit_dead_letters"))
	if err != nil {
		return fmt.Errorf("audit_dead_letters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var reason string
		var n int64
		if err := rows.Scan(&reason, &n); err != nil {
			return fmt.Errorf("audit_dead_letters: %w", err)
		}
		t.DeadLettersByReason[reason] = n
		t.DeadLetters += n
		t.Records += n
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("audit_dead_letters: %w", err)
	}
	return nil
}
