package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Posting is what the ledger took to post, beside transfers one by one in the same database. An entry
// is a transfer of two postings that is checked, hashed, chained and written to billing_ledger.
type Posting struct {
	Advertisers int `json:"advertisers"`
	// First is the first day of all advertisers, whose accounts are opened; Next is the day after.
	First PostedDay `json:"first_day"`
	Next  PostedDay `json:"next_day"`
	// Transfers are the baseline: one transaction each, by Clients at once.
	Transfers          int64   `json:"transfers"`
	Clients            int     `json:"clients"`
	TransferSeconds    float64 `json:"transfer_seconds"`
	TransfersPerSecond float64 `json:"transfers_per_second"`
	// Ratio is entries per second of the first day by transfers per second.
	Ratio float64 `json:"ratio"`
}

// PostedDay is one day's posting, one transaction.
type PostedDay struct {
	WallSeconds      float64 `json:"wall_seconds"`
	ServerCPUSeconds float64 `json:"server_cpu_seconds"` // 0 where there is no /proc
	EntriesPerSecond float64 `json:"entries_per_second"`
}

func (p *Posting) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nposting %d advertisers\twall s\tserver CPU s\tentries/s\t\n", p.Advertisers)
	for _, day := range []struct {
		name string
		PostedDay
	}{{"first day", p.First}, {"next day", p.Next}} {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.0f\t\n", day.name, day.WallSeconds, day.ServerCPUSeconds, day.EntriesPerSecond)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "transfers one by one, %d clients: %.0f/s; posting / transfers %.2f\n", p.Clients, p.TransfersPerSecond, p.Ratio)
	return err
}
