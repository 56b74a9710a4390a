package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/explain"
)

func writeExplainedRows(w io.Writer, r *explain.RowReport) error {
	fmt.Fprintf(w, "advertiser %s, %s: %s\n", r.AdvertiserID, r.Minute.Format(time.RFC3339), r.Answer)
	fmt.Fprintf(w, "batch: %s\n", r.BatchBasis)
	fmt.Fprintf(w, "causes: %s\n", cmp.Or(r.Reconciled, "the day was not reconciled yet"))
	for i := range r.Rows {
		if err := writeRowOfMinute(w, r, &r.Rows[i]); err != nil {
			return err
		}
	}
	writeUnasked(w, r.HasServing, r.HasLedger)
	if r.Bill != nil {
		return writeBill(w, r.Bill)
	}
	return nil
}

func writeRowOfMinute(w io.Writer, r *explain.RowReport, row *explain.RowOfMinute) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nrow\tcampaign %q, ad %q, device %q, country %q\n", row.CampaignID, row.AdID, row.DeviceType, row.CountryCode)
	if r.HasServing {
		fmt.Fprintf(table, "  before\t%s\n", rowText(row.Provisional))
	}
	fmt.Fprintf(table, "  by the batch\t%s\n", rowText(row.ByBatch))
	if r.HasServing {
		fmt.Fprintf(table, "  after\t%s\n", rowText(row.Final))
		fmt.Fprintf(table, "  difference\t%+d clicks, %s\n", row.DeltaClicks, money.Micros(row.DeltaMicros))
	}
	for _, d := range row.Causes {
		fmt.Fprintf(table, "    %s\t%+d clicks, %s\n", d.Cause, d.DeltaClicks, money.Micros(d.DeltaMicros))
	}
	fmt.Fprintf(table, "  clicks, batch\t%s\n", countsText(row.Batch))
	fmt.Fprintf(table, "  clicks, stream\t%s\n", countsText(row.Stream))
	if err := table.Flush(); err != nil {
		return err
	}
	for i := range row.Clicks {
		k := &row.Clicks[i]
		fmt.Fprintf(table, "    %s\tpartition %d, offset %d\t%q\t%s\tbatch: %s\tstream: %s\t%s\n", k.EventTime.Format(millis), k.Partition, k.Offset,
			k.ClickID, money.Micros(k.CostMicros), withRules(k.Batch, k.BatchRules), withRules(k.Stream, k.StreamRules), k.Cause)
	}
	if row.IsTruncated {
		fmt.Fprintf(table, "    only the first %d are shown\n", len(row.Clicks))
	}
	return table.Flush()
}

func countsText(counts map[string]int64) string {
	if len(counts) == 0 {
		return "none in the archive"
	}
	verdicts := make([]string, 0, len(counts))
	for verdict, n := range counts {
		verdicts = append(verdicts, fmt.Sprintf("%d %s", n, verdict))
	}
	slices.SortFunc(verdicts, func(a, b string) int {
		_, a, _ = strings.Cut(a, " ")
		_, b, _ = strings.Cut(b, " ")
		return strings.Compare(a, b)
	})
	return strings.Join(verdicts, ", ")
}

func withRules(verdict string, rules []string) string {
	if len(rules) == 0 {
		return verdict
	}
	return verdict + ", by " + strings.Join(rules, ", ")
}
