package ledger

import (
	"encoding/csv"
	"fmt"
	"io"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
)

// Activity is an advertiser's invalid-activity credit report for a month: the clicks that were found
// to be invalid before they were charged, and the credits for those that had been charged.
type Activity struct {
	AdvertiserID string `json:"advertiser_id"`
	Name         string `json:"name"`
	Month        string `json:"month"` // YYYY-MM
	Currency     string `json:"currency"`
	// Clicks are all that the month's results judged, InvalidClicks those that rules took out.
	Clicks        int64           `json:"clicks"`
	InvalidClicks int64           `json:"invalid_clicks"`
	Invalid       []InvalidClicks `json:"invalid_not_charged"`
	// Credits are booked in the month; a correction of the same period is part of its charges.
	Credits        []Item `json:"credits"`
	CreditedMicros int64  `json:"credited_micros"`
}

// Activity is the part of a statement that is about invalid traffic.
func (s *Statement) Activity() *Activity {
	a := &Activity{AdvertiserID: s.AdvertiserID, Name: s.Name, Month: s.Month, Currency: s.Currency, Invalid: s.Invalid,
		Credits: []Item{}}
	for _, c := range s.Campaigns {
		a.Clicks += c.Clicks
		a.InvalidClicks += c.InvalidClicks
	}
	for _, item := range s.Adjustments {
		if item.Kind == ledgerpg.KindCredit {
			a.Credits = append(a.Credits, item)
			a.CreditedMicros += item.AmountMicros
		}
	}
	return a
}

// WriteText writes the report for a terminal.
func (a *Activity) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "Invalid activity of %s (%s) in %s; amounts in %s\n\n", quote(a.Name), quote(a.AdvertiserID), a.Month, a.Currency)
	fmt.Fprintf(w, "%d of %d clicks were found to be invalid before they were charged\n", a.InvalidClicks, a.Clicks)
	fmt.Fprintf(w, "%s was credited for clicks that had been charged\n", money.Micros(a.CreditedMicros))
	if err := writeInvalid(w, a.Invalid); err != nil {
		return err
	}
	return writeItems(w, "Credits", a.Credits)
}

// WriteCSV writes the report as one table, with the columns of a statement.
func (a *Activity) WriteCSV(w io.Writer) error {
	rows := [][]string{{"section", "id", "date", "kind", "clicks", "billed_clicks", "duplicate_clicks", "invalid_clicks", "amount", "currency", "text"}}
	rows = append(rows, invalidRows(a.Invalid, a.Month, a.Currency)...)
	rows = append(rows, itemRows("credit", a.Credits, a.Currency)...)
	out := csv.NewWriter(w)
	if err := out.WriteAll(rows); err != nil {
		return err
	}
	return out.Error()
}

// WriteHTML writes a page that needs nothing else.
func (a *Activity) WriteHTML(w io.Writer) error { return page.ExecuteTemplate(w, "activity", a) }
