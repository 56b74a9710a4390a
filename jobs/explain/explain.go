// Package explain answers "why was this click billed?": it follows a click_id from the bytes in the
// log and the records in the archive through the verdicts of stream and batch, with the evidence that
// they rest on, to the rows of its minute, the entries of its advertiser's day and their place in the
// ledger's chain. RunRow does the same for an advertiser's minute. It only reads.
//
// The evidence is looked up in the archive again and counted by code of its own, not by the
// transforms.
package explain

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/analyst"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// copiesMax is how many copies of a click are explained.
const copiesMax = 1000

// ErrUnknown says that the archive holds no record of a click_id.
var ErrUnknown = errors.New("the archive holds no record of it")

// Config says what to explain.
type Config struct {
	analyst.Config
	ClickID string
	// AdvertiserID and Minute, a whole one, name the rows that RunRow explains.
	AdvertiserID string
	Minute       time.Time
	Policy       *policy.Policy // decodes dead letters, and is what evidence is looked up by
}

// Serving is what the job needs of the serving store.
type Serving interface {
	LoadProgress(ctx context.Context) (serving.Progress, error)
	Rows(ctx context.Context, layer serving.Layer, r serving.Range) iter.Seq2[schemas.MinuteRow, error]
}

// Ledger is what the job needs of the ledger.
type Ledger interface {
	EntriesFor(ctx context.Context, date time.Time, advertiserID string) ([]ledgerpg.Entry, error)
	Place(ctx context.Context, entryID int64) (ledgerpg.Place, error)
}

// Deps are the stores that may be asked; nil ones are left out.
type Deps struct {
	Serving Serving
	Ledger  Ledger
	Log     Log
	// LogProblem says why there is no Log, where one is configured.
	LogProblem string
}

// Run explains a click; ErrUnknown where there is no record of it.
func Run(ctx context.Context, cfg Config, deps Deps) (_ *Report, err error) {
	if cfg.ClickID == "" {
		return nil, errors.New("explain: no click_id")
	}
	e, err := open(ctx, cfg, deps)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.db.Close()) }()
	report, err := e.explain(ctx)
	if err != nil {
		return nil, fmt.Errorf("explain %q: %w", cfg.ClickID, err)
	}
	return report, nil
}

// explainer answers one question.
type explainer struct {
	cfg  Config
	deps Deps
	db   *analyst.Database

	next          map[int32]int64                  // offsets up to which the stream has published
	files         map[string][]archive.File        // of the archive, by folder
	days          map[string]*dayResult            // newest results of the batch, nil where there is none
	discrepancies map[discrepancyKey][]discrepancy // that reconciliations wrote down
}

func open(ctx context.Context, cfg Config, deps Deps) (*explainer, error) {
	db, err := analyst.Open(ctx, cfg.Config)
	if err != nil {
		return nil, err
	}
	return &explainer{cfg: cfg, deps: deps, db: db, files: map[string][]archive.File{}, days: map[string]*dayResult{},
		discrepancies: map[discrepancyKey][]discrepancy{}}, nil
}

func (e *explainer) explain(ctx context.Context) (*Report, error) {
	r := &Report{ClickID: e.cfg.ClickID, HasServing: e.deps.Serving != nil, HasLedger: e.deps.Ledger != nil, Bills: []Bill{}}
	var err error
	if r.Copies, r.IsTruncated, err = e.copies(ctx); err != nil {
		return nil, err
	}
	if len(r.Copies) == 0 {
		return nil, ErrUnknown
	}
	for _, add := range []func(context.Context, *Report) error{
		e.addObjects, e.addRecords, e.addStream, e.addBatch, e.addEvidence, e.addRows, e.addDifferences, e.addBills,
	} {
		if err := add(ctx, r); err != nil {
			return nil, err
		}
	}
	r.Answer = answer(r)
	return r, nil
}

// addBills reads the ledger's entries for the advertisers and days of the copies that are clicks.
func (e *explainer) addBills(ctx context.Context, r *Report) error {
	if e.deps.Ledger == nil {
		return nil
	}
	type account struct{ date, advertiser string }
	asked := map[account]bool{}
	for i := range r.Copies {
		c := &r.Copies[i]
		if c.Fields == nil || c.Batch.Verdict == schemas.DeadLettered.String() {
			continue
		}
		a := account{c.BillingDate, c.Fields.AdvertiserID}
		if asked[a] {
			continue
		}
		asked[a] = true
		bill, err := e.bill(ctx, a.date, a.advertiser)
		if err != nil {
			return err
		}
		r.Bills = append(r.Bills, bill)
	}
	return nil
}

// bill is what the ledger holds of an advertiser's day.
func (e *explainer) bill(ctx context.Context, day, advertiserID string) (Bill, error) {
	bill := Bill{Date: day, AdvertiserID: advertiserID, Entries: []Entry{}}
	date, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return bill, fmt.Errorf("read ledger: %w", err)
	}
	entries, err := e.deps.Ledger.EntriesFor(ctx, date, advertiserID)
	if err != nil {
		return bill, err
	}
	for i := range entries {
		n := &entries[i]
		place, err := e.deps.Ledger.Place(ctx, n.EntryID)
		if err != nil {
			return bill, err
		}
		bill.Entries = append(bill.Entries, Entry{
			EntryID: n.EntryID, OriginalEntryID: n.OriginalEntryID, Kind: n.Kind, Revision: n.Revision,
			BookingDate: n.BookingDate.Format(time.DateOnly), Currency: n.Currency, AmountMicros: int64(n.AmountMicros),
			DayMicros: int64(n.DayMicros), DayClicks: n.DayClicks, IsSuspense: n.IsSuspense, PolicyHash: n.PolicyHash,
			RunID: n.RunID, PostedAt: n.PostedAt.UTC(), Place: place,
		})
	}
	return bill, nil
}

// answer is the report in one sentence.
func answer(r *Report) string {
	for i := range r.Copies {
		c := &r.Copies[i]
		if c.Batch.Verdict != schemas.Billable.String() || c.Fields == nil {
			continue
		}
		text := fmt.Sprintf("billable: %s to advertiser %s for %s, by the record at %s",
			money.Micros(c.Fields.CostMicros), c.Fields.AdvertiserID, c.BillingDate, c.position())
		return text + posted(r, c)
	}
	c := &r.Copies[0]
	switch c.Batch.Verdict {
	case "":
		if c.Stream.Verdict == "" {
			return "not judged yet: " + c.Batch.Basis
		}
		return fmt.Sprintf("%s in the stream; %s", c.Stream.Verdict, c.Batch.Basis)
	case schemas.DeadLettered.String():
		return "not billed: a dead letter, " + c.Batch.Reason
	case schemas.Invalid.String():
		return "not billed: invalid traffic, by " + strings.Join(c.Batch.Rules, ", ")
	}
	text := "not billed: a duplicate"
	if w := c.Batch.Winner; w != nil {
		text += fmt.Sprintf(" of the record at %s", schemas.Position{Partition: w.Partition, Offset: w.Offset})
	}
	return text
}

// posted says what the ledger has of a billable copy.
func posted(r *Report, c *Copy) string {
	if !r.HasLedger {
		return "; no ledger was asked"
	}
	for _, b := range r.Bills {
		if b.Date != c.BillingDate || b.AdvertiserID != c.Fields.AdvertiserID || len(b.Entries) == 0 {
			continue
		}
		last := b.Entries[len(b.Entries)-1]
		where := ""
		if last.IsSuspense {
			where = " in suspense"
		}
		return fmt.Sprintf("; the ledger holds the day%s: %s for %d clicks, entry %d, link %d of the chain",
			where, money.Micros(last.DayMicros), last.DayClicks, last.EntryID, last.Place.LinkID)
	}
	return "; the day is not posted yet"
}
