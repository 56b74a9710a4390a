package ledgerpg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/clickledger/clickledger/internal/money"
	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

// setSize is how many advertisers are joined as a set rather than one by one.
const setSize = 1000

// maxLimitEvents bounds PostResult.LimitEvents; all are in advertiser_events.
const maxLimitEvents = 1000

// ErrConflict is wrapped when what is to be posted contradicts what was posted: the same
// idempotency key with another payload, or an advertiser in another currency. Nothing is posted.
var ErrConflict = errors.New("conflicts with what the ledger holds")

// PostResult says what a posting did.
type PostResult struct {
	// PostedEntries is the number of journal entries of all kinds.
	PostedEntries int
	// Charges are first entries of an advertiser's day, Adjustments later ones; Credits are those that
	// take back what was charged for clicks found to be invalid.
	Charges, Adjustments, Credits int
	// DeltaMicros is the signed sum of all entries' amounts.
	DeltaMicros money.Micros
	// SuspenseEntries and SuspenseMicros are the part that belongs to unknown advertisers.
	SuspenseEntries int
	SuspenseMicros  money.Micros
	// LimitEvents are advertisers whose balance crossed the credit limit, at most maxLimitEvents.
	LimitEvents []LimitEvent
	// SettlementID numbers the run's record; 0 for a dry run.
	SettlementID int64
	// Planned are the entries of a dry run, what moves most first; nil otherwise.
	Planned []PlannedEntry
}

// PlannedEntry is one advertiser's entry of a day that a dry run has worked out.
type PlannedEntry struct {
	AdvertiserID string `db:"advertiser_id"`
	// Kind is charge, adjustment or credit. OriginalEntryID is the entry that is corrected, nil for a charge.
	Kind            string    `db:"kind"`
	BookingDate     time.Time `db:"booking_date"`
	OriginalEntryID *int64    `db:"original_entry_id"`
	// PostedMicros is what the ledger holds for the day, DayMicros what it would hold; the amount is the difference.
	PostedMicros     money.Micros `db:"posted_micros"`
	DayMicros        money.Micros `db:"day_micros"`
	AmountMicros     money.Micros `db:"amount_micros"`
	DayClicks        int64        `db:"day_clicks"`
	DayInvalidClicks int64        `db:"day_invalid_clicks"`
	IsSuspense       bool         `db:"is_suspense"`
	Reason           string       `db:"reason"`
}

// LimitEvent says that a balance went below the credit limit, or came back.
type LimitEvent struct {
	AdvertiserID string `db:"advertiser_id"`
	// Kind is limit_crossed or limit_cleared.
	Kind string `db:"kind"`
	// BalanceDecimal4 is the balance after the posting in units of 1e-4, negative for what is owed.
	BalanceDecimal4   int64        `db:"balance_decimal4"`
	CreditLimitMicros money.Micros `db:"credit_limit_micros"`
}

// Post brings the ledger to the request's totals for one day, by entries of the differences: kind
// charge for the first, adjustment or credit for later ones, none where nothing differs. What concerns
// a closed period is booked on the first open day. It is one transaction; of two at once the second waits and then posts what is left to post. The error
// wraps ErrInvalid, ErrConflict, or is the database's, after which repeating is safe.
func (l *Ledger) Post(ctx context.Context, request PostRequest) (PostResult, error) {
	day := utcDay(request.BillingDate)
	label := "post day " + day.Format(time.DateOnly)
	if err := request.validate(); err != nil {
		return PostResult{}, fmt.Errorf("%s: %w", label, err)
	}
	var result PostResult
	err := l.inTransaction(ctx, func(tx pgx.Tx) (bool, error) {
		if err := beginPosting(ctx, tx); err != nil {
			return false, err
		}
		if err := stageRequest(ctx, tx, request); err != nil {
			return false, err
		}
		if err := checkCurrency(ctx, tx, day, request.Currency); err != nil {
			return false, err
		}
		if _, err := tx.Exec(ctx, sqlpostgres.Query("insert_house_accounts"), request.Currency); err != nil {
			return false, fmt.Errorf("open the house's accounts: %w", err)
		}
		_, err := tx.Exec(ctx, sqlpostgres.Query("plan_day_entries"), day, request.Currency, request.PolicyHash)
		if err != nil {
			return false, fmt.Errorf("plan entries: %w", err)
		}
		if result, err = writePlan(ctx, tx, request.RunID); err != nil {
			return false, err
		}
		if request.DryRun {
			if result.Planned, err = collect[PlannedEntry](ctx, tx, "select_entry_plan"); err != nil {
				return false, fmt.Errorf("read the plan: %w", err)
			}
			_, err := tx.Exec(ctx, "set constraints all immediate")
			return false, err
		}
		if err := insertSettlement(ctx, tx, request, &result); err != nil {
			return false, err
		}
		return true, appendLink(ctx, tx)
	})
	if err != nil {
		return PostResult{}, fmt.Errorf("%s: %w", label, asConflict(l.explain(err)))
	}
	return result, nil
}

// insertSettlement leaves the record of a run.
func insertSettlement(ctx context.Context, tx pgx.Tx, request PostRequest, result *PostResult) error {
	optional := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	var cutAt any
	if !request.CutAt.IsZero() {
		cutAt = request.CutAt.UTC()
	}
	advertisers := 0
	for i := range request.Charges {
		if request.Charges[i].Clicks > 0 || request.Charges[i].SpendMicros > 0 {
			advertisers++
		}
	}
	held := slices.Sorted(slices.Values(request.Held))
	err := tx.QueryRow(ctx, sqlpostgres.Query("insert_settlement"), request.RunID, utcDay(request.BillingDate),
		request.Currency, request.PolicyHash, advertisers, len(held), result.SuspenseEntries,
		result.PostedEntries, int64(result.DeltaMicros), optional(request.Result),
		optional(request.ResultHash), cutAt, append([]string{}, held...)).Scan(&result.SettlementID)
	if err != nil {
		return fmt.Errorf("insert the settlement: %w", err)
	}
	return nil
}

// appendLink ends a transaction that has added to the ledger.
func appendLink(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "select append_chain_link()"); err != nil {
		return fmt.Errorf("append to the chain: %w", err)
	}
	return nil
}

// MoveSuspense moves what stands in suspense for advertisers that are registered by now to their
// receivables, one transfer entry per advertiser and day, and bills it. It returns the number of
// entries and what they moved; calling it again moves nothing.
func (l *Ledger) MoveSuspense(ctx context.Context, runID string) (entries int, moved money.Micros, err error) {
	return l.moveSuspense(ctx, runID, false)
}

// PlanSuspense is MoveSuspense, rolled back.
func (l *Ledger) PlanSuspense(ctx context.Context) (entries int, moved money.Micros, err error) {
	return l.moveSuspense(ctx, "dry run", true)
}

func (l *Ledger) moveSuspense(ctx context.Context, runID string, dryRun bool) (entries int, moved money.Micros, err error) {
	err = l.inTransaction(ctx, func(tx pgx.Tx) (bool, error) {
		if err := beginPosting(ctx, tx); err != nil {
			return false, err
		}
		if _, err := tx.Exec(ctx, sqlpostgres.Query("plan_suspense_transfers")); err != nil {
			return false, fmt.Errorf("plan transfers: %w", err)
		}
		result, err := writePlan(ctx, tx, runID)
		if err != nil {
			return false, err
		}
		entries, moved = result.PostedEntries, result.DeltaMicros
		if dryRun {
			_, err := tx.Exec(ctx, "set constraints all immediate")
			return false, err
		}
		return true, appendLink(ctx, tx)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("move suspense: %w", asConflict(l.explain(err)))
	}
	return entries, moved, nil
}

// beginPosting takes the lock and makes the plan's table. The lock comes first: under READ
// COMMITTED every later statement then sees what the previous holder committed.
func beginPosting(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "select lock_ledger()"); err != nil {
		return fmt.Errorf("take the posting lock: %w", err)
	}
	// A posted bill is durable whatever the server's default is.
	for _, statement := range []string{
		"set local synchronous_commit = on",
		"set local work_mem = '128MB'",
		"set local jit = off", // compiling takes longer than the queries
		sqlpostgres.Query("create_entry_plan"),
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("prepare posting: %w", err)
		}
	}
	return nil
}

// stageRequest copies the request into temporary tables.
func stageRequest(ctx context.Context, tx pgx.Tx, request PostRequest) error {
	if _, err := tx.Exec(ctx, sqlpostgres.Query("create_post_stage"), pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("prepare staging: %w", err)
	}
	charges := pgx.CopyFromSlice(len(request.Charges), func(i int) ([]any, error) {
		charge := &request.Charges[i]
		return []any{charge.AdvertiserID, int64(charge.SpendMicros), charge.Clicks, charge.InvalidClicks}, nil
	})
	columns := []string{"advertiser_id", "spend_micros", "clicks", "invalid_clicks"}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"charge_stage"}, columns, charges); err != nil {
		return fmt.Errorf("stage charges: %w", err)
	}
	held := pgx.CopyFromSlice(len(request.Held), func(i int) ([]any, error) {
		return []any{request.Held[i]}, nil
	})
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"held_stage"}, columns[:1], held); err != nil {
		return fmt.Errorf("stage held advertisers: %w", err)
	}
	// Without figures the planner takes a million rows for a thousand. Those of the ledger's own tables
	// are old after a large posting: sets are joined as sets whatever they say.
	statements := []string{"analyze charge_stage", "analyze held_stage"}
	if len(request.Charges) >= setSize {
		statements = append(statements, "set local enable_nestloop = off")
	}
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("analyse the stage: %w", err)
		}
	}
	return nil
}

func checkCurrency(ctx context.Context, tx pgx.Tx, day time.Time, currency string) error {
	var advertiser, billed string
	err := tx.QueryRow(ctx, sqlpostgres.Query("find_currency_conflict"), day, currency).Scan(&advertiser, &billed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check currencies: %w", err)
	}
	return fmt.Errorf("advertiser %q is billed in %s, not %s: %w", advertiser, billed, currency, ErrConflict)
}

// writePlan writes everything that the plan says, and sums it up.
func writePlan(ctx context.Context, tx pgx.Tx, runID string) (PostResult, error) {
	var result PostResult
	err := tx.QueryRow(ctx, sqlpostgres.Query("summarise_plan")).Scan(&result.PostedEntries, &result.Charges,
		&result.Adjustments, &result.Credits, &result.DeltaMicros, &result.SuspenseEntries, &result.SuspenseMicros)
	if err != nil {
		return PostResult{}, fmt.Errorf("sum up the plan: %w", err)
	}
	if result.PostedEntries == 0 {
		return result, nil
	}
	if err := checkKeys(ctx, tx); err != nil {
		return PostResult{}, err
	}
	for _, step := range []struct {
		query string
		args  []any
	}{
		{"insert_receivable_accounts", nil},
		{"insert_entries", []any{runID}},
		{"insert_postings", nil},
		{"insert_billing_rows", nil},
		{"update_balances", nil},
	} {
		if _, err := tx.Exec(ctx, sqlpostgres.Query(step.query), step.args...); err != nil {
			return PostResult{}, fmt.Errorf("%s: %w", strings.ReplaceAll(step.query, "_", " "), err)
		}
	}
	result.LimitEvents, err = collect[LimitEvent](ctx, tx, "select_limit_events", maxLimitEvents)
	if err != nil {
		return PostResult{}, fmt.Errorf("read credit limits: %w", err)
	}
	return result, nil
}

// checkKeys refuses to post under a key that the ledger has: the plan holds differences only, so
// such an entry was filed elsewhere than its key says, or has other content.
func checkKeys(ctx context.Context, tx pgx.Tx) error {
	var key, day, advertiser, kind string
	var revision int
	var isSamePayload bool
	err := tx.QueryRow(ctx, sqlpostgres.Query("find_key_conflict")).Scan(&key, &day, &advertiser, &kind,
		&revision, &isSamePayload)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check idempotency keys: %w", err)
	}
	problem := "with another payload"
	if isSamePayload {
		problem = "filed under another day or advertiser"
	}
	return fmt.Errorf("key %s (day %s, advertiser %q, %s, revision %d) is in the ledger %s: %w",
		key, day, advertiser, kind, revision, problem, ErrConflict)
}

// asConflict recognises the database's own refusal of a key that is taken.
func asConflict(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == codeUniqueViolation {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}
