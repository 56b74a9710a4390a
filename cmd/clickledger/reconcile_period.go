package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/reconcile"
)

// reconcilePeriod is reconcile over the days of a period.
func reconcilePeriod(ctx context.Context, a *app, job reconcile.Config, last time.Time, deps reconcile.Deps, limit int) error {
	report, err := reconcile.RunPeriod(ctx, job, last, deps)
	err = errors.Join(a.result(report, func(w io.Writer) error { return writePeriod(w, report, job.DryRun, limit) }), err)
	if err != nil {
		return err
	}
	for _, day := range report.Days {
		if err := discrepancies(day); err != nil {
			return err
		}
	}
	return nil
}

func writePeriod(w io.Writer, p *reconcile.PeriodReport, dryRun bool, limit int) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	done := "posted"
	if dryRun {
		done = "would be posted"
	}
	fmt.Fprintf(table, "day\tstream\tbatch\tdifference\tunexplained\theld\tentries\t%s\t\n", done)
	for _, d := range p.Days {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t\n", d.Date, money.Micros(d.Stream.SpendMicros), money.Micros(d.Batch.SpendMicros),
			signed(d.Batch.SpendMicros-d.Stream.SpendMicros), d.UnexplainedClicks, len(d.HeldAdvertisers), d.PostedEntries, signed(d.PostedMicros))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if p.FailedDate != "" {
		fmt.Fprintf(w, "%s failed: %s\n", p.FailedDate, p.Error)
	}
	if len(p.Planned) == 0 {
		return nil
	}
	fmt.Fprint(w, "\nwould be posted\n")
	table = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "  advertiser\tentries\tin the ledger\tcharged\tcredited\tamount\t\n")
	for i := range p.Planned[:min(len(p.Planned), limit)] {
		sum := &p.Planned[i]
		fmt.Fprintf(table, "  %s\t%d\t%s\t%s\t%s\t%s\t\n", sum.AdvertiserID, sum.Entries, money.Micros(sum.PostedMicros),
			signed(sum.ChargedMicros), signed(sum.CreditedMicros), signed(sum.AmountMicros))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if rest := len(p.Planned) - limit; rest > 0 {
		fmt.Fprintf(w, "  and %d more: see --limit and --json\n", rest)
	}
	_, err := fmt.Fprintf(w, "  %d advertisers, charged %s, credited %s\ndry run: nothing was posted\n", len(p.Planned), signed(p.ChargedMicros), signed(p.CreditedMicros))
	return err
}
