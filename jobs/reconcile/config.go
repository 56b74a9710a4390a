// Package reconcile compares what the stream published with what the batch judged, gives every
// difference a cause, and only then posts the bill and publishes final rows.
//
// The gate: the archive is complete, the batch conserves records, an independent SQL audit agrees,
// and nothing is unexplained. An advertiser that fails is held and reported, the others are
// posted. Running it again posts the difference only; with no new input it posts nothing.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/reconcileduck"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// DefaultCurrency is the ledger's currency where none is configured.
const DefaultCurrency = "USD"

// Config configures the job.
type Config struct {
	Archive string
	// Log is read for decisions that are not archived yet. Empty: the archive's have to do.
	Log      string
	Date     time.Time // the billing day, midnight UTC
	Policy   *policy.Policy
	RunID    string // stamped on the posting
	Currency string // ISO 4217; default USD
	// Post posts to the ledger and publishes final rows. False: the report is all.
	Post bool
	// DryRun works a posting out and rolls it back; nothing is published.
	DryRun bool
	// ReportPath is the file of the report; the other outputs are put beside it. Default: they are
	// put beside the batch's result, in the archive.
	ReportPath string
	// List says which discrepancies the report lists; all are in their file.
	List List
	// AdvertiserTolerance holds who differs by more. Tolerance is of all together: beyond it nobody is
	// posted. What is unexplained is never tolerated.
	AdvertiserTolerance, Tolerance Tolerance
	// MemoryLimit is DuckDB's. Default 1GB.
	MemoryLimit string
	// TempDir holds copies and spilled data. Default: the system's.
	TempDir string
	// Version of the program, for the manifest.
	Version string
}

// List says which discrepancies the report lists. The zero value lists none.
type List struct {
	Since        time.Time // minutes from this on
	AdvertiserID string    // empty: of all advertisers
	Limit        int       // the most
}

// Tolerance is the most that may differ, with no regard to the sign. Nil is any number.
type Tolerance struct {
	Clicks, Micros *int64
}

// Allows reports whether so much is within the tolerance.
func (t Tolerance) Allows(clicks, micros int64) bool {
	return (t.Clicks == nil || clicks <= *t.Clicks) && (t.Micros == nil || micros <= *t.Micros)
}

// Ledger is what the job needs of the ledger.
type Ledger interface {
	Post(ctx context.Context, request ledgerpg.PostRequest) (ledgerpg.PostResult, error)
	DayTotals(ctx context.Context, day time.Time) ([]ledgerpg.DayTotal, error)
	Totals(ctx context.Context) (ledgerpg.Totals, error)
}

// Deps are what the job works with.
type Deps struct {
	Serving  serving.Store
	Ledger   Ledger // needed to post
	Logger   *slog.Logger
	Progress func(stage string, done, total int64)
	Now      func() time.Time // default time.Now
}

// Validate reports every problem at once, each with its key.
func (c *Config) Validate() error {
	var problems []error
	if err := objectstore.Validate(c.Archive); err != nil {
		problems = append(problems, fmt.Errorf("archive: %w", err))
	}
	if c.Log != "" {
		if _, err := kafkaio.ParseURL(c.Log); err != nil {
			problems = append(problems, fmt.Errorf("log: %w", err))
		}
	}
	if c.Date.IsZero() || !c.Date.Equal(c.Date.UTC().Truncate(24*time.Hour)) {
		problems = append(problems, fmt.Errorf("date: %s is not a UTC day", c.Date.Format(time.RFC3339)))
	}
	if c.Policy == nil {
		problems = append(problems, errors.New("policy: missing"))
	}
	if c.RunID == "" {
		problems = append(problems, errors.New("run_id: missing"))
	}
	for key, most := range map[string]*int64{"advertiser_tolerance_clicks": c.AdvertiserTolerance.Clicks,
		"advertiser_tolerance_micros": c.AdvertiserTolerance.Micros, "tolerance_clicks": c.Tolerance.Clicks, "tolerance_micros": c.Tolerance.Micros} {
		if most != nil && *most < 0 {
			problems = append(problems, fmt.Errorf("%s: %d is negative", key, *most))
		}
	}
	if c.List.Limit < 0 {
		problems = append(problems, fmt.Errorf("limit: %d is negative", c.List.Limit))
	}
	return errors.Join(problems...)
}

// Layer is one layer's totals.
type Layer struct {
	reconcileduck.Sums
	Advertisers int64 `json:"advertisers"` // with a billable click
}

// Report is the outcome, the document that --json prints.
type Report struct {
	Date string `json:"date"`
	// Cut ends what was compared and billed: the end of the day, or as far as both layers are complete.
	Cut        time.Time `json:"cut"`
	IsComplete bool      `json:"is_complete"` // the cut is the end of the day
	PolicyHash string    `json:"policy_hash"`
	Result     string    `json:"result"` // the batch's, in the archive

	Stream Layer `json:"stream"`
	Batch  Layer `json:"batch"`
	// Causes add up to batch less stream.
	Causes            map[string]reconcileduck.Effect `json:"causes"`
	UnexplainedClicks int64                           `json:"unexplained_clicks"` // of either sign
	UnexplainedMicros int64                           `json:"unexplained_micros"`

	Gate            []Check  `json:"gate"`
	HeldAdvertisers []string `json:"held_advertisers"`

	// Audit is what the independent SQL says.
	AuditBillableClicks int64 `json:"audit_billable_clicks"`
	AuditSpendMicros    int64 `json:"audit_spend_micros"`

	IsPosted      bool  `json:"is_posted"`
	PostedEntries int   `json:"posted_entries"`
	PostedMicros  int64 `json:"posted_micros"`
	// SuspenseMicros is the part of this posting that belongs to advertisers who are not registered.
	SuspenseMicros int64 `json:"suspense_micros"`
	// LimitEvents are advertisers whose balance crossed the credit limit by this posting.
	LimitEvents []LimitEvent `json:"limit_events,omitempty"`
	// LedgerMicros is what the ledger holds for the day afterwards; debits and credits are over all days.
	LedgerMicros       int64 `json:"ledger_micros"`
	LedgerDebitMicros  int64 `json:"ledger_debit_micros"`
	LedgerCreditMicros int64 `json:"ledger_credit_micros"`
	PublishedRows      int64 `json:"published_rows"`

	// Planned are the entries that a dry run would post, what moves most first. ChargedMicros is the sum
	// of those that charge more, CreditedMicros, negative, of those that take back.
	Planned        []Planned `json:"planned,omitempty"`
	ChargedMicros  int64     `json:"charged_micros"`
	CreditedMicros int64     `json:"credited_micros"`

	Top []Bill `json:"top_advertisers"`

	// Discrepancies is how many rows discrepancies.parquet has, and Listed are those asked for.
	Discrepancies int64                       `json:"discrepancies"`
	Listed        []reconcileduck.Discrepancy `json:"listed,omitempty"`
}

// Bill is one advertiser's part of the day.
type Bill struct {
	AdvertiserID string `json:"advertiser_id"`
	Clicks       int64  `json:"clicks"`
	SpendMicros  int64  `json:"spend_micros"`
}

// LimitEvent says that an advertiser's balance went below the credit limit, or came back.
type LimitEvent struct {
	AdvertiserID      string `json:"advertiser_id"`
	Kind              string `json:"kind"`    // limit_crossed or limit_cleared
	Balance           string `json:"balance"` // decimal, negative for what is owed
	CreditLimitMicros int64  `json:"credit_limit_micros"`
}

// Check is one condition of the gate.
type Check struct {
	Name   string `json:"name"`
	IsOK   bool   `json:"is_ok"`
	Detail string `json:"detail"`
}

// IsClean reports whether the gate is open and nobody is held.
func (rep *Report) IsClean() bool {
	for _, c := range rep.Gate {
		if !c.IsOK {
			return false
		}
	}
	return len(rep.HeldAdvertisers) == 0 && rep.UnexplainedClicks == 0 && rep.UnexplainedMicros == 0
}
