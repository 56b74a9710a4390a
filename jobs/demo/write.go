package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/internal/reconcileduck"
	"github.com/clickledger/clickledger/schemas"
)

// Write writes the report for people.
func (r *Report) Write(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(tab, format+"\n", args...) }
	if r.RecordsBefore > 0 {
		line("places\t%s", strings.Join(r.Places, ", "))
		line("before\tthe log held %s records of earlier runs: figures of stream, days and ledger include them", count(r.RecordsBefore))
	}
	line("clicks\t%s over HTTP (302), %s broken records straight to the log, in %s", count(r.Generate.Redirected), count(r.Generate.LogRecords), r.Elapsed)
	line("impressions\t%s over HTTP (200), %s straight to the log; %s counted + %s duplicates + %s invalid + %s late + %s dead letters",
		count(r.Generate.Impressions), count(r.Generate.LogImpressions), count(r.Impressions.Billable), count(r.Impressions.Duplicates), count(r.Impressions.Invalid), count(r.Impressions.Late), count(r.Impressions.DeadLetters))
	line("stream\t%s records = %s billable + %s duplicates + %s invalid + %s late + %s dead letters", count(r.Stream.Records),
		count(r.Stream.Billable), count(r.Stream.Duplicates), count(r.Stream.Invalid), count(r.Stream.Late), count(r.Stream.DeadLetters))
	line("archive\t%s records, %s decisions and %s records of clicks.dlq in %s files, %s", count(r.Archive.Clicks+r.Archive.DeadLetters),
		count(r.Archive.Decisions), count(r.Archive.DLQ), count(r.Archive.Files), humanize.IBytes(uint64(r.Archive.Bytes)))
	for i := range r.Days {
		r.Days[i].write(line)
	}
	line("")
	line("ledger\tdebits %s = credits %s in %s entries, %s in suspense; verified: %t", usd(r.Ledger.DebitMicros), usd(r.Ledger.CreditMicros),
		count(r.Ledger.Entries), usd(r.Ledger.SuspenseMicros), r.Ledger.IsVerified)
	line("posted again\t%d entries", r.PostedAgain)
	line("folder\t%s (report.json, %s)", r.Dir, "clickledger.yaml")
	return tab.Flush()
}

func (d *Day) write(line func(format string, args ...any)) {
	b, rec := &d.Batch, d.Reconcile
	line("")
	line("day %s", b.Date)
	line("  batch\t%s records = %s billable + %s duplicates + %s invalid + %s dead letters", count(b.Records), count(b.BillableClicks),
		count(b.DuplicateClicks), count(b.InvalidClicks), count(b.DeadLetters))
	var rules []string
	for _, name := range schemas.RuleNames {
		rules = append(rules, name+" "+count(b.InvalidByRule[name]))
	}
	line("  invalid by rule\t%s", strings.Join(rules, ", "))
	line("  stream counts\t%s billable clicks, %s", count(rec.Stream.BillableClicks), usd(rec.Stream.SpendMicros))
	line("  batch counts\t%s billable clicks, %s", count(rec.Batch.BillableClicks), usd(rec.Batch.SpendMicros))
	line("  SQL audit counts\t%s billable clicks, %s", count(rec.AuditBillableClicks), usd(rec.AuditSpendMicros))
	line("  ledger holds\t%s, by %d entries of this posting", usd(rec.LedgerMicros), rec.PostedEntries)
	line("  difference\t%+d clicks, %s:", rec.Batch.BillableClicks-rec.Stream.BillableClicks, usd(rec.Batch.SpendMicros-rec.Stream.SpendMicros))
	for _, cause := range reconcileduck.Causes {
		if e := rec.Causes[cause]; e.Gross != 0 || e.Micros != 0 {
			line("    %s\t%+d clicks, %s", cause, e.Clicks, usd(e.Micros))
		}
	}
	line("    unexplained: %d\t%s", rec.UnexplainedClicks, usd(rec.UnexplainedMicros))
	for _, c := range rec.Gate {
		state := "ok"
		if !c.IsOK {
			state = "FAILED"
		}
		line("  gate %s\t%s: %s", c.Name, state, c.Detail)
	}
	if len(rec.HeldAdvertisers) > 0 {
		line("  held\t%s", strings.Join(rec.HeldAdvertisers[:min(len(rec.HeldAdvertisers), 10)], ", "))
	}
	for i, a := range slices.All(rec.Top[:min(len(rec.Top), 5)]) {
		title := ""
		if i == 0 {
			title = "top advertisers"
		}
		line("  %s\t%s  %s clicks, %s", title, a.AdvertiserID, count(a.Clicks), usd(a.SpendMicros))
	}
}

func count(n int64) string { return humanize.Comma(n) }

// usd writes micros as an exact amount.
func usd(micros int64) string { return "USD " + money.Micros(micros).String() }
