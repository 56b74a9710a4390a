package reconcile

import (
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
)

// Planned is one entry that a dry run would post: what an advertiser would be charged or credited for
// the day, and why.
type Planned struct {
	AdvertiserID string `json:"advertiser_id"`
	Kind         string `json:"kind"` // charge, adjustment or credit
	// PostedMicros is what the ledger holds for the day, DayMicros what it would hold.
	PostedMicros int64 `json:"posted_micros"`
	DayMicros    int64 `json:"day_micros"`
	AmountMicros int64 `json:"amount_micros"` // the difference; negative for what would be credited
	// BillableClicks and InvalidClicks are the day's afterwards.
	BillableClicks int64 `json:"billable_clicks"`
	InvalidClicks  int64 `json:"invalid_clicks"`
	// BookingDate is the day in whose period it would count: a later one where that of the clicks is closed.
	BookingDate     string `json:"booking_date"`
	OriginalEntryID *int64 `json:"original_entry_id,omitempty"` // that it would correct
	IsSuspense      bool   `json:"is_suspense"`
	Reason          string `json:"reason,omitempty"`
}

// plan takes over what a dry run has worked out.
func (rep *Report) plan(entries []ledgerpg.PlannedEntry) {
	for i := range entries {
		e := &entries[i]
		amount := int64(e.AmountMicros)
		rep.Planned = append(rep.Planned, Planned{AdvertiserID: e.AdvertiserID, Kind: e.Kind, PostedMicros: int64(e.PostedMicros),
			DayMicros: int64(e.DayMicros), AmountMicros: amount, BillableClicks: e.DayClicks, InvalidClicks: e.DayInvalidClicks,
			BookingDate: e.BookingDate.UTC().Format(time.DateOnly), OriginalEntryID: e.OriginalEntryID, IsSuspense: e.IsSuspense, Reason: e.Reason})
		rep.ChargedMicros += max(amount, 0)
		rep.CreditedMicros += min(amount, 0)
	}
}
