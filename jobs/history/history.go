// Package history lists what the batch side has done: the results of the batch in the archive, and
// the settlements in the ledger. It only reads. Money is int64 micros.
package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/batch"
)

// settlementsMax is how many settlements are listed, newest first.
const settlementsMax = 1000

// Ledger is what the job needs of the ledger.
type Ledger interface {
	Settlements(ctx context.Context, limit int) ([]ledgerpg.Settlement, error)
}

// Run is one result of the batch.
type Run struct {
	Date            string `json:"date"`
	Revision        int    `json:"revision"`
	Version         string `json:"version"` // of the program
	Records         int64  `json:"records"`
	BillableClicks  int64  `json:"billable_clicks"`
	DuplicateClicks int64  `json:"duplicate_clicks"`
	InvalidClicks   int64  `json:"invalid_clicks"`
	DeadLetters     int64  `json:"dead_letters"`
	SpendMicros     int64  `json:"spend_micros"`
	Advertisers     int64  `json:"advertisers"`
	PolicyHash      string `json:"policy_hash"`
	Out             string `json:"out"` // its place
	// IsChanged: the manifest is not as it was written, and its figures are left out.
	IsChanged bool `json:"is_changed"`
}

// Settlement is one posting of a day.
type Settlement struct {
	SettlementID        int64     `json:"settlement_id"`
	PostedAt            time.Time `json:"posted_at"`
	RunID               string    `json:"run_id"`
	Date                string    `json:"date"`
	Currency            string    `json:"currency"`
	PolicyHash          string    `json:"policy_hash"`
	Advertisers         int64     `json:"advertisers"`
	HeldAdvertisers     int64     `json:"held_advertisers"`
	SuspenseAdvertisers int64     `json:"suspense_advertisers"`
	PostedEntries       int64     `json:"posted_entries"`
	DeltaMicros         int64     `json:"delta_micros"`
}

// Report is the history, the document that --json prints.
type Report struct {
	Runs []Run `json:"runs"` // by day and revision
	// HasLedger: a ledger was asked. Settlements are its newest 1,000, newest first.
	HasLedger   bool         `json:"has_ledger"`
	Settlements []Settlement `json:"settlements"`
}

// List reads the history. The ledger may be nil.
func List(ctx context.Context, archive string, ledger Ledger) (*Report, error) {
	store, err := objectstore.Open(ctx, archive)
	if err != nil {
		return nil, err
	}
	keys, err := batch.Runs(ctx, store)
	if err != nil {
		return nil, err
	}
	report := &Report{Runs: []Run{}, Settlements: []Settlement{}, HasLedger: ledger != nil}
	for _, key := range keys {
		m, err := batch.LoadManifest(ctx, store, key)
		if errors.Is(err, batch.ErrChanged) {
			report.Runs = append(report.Runs, Run{Date: key.Date, Revision: key.Revision, Out: store.URL(key.Prefix), IsChanged: true})
			continue
		}
		if err != nil {
			return nil, err
		}
		r := m.Result
		report.Runs = append(report.Runs, Run{
			Date: key.Date, Revision: key.Revision, Version: m.Version, Records: r.Records, BillableClicks: r.BillableClicks,
			DuplicateClicks: r.DuplicateClicks, InvalidClicks: r.InvalidClicks, DeadLetters: r.DeadLetters,
			SpendMicros: r.SpendMicros, Advertisers: r.Advertisers, PolicyHash: r.PolicyHash, Out: store.URL(key.Prefix),
		})
	}
	if ledger == nil {
		return report, nil
	}
	settlements, err := ledger.Settlements(ctx, settlementsMax)
	if err != nil {
		return nil, fmt.Errorf("list settlements: %w", err)
	}
	for _, s := range settlements {
		report.Settlements = append(report.Settlements, Settlement{
			SettlementID: s.SettlementID, PostedAt: s.PostedAt.UTC(), RunID: s.RunID, Date: s.BillingDate, Currency: s.Currency,
			PolicyHash: s.PolicyHash, Advertisers: s.Advertisers, HeldAdvertisers: s.HeldAdvertisers,
			SuspenseAdvertisers: s.SuspenseAdvertisers, PostedEntries: s.PostedEntries, DeltaMicros: int64(s.DeltaMicros),
		})
	}
	return report, nil
}
