package ledgerpg

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/clickledger/clickledger/internal/money"
	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

// postLockKey is the advisory lock that serialises everything that writes entries.
const postLockKey = 0x636c69636b6c6467 // "clickldg"

// maxIDCharacters is the length of an advertiser's ID, as in the lesson's VARCHAR(64).
const maxIDCharacters = 64

// ErrConflict is wrapped when what is to be posted contradicts what was posted: the same
// idempotency key with another payload, or an advertiser in another currency. Nothing is posted.
var ErrConflict = errors.New("conflicts with what the ledger holds")

// ErrInvalid is wrapped by errors about a request that makes no sense; nothing was tried.
var ErrInvalid = errors.New("invalid request")

var currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)

// Charge is one advertiser's billable total of a day.
type Charge struct {
	AdvertiserID string
	// SpendMicros is absolute, not a difference; at least 0.
	SpendMicros money.Micros
	// Clicks is the number of billable clicks in the total.
	Clicks int64
}

// PostRequest is what the newest batch says about one billing day.
type PostRequest struct {
	// BillingDate is any instant of the UTC day.
	BillingDate time.Time
	// Currency is an ISO 4217 code such as "USD".
	Currency string
	// PolicyHash is the hash of the policy that judged the clicks.
	PolicyHash string
	// RunID names the run in the entries; it is no part of their identity.
	RunID string
	// Charges are all advertisers of the day, in any order, each once. An advertiser that was
	// posted for the day before and is absent is taken to owe nothing for it.
	Charges []Charge
	// Held are advertisers that are left as they are, whether they are in Charges or not.
	Held []string
	// DryRun works everything out, checks included, and rolls it back.
	DryRun bool
}

// PostResult says what a posting did.
type PostResult struct {
	// PostedEntries is the number of journal entries, Charges plus Adjustments.
	PostedEntries int
	// Charges are first entries of an advertiser's day, Adjustments later ones.
	Charges, Adjustments int
	// DeltaMicros is the signed sum of all entries' amounts.
	DeltaMicros money.Micros
	// SuspenseEntries and SuspenseMicros are the part that belongs to unknown advertisers.
	SuspenseEntries int
	SuspenseMicros  money.Micros
	// SettlementID numbers the run's record; 0 for a dry run.
	SettlementID int64
}

// Post brings the ledger to the request's totals for one day, by entries of the differences: kind
// charge for the first, adjustment for later ones, none where nothing differs. It is one
// transaction; of two at once the second waits and then posts what is left to post. The error
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
		_, err := tx.Exec(ctx, sqlpostgres.Query("plan_day_entries"), day, request.Currency, request.PolicyHash)
		if err != nil {
			return false, fmt.Errorf("plan entries: %w", err)
		}
		if result, err = writePlan(ctx, tx, request.RunID); err != nil {
			return false, err
		}
		if request.DryRun {
			_, err := tx.Exec(ctx, "set constraints all immediate")
			return false, err
		}
		err = tx.QueryRow(ctx, sqlpostgres.Query("insert_settlement"), request.RunID, day, request.Currency,
			request.PolicyHash, len(request.Charges), len(request.Held), result.SuspenseEntries,
			result.PostedEntries, int64(result.DeltaMicros)).Scan(&result.SettlementID)
		return true, err
	})
	if err != nil {
		return PostResult{}, fmt.Errorf("%s: %w", label, asConflict(l.explain(err)))
	}
	return result, nil
}

// MoveSuspense moves what stands in suspense for advertisers that are registered by now to their
// receivables, one transfer entry per advertiser and day, and bills it. It returns the number of
// entries and what they moved; calling it again moves nothing.
func (l *Ledger) MoveSuspense(ctx context.Context, runID string) (entries int, moved money.Micros, err error) {
	err = l.inTransaction(ctx, func(tx pgx.Tx) (bool, error) {
		if err := beginPosting(ctx, tx); err != nil {
			return false, err
		}
		if _, err := tx.Exec(ctx, sqlpostgres.Query("plan_suspense_transfers")); err != nil {
			return false, fmt.Errorf("plan transfers: %w", err)
		}
		result, err := writePlan(ctx, tx, runID)
		entries, moved = result.PostedEntries, result.DeltaMicros
		return true, err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("move suspense: %w", asConflict(l.explain(err)))
	}
	return entries, moved, nil
}

// beginPosting takes the lock and makes the plan's table. The lock comes first: under READ
// COMMITTED every later statement then sees what the previous holder committed.
func beginPosting(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(postLockKey)); err != nil {
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
		return []any{charge.AdvertiserID, int64(charge.SpendMicros), charge.Clicks}, nil
	})
	columns := []string{"advertiser_id", "spend_micros", "clicks"}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"charge_stage"}, columns, charges); err != nil {
		return fmt.Errorf("stage charges: %w", err)
	}
	held := pgx.CopyFromSlice(len(request.Held), func(i int) ([]any, error) {
		return []any{request.Held[i]}, nil
	})
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"held_stage"}, columns[:1], held); err != nil {
		return fmt.Errorf("stage held advertisers: %w", err)
	}
	// Without figures the planner takes a million rows for a thousand.
	for _, statement := range []string{"analyze charge_stage", "analyze held_stage"} {
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
		&result.Adjustments, &result.DeltaMicros, &result.SuspenseEntries, &result.SuspenseMicros)
	if err != nil {
		return PostResult{}, fmt.Errorf("sum up the plan: %w", err)
	}
	if result.PostedEntries == 0 {
		return result, nil
	}
	if _, err := tx.Exec(ctx, "analyze entry_plan (advertiser_id, currency, is_suspense, counter_kind)"); err != nil {
		return PostResult{}, fmt.Errorf("analyse the plan: %w", err)
	}
	if err := checkKeys(ctx, tx); err != nil {
		return PostResult{}, err
	}
	for _, step := range []struct {
		query string
		args  []any
	}{
		{"insert_house_accounts", nil},
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

// validate reports every problem of the request at once.
func (r PostRequest) validate() error {
	var problems []error
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(format+": %w", append(args, ErrInvalid)...))
	}
	if r.BillingDate.IsZero() {
		report("billing date is missing")
	}
	if !currencyPattern.MatchString(r.Currency) {
		report("currency %q is not an ISO 4217 code", r.Currency)
	}
	if r.RunID == "" {
		report("run id is missing")
	}
	if r.PolicyHash == "" {
		report("policy hash is missing")
	}
	ids := make([]string, 0, len(r.Charges))
	for _, charge := range r.Charges {
		if charge.SpendMicros < 0 || charge.Clicks < 0 {
			report("advertiser %q has negative spend or clicks", charge.AdvertiserID)
		}
		if !validID(charge.AdvertiserID) {
			report("%q is no advertiser id", charge.AdvertiserID)
		}
		ids = append(ids, charge.AdvertiserID)
	}
	slices.Sort(ids)
	for i := 1; i < len(ids); i++ {
		if ids[i] == ids[i-1] {
			report("advertiser %q is charged twice", ids[i])
		}
	}
	for _, id := range r.Held {
		if !validID(id) {
			report("held %q is no advertiser id", id)
		}
	}
	const shown = 10
	if len(problems) > shown {
		problems = append(problems[:shown], fmt.Errorf("and %d more: %w", len(problems)-shown, ErrInvalid))
	}
	return errors.Join(problems...)
}

// validID accepts what the wire contract accepts: 1 to 64 characters of valid UTF-8, no controls.
func validID(id string) bool {
	return id != "" && utf8.ValidString(id) && utf8.RuneCountInString(id) <= maxIDCharacters &&
		!strings.ContainsFunc(id, unicode.IsControl)
}

// utcDay is the midnight that starts the instant's UTC day.
func utcDay(instant time.Time) time.Time {
	year, month, day := instant.UTC().Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}
