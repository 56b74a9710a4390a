package ledgerpg

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clickledger/clickledger/internal/money"
	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

// maxSettlements bounds the list that Settlements returns.
const maxSettlements = 10_000

// Totals is the whole ledger in figures.
type Totals struct {
	Entries int64
	// DebitMicros and CreditMicros are over all accounts; they are equal in a sound ledger.
	DebitMicros, CreditMicros money.Micros
	// Suspense lists what belongs to no registered account yet, by advertiser and day.
	Suspense []SuspenseItem
}

// SuspenseItem is one advertiser's day in suspense.
type SuspenseItem struct {
	AdvertiserID  string       `db:"advertiser_id"`
	BillingDate   string       `db:"billing_date"` // YYYY-MM-DD
	Currency      string       `db:"currency"`
	AmountMicros  money.Micros `db:"suspense_micros"`
	FirstPostedAt time.Time    `db:"first_posted_at"`
	// IsRegistered: MoveSuspense will move it.
	IsRegistered bool `db:"is_registered"`
}

// DayTotal is what the ledger holds for one advertiser and day.
type DayTotal struct {
	AdvertiserID string       `db:"advertiser_id"`
	Currency     string       `db:"currency"`
	SpendMicros  money.Micros `db:"spend_micros"`
	Entries      int64        `db:"entries"`
	// IsSuspense: some of it was posted to suspense.
	IsSuspense bool `db:"is_suspense"`
}

// Balance is one registered advertiser's account.
type Balance struct {
	AdvertiserID string `db:"id"`
	Name         string `db:"name"`
	// BalanceDecimal4 is advertisers.current_balance in units of 1e-4, negative for what is owed.
	BalanceDecimal4 int64 `db:"balance_decimal4"`
	// ChargedMicros is what the batch has charged over all days, less its credits; PaidMicros are the
	// payments, CreditedMicros the credits by hand, both less what was reversed.
	ChargedMicros  money.Micros `db:"charged_micros"`
	PaidMicros     money.Micros `db:"paid_micros"`
	CreditedMicros money.Micros `db:"credited_micros"`
	// CreditLimitMicros is how far below zero the balance may go before it is reported.
	CreditLimitMicros money.Micros `db:"credit_limit_micros"`
	IsOverLimit       bool         `db:"is_over_limit"`
	Currency          string       `db:"currency"` // empty: never billed
}

// Entry is one journal entry, with the amount of its billing_ledger row.
type Entry struct {
	EntryID        int64  `db:"entry_id"`
	IdempotencyKey string `db:"idempotency_key"`
	AdvertiserID   string `db:"advertiser_id"`
	// Kind is charge, adjustment, credit, payment, reversal or transfer (out of suspense).
	Kind     string `db:"kind"`
	Revision int    `db:"revision"`
	// OriginalEntryID is the entry that this one corrects, takes back or moves; nil for a charge.
	OriginalEntryID *int64 `db:"original_entry_id"`
	// BillingDate is the UTC day of the clicks or of the payment, BookingDate the day in whose period
	// the entry is booked: a later one where that of BillingDate was closed.
	BillingDate  time.Time    `db:"billing_date"`
	BookingDate  time.Time    `db:"booking_date"`
	Currency     string       `db:"currency"`
	AmountMicros money.Micros `db:"amount_micros"`
	// DayMicros and DayClicks are the day's absolute total after the entry.
	DayMicros  money.Micros `db:"day_micros"`
	DayClicks  int64        `db:"day_clicks"`
	IsSuspense bool         `db:"is_suspense"`
	PolicyHash string       `db:"policy_hash"`
	// Reference names what was made by hand; nil for what the batch has brought about.
	Reference *string   `db:"reference"`
	Reason    *string   `db:"reason"`
	RunID     string    `db:"run_id"`
	PostedAt  time.Time `db:"posted_at"`
	// LinkID is the link of the chain that covers the entry.
	LinkID int64 `db:"link_id"`
	// BilledDecimal4 is the amount in billing_ledger in units of 1e-4, negative for a charge; nil
	// in suspense.
	BilledDecimal4 *int64 `db:"billed_decimal4"`
}

// Settlement is the record of one run of Post.
type Settlement struct {
	SettlementID        int64        `db:"settlement_id"`
	RunID               string       `db:"run_id"`
	BillingDate         string       `db:"billing_date"` // YYYY-MM-DD
	Currency            string       `db:"currency"`
	PolicyHash          string       `db:"policy_hash"`
	Advertisers         int64        `db:"advertisers"`
	HeldAdvertisers     int64        `db:"held_advertisers"`
	SuspenseAdvertisers int64        `db:"suspense_advertisers"`
	PostedEntries       int64        `db:"posted_entries"`
	DeltaMicros         money.Micros `db:"delta_micros"`
	PostedAt            time.Time    `db:"posted_at"`
	// Result is the batch's result that was posted, ResultHash the digest of its manifest; nil where the
	// run did not say. CutAt ends what was posted of it, Held are those who were left alone.
	Result     *string    `db:"result"`
	ResultHash *string    `db:"result_hash"`
	CutAt      *time.Time `db:"cut_at"`
	Held       []string   `db:"held"`
}

// Totals returns the ledger's figures, of one moment.
func (l *Ledger) Totals(ctx context.Context) (Totals, error) {
	var totals Totals
	err := l.inSnapshot(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, sqlpostgres.Query("select_totals")).
			Scan(&totals.Entries, &totals.DebitMicros, &totals.CreditMicros)
		if err != nil {
			return err
		}
		totals.Suspense, err = collect[SuspenseItem](ctx, tx, "select_suspense")
		return err
	})
	if err != nil {
		return Totals{}, fmt.Errorf("read ledger totals: %w", l.explain(err))
	}
	return totals, nil
}

// DayTotals returns what the ledger holds for a UTC day, suspense included, by advertiser in byte
// order. Advertisers whose total came down to zero are listed with zero.
func (l *Ledger) DayTotals(ctx context.Context, date time.Time) ([]DayTotal, error) {
	totals, err := collect[DayTotal](ctx, l.pool, "select_day_totals", utcDay(date))
	if err != nil {
		return nil, fmt.Errorf("read day totals of %s: %w", utcDay(date).Format(time.DateOnly), l.explain(err))
	}
	return totals, nil
}

// Balances returns all registered advertisers by ID in byte order.
func (l *Ledger) Balances(ctx context.Context) ([]Balance, error) {
	balances, err := collect[Balance](ctx, l.pool, "select_balances", nil)
	if err != nil {
		return nil, fmt.Errorf("read balances: %w", l.explain(err))
	}
	return balances, nil
}

// EntriesFor returns the entries of one advertiser and UTC day, oldest first.
func (l *Ledger) EntriesFor(ctx context.Context, date time.Time, advertiserID string) ([]Entry, error) {
	entries, err := collect[Entry](ctx, l.pool, "select_entries_for", utcDay(date), advertiserID)
	if err != nil {
		return nil, fmt.Errorf("read entries of %s, advertiser %q: %w",
			utcDay(date).Format(time.DateOnly), advertiserID, l.explain(err))
	}
	return entries, nil
}

// EntriesBetween returns an advertiser's entries by the day of booking, both days inside, in order.
func (l *Ledger) EntriesBetween(ctx context.Context, advertiserID string, first, last time.Time) ([]Entry, error) {
	entries, err := collect[Entry](ctx, l.pool, "select_entries_between", advertiserID, utcDay(first), utcDay(last))
	if err != nil {
		return nil, fmt.Errorf("read entries of advertiser %q: %w", advertiserID, l.explain(err))
	}
	return entries, nil
}

// Settlements returns the newest runs of Post, newest first, at most limit (10,000 where it is less
// than 1 or more).
func (l *Ledger) Settlements(ctx context.Context, limit int) ([]Settlement, error) {
	if limit < 1 || limit > maxSettlements {
		limit = maxSettlements
	}
	settlements, err := collect[Settlement](ctx, l.pool, "select_settlements", limit)
	if err != nil {
		return nil, fmt.Errorf("read settlements: %w", l.explain(err))
	}
	return settlements, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// collect reads all rows of a query into structs, by column name.
func collect[T any](ctx context.Context, from querier, query string, args ...any) ([]T, error) {
	rows, err := from.Query(ctx, sqlpostgres.Query(query), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[T])
}

// inSnapshot runs do in a read-only transaction that sees one moment.
func (l *Ledger) inSnapshot(ctx context.Context, do func(tx pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, l.pool,
		pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, do)
}
