package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/analyst"
	"github.com/clickledger/clickledger/jobs/batch"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// Statement is an advertiser's month. Opening balance, less charges and corrections, plus payments is
// the closing balance; the charges are the sum of the campaigns' lines, to the micro.
type Statement struct {
	AdvertiserID string `json:"advertiser_id"`
	Name         string `json:"name"`
	Month        string `json:"month"` // YYYY-MM
	Currency     string `json:"currency"`
	IsClosed     bool   `json:"is_closed"` // the period is closed: nothing of it will change
	// Balances are decimal text with four places, negative for what is owed.
	OpeningBalance string `json:"opening_balance"`
	ClosingBalance string `json:"closing_balance"`

	Campaigns []Campaign `json:"campaigns"`
	// Invalid are clicks that were not charged, by campaign and rule.
	Invalid []InvalidClicks `json:"invalid_not_charged"`
	// ChargedMicros are the charges for days of the month. UnattributedMicros is the part of them that
	// no result in the archive gives by campaign; it is 0 where all results are there.
	ChargedMicros      int64 `json:"charged_micros"`
	UnattributedMicros int64 `json:"unattributed_micros"`
	// Adjustments are what is booked in the month and is no charge for a day of it, payments apart.
	Adjustments []Item `json:"adjustments"`
	Payments    []Item `json:"payments"`

	SuspenseMicros int64 `json:"suspense_micros"` // posted before he was registered, and not moved yet
	Entries        int   `json:"entries"`         // of the ledger, booked in the month
}

// Campaign is the line of one campaign.
type Campaign struct {
	CampaignID      string `json:"campaign_id"`
	Clicks          int64  `json:"clicks"` // of all verdicts
	BillableClicks  int64  `json:"billable_clicks"`
	DuplicateClicks int64  `json:"duplicate_clicks"`
	InvalidClicks   int64  `json:"invalid_clicks"`
	SpendMicros     int64  `json:"spend_micros"`
}

// InvalidClicks are clicks that one rule hit. A click that several hit is in each of them.
type InvalidClicks struct {
	CampaignID string `json:"campaign_id"`
	Rule       string `json:"rule"`
	Clicks     int64  `json:"clicks"`
	CostMicros int64  `json:"cost_micros"` // what they would have cost
}

// Item is one entry of the ledger.
type Item struct {
	EntryID         int64  `json:"entry_id"`
	BookingDate     string `json:"booking_date"`
	BillingDate     string `json:"billing_date"` // the day that it is about
	Kind            string `json:"kind"`
	OriginalEntryID int64  `json:"original_entry_id,omitempty"`
	Reference       string `json:"reference,omitempty"`
	Reason          string `json:"reason,omitempty"`
	// AmountMicros is negative for what is owed more, as in billing_ledger.
	AmountMicros int64 `json:"amount_micros"`
}

// Build makes a statement. The error wraps ErrNoBill for an advertiser who is not registered.
func Build(ctx context.Context, cfg Config, book Book) (*Statement, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	first, last := cfg.days()
	s := &Statement{AdvertiserID: cfg.AdvertiserID, Month: first.Format("2006-01"), Campaigns: []Campaign{},
		Invalid: []InvalidClicks{}, Adjustments: []Item{}, Payments: []Item{}}
	suspense, err := book.InSuspense(ctx, cfg.AdvertiserID)
	if err != nil {
		return nil, err
	}
	s.SuspenseMicros = int64(suspense)
	balance, err := book.Balance(ctx, cfg.AdvertiserID)
	if errors.Is(err, ledgerpg.ErrUnknown) {
		return nil, noBill("advertiser %q is not registered, %s of his stand in suspense", cfg.AdvertiserID, suspense)
	}
	if err != nil {
		return nil, err
	}
	s.Name, s.Currency = balance.Name, balance.Currency
	if _, s.IsClosed, err = book.FindPeriod(ctx, first); err != nil {
		return nil, err
	}
	if err := s.balances(ctx, book, first, last); err != nil {
		return nil, err
	}
	settled, err := book.SettledResults(ctx, ledgerpg.SettledQuery{First: first, Last: last,
		AdvertiserID: cfg.AdvertiserID, AsOfClose: true})
	if err != nil {
		return nil, err
	}
	if cfg.Archive != "" && len(settled) > 0 {
		if err := s.lines(ctx, cfg, settled); err != nil {
			return nil, err
		}
	}
	s.UnattributedMicros = s.ChargedMicros
	for i := range s.Campaigns {
		s.UnattributedMicros -= s.Campaigns[i].SpendMicros
	}
	return s, nil
}

// balances reads the entries of the month and checks that they lead from balance to balance.
func (s *Statement) balances(ctx context.Context, book Book, first, last time.Time) error {
	opening, err := book.BalanceBefore(ctx, s.AdvertiserID, first)
	if err != nil {
		return err
	}
	closing, err := book.BalanceBefore(ctx, s.AdvertiserID, last.AddDate(0, 0, 1))
	if err != nil {
		return err
	}
	entries, err := book.EntriesBetween(ctx, s.AdvertiserID, first, last)
	if err != nil {
		return err
	}
	sum := opening
	for i := range entries {
		if e := &entries[i]; !e.IsSuspense {
			if e.BilledDecimal4 != nil {
				sum += *e.BilledDecimal4
			}
			s.Entries++
			s.add(e, first)
		}
	}
	if sum != closing {
		return fmt.Errorf("advertiser %q: the entries of %s lead from %s to %s, not to %s: run ledger verify", s.AdvertiserID,
			s.Month, money.FormatDecimal4(opening), money.FormatDecimal4(sum), money.FormatDecimal4(closing))
	}
	s.OpeningBalance, s.ClosingBalance = money.FormatDecimal4(opening), money.FormatDecimal4(closing)
	return nil
}

// add files one entry: what the batch has brought about for a day of the month is a charge.
func (s *Statement) add(e *ledgerpg.Entry, first time.Time) {
	item := Item{EntryID: e.EntryID, BookingDate: e.BookingDate.Format(time.DateOnly), BillingDate: e.BillingDate.Format(time.DateOnly),
		Kind: e.Kind, AmountMicros: -int64(e.AmountMicros)}
	if e.OriginalEntryID != nil {
		item.OriginalEntryID = *e.OriginalEntryID
	}
	if e.Reference != nil {
		item.Reference = *e.Reference
	}
	if e.Reason != nil {
		item.Reason = *e.Reason
	}
	switch {
	case e.Reference == nil && !e.BillingDate.Before(first):
		s.ChargedMicros += int64(e.AmountMicros)
	case e.Kind == ledgerpg.KindPayment:
		s.Payments = append(s.Payments, item)
	default:
		s.Adjustments = append(s.Adjustments, item)
	}
}

// lines reads clicks by campaign and rule from the results that were posted.
func (s *Statement) lines(ctx context.Context, cfg Config, settled []ledgerpg.SettledResult) (err error) {
	db, err := analyst.Open(ctx, cfg.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	campaigns, rules := map[string]*Campaign{}, map[[2]string]*InvalidClicks{}
	for _, r := range settled {
		hasResult, err := holds(ctx, db.Store, r)
		if err != nil {
			return err
		}
		if !hasResult {
			continue // its charges stay unattributed
		}
		if err := s.day(ctx, db, r, campaigns, rules); err != nil {
			return fmt.Errorf("read %s: %w", r.Result, err)
		}
	}
	for _, c := range campaigns {
		s.Campaigns = append(s.Campaigns, *c)
	}
	slices.SortFunc(s.Campaigns, func(a, b Campaign) int { return cmp.Compare(a.CampaignID, b.CampaignID) })
	for _, r := range rules {
		s.Invalid = append(s.Invalid, *r)
	}
	slices.SortFunc(s.Invalid, func(a, b InvalidClicks) int {
		return cmp.Or(cmp.Compare(a.CampaignID, b.CampaignID), cmp.Compare(a.Rule, b.Rule))
	})
	return nil
}

// day adds one day's result.
func (s *Statement) day(ctx context.Context, db *analyst.Database, r ledgerpg.SettledResult,
	campaigns map[string]*Campaign, rules map[[2]string]*InvalidClicks,
) error {
	minutes, err := batch.LocalCopy(ctx, db.Store, r.Result+"/"+batch.MinutesFile, db.Dir)
	if err != nil {
		return err
	}
	cut, begin := cutMillis(r), r.BillingDate.UnixMilli()
	err = each(ctx, db.Conn, "statement_lines", func(rows *sql.Rows) error {
		var c Campaign
		err := rows.Scan(&c.CampaignID, &c.Clicks, &c.BillableClicks, &c.DuplicateClicks, &c.InvalidClicks, &c.SpendMicros)
		if sum := campaigns[c.CampaignID]; sum == nil {
			campaigns[c.CampaignID] = &c
		} else {
			sum.Clicks, sum.BillableClicks = sum.Clicks+c.Clicks, sum.BillableClicks+c.BillableClicks
			sum.DuplicateClicks, sum.InvalidClicks = sum.DuplicateClicks+c.DuplicateClicks, sum.InvalidClicks+c.InvalidClicks
			sum.SpendMicros += c.SpendMicros
		}
		return err
	}, minutes, s.AdvertiserID, cut)
	if err != nil {
		return err
	}
	decisions, err := batch.LocalCopy(ctx, db.Store, r.Result+"/"+batch.DecisionsFile, db.Dir)
	if err != nil {
		return err
	}
	return each(ctx, db.Conn, "statement_invalid", func(rows *sql.Rows) error {
		var c InvalidClicks
		err := rows.Scan(&c.CampaignID, &c.Rule, &c.Clicks, &c.CostMicros)
		if sum := rules[[2]string{c.CampaignID, c.Rule}]; sum == nil {
			rules[[2]string{c.CampaignID, c.Rule}] = &c
		} else {
			sum.Clicks, sum.CostMicros = sum.Clicks+c.Clicks, sum.CostMicros+c.CostMicros
		}
		return err
	}, decisions, s.AdvertiserID, begin, cut)
}

// each runs a query and calls scan for every row.
func each(ctx context.Context, conn *sql.Conn, query string, scan func(*sql.Rows) error, args ...any) (err error) {
	rows, err := conn.QueryContext(ctx, sqlduck.SQL(query), args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// holds says whether the archive has anything of a result.
func holds(ctx context.Context, store objectstore.Store, r ledgerpg.SettledResult) (bool, error) {
	if !isInArchive(r) {
		return false, nil
	}
	objects, err := store.List(ctx, r.Result+"/")
	return len(objects) > 0, err
}

// isInArchive says whether the batch wrote a result into the archive, and not elsewhere.
func isInArchive(r ledgerpg.SettledResult) bool { return strings.HasPrefix(r.Result, "results/") }
