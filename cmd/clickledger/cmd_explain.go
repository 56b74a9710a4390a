package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/analyst"
	"github.com/clickledger/clickledger/jobs/explain"
)

func newExplainCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain CLICK_ID",
		Short: "Say why a click was billed, or why not: from the log to the ledger",
		Long: `Lists every record that carries the click_id, with its position, its object in the
archive and its fields; the verdicts of stream and batch on each, with the rules
that hit and the copy that came first; the row of its minute in the serving store,
provisional and final; and the ledger's entries for its advertiser and day.

The serving store and the ledger are asked where they are configured. Nothing is
written. A click_id that the archive has no record of is exit code 1.`,
		Example: `  clickledger explain --config clickledger.yaml 7c9e6679-7425-40de-944b-e07fc1f90ae7
  clickledger explain --archive file:///data/archive click-17 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runExplain(a, cmd, args[0]) },
	}
	addSettings(cmd, "ledger_password_file", "serving_password_file", "batch.memory_limit", "batch.threads", "batch.temp_dir")
	addS3(cmd)
	return cmd
}

func runExplain(a *app, cmd *cobra.Command, clickID string) (err error) {
	cfg, logger, err := a.begin(cmd, "archive")
	if err != nil {
		return err
	}
	if clickID == "" {
		return config.Problems{{Key: "CLICK_ID", Source: "the argument", Expected: "the click_id of a click"}}
	}
	if err := archiveExists(cfg.Archive); err != nil {
		return err
	}
	var deps explain.Deps
	if cfg.Serving != "" {
		store, err := openServing(cmd.Context(), cfg, logger, false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		deps.Serving = store
	}
	if cfg.Ledger != "" {
		ledger, err := openLedger(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer ledger.Close()
		deps.Ledger = ledger
	}
	job := explain.Config{Config: analystConfig(cfg), ClickID: clickID, Policy: cfg.BillingPolicy()}
	report, err := explain.Run(cmd.Context(), job, deps)
	if err != nil {
		return err
	}
	return a.result(report, func(w io.Writer) error { return writeExplain(w, report) })
}

func analystConfig(cfg *config.Config) analyst.Config {
	return analyst.Config{
		Archive: cfg.Archive, MemoryLimit: memoryLimit(cfg.Batch.MemoryLimit),
		Threads: cfg.Batch.Threads, TempDir: cfg.Batch.TempDir,
	}
}

func writeExplain(w io.Writer, r *explain.Report) error {
	fmt.Fprintf(w, "%s: %s\n", r.ClickID, r.Answer)
	for i := range r.Copies {
		if err := writeCopy(w, r, i); err != nil {
			return err
		}
	}
	if r.IsTruncated {
		fmt.Fprintf(w, "\nonly the first %d copies are shown\n", len(r.Copies))
	}
	if !r.HasServing {
		fmt.Fprint(w, "\nno serving store is configured: rows are not shown\n")
	}
	if !r.HasLedger {
		fmt.Fprint(w, "\nno ledger is configured: entries are not shown\n")
	}
	for _, b := range r.Bills {
		fmt.Fprintf(w, "\nledger, advertiser %s, %s\n", b.AdvertiserID, b.Date)
		if len(b.Entries) == 0 {
			fmt.Fprint(w, "  no entry\n")
			continue
		}
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, e := range b.Entries {
			suspense := ""
			if e.IsSuspense {
				suspense = "in suspense"
			}
			fmt.Fprintf(table, "  entry %d\t%s\t%s %s\tday: %s, %d clicks\t%s\t%s\t%s\n", e.EntryID, e.Kind,
				money.Micros(e.AmountMicros), e.Currency, money.Micros(e.DayMicros), e.DayClicks,
				e.PostedAt.Format(time.RFC3339), e.RunID, suspense)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func writeCopy(w io.Writer, r *explain.Report, i int) error {
	c := &r.Copies[i]
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\ncopy %d of %d\tpartition %d, offset %d\n", i+1, len(r.Copies), c.Partition, c.Offset)
	fmt.Fprintf(table, "  archive\t%s\n", cmp.Or(c.Object, "-"))
	fmt.Fprintf(table, "  received\t%s\n", c.ReceivedAt.Format(time.RFC3339Nano))
	if c.EventTime != nil {
		fmt.Fprintf(table, "  clicked\t%s\n", c.EventTime.Format(time.RFC3339Nano))
	}
	fmt.Fprintf(table, "  billing day\t%s\n", c.BillingDate)
	if f := c.Fields; f != nil {
		cost := money.Micros(f.CostMicros).String()
		if c.EventTime == nil {
			cost = "none: a dead letter"
		}
		fmt.Fprintf(table, "  cost\t%s\n", cost)
		for _, field := range [][2]string{
			{"advertiser", f.AdvertiserID}, {"campaign", f.CampaignID}, {"ad", f.AdID}, {"user", f.UserID},
			{"address", f.IPAddress}, {"user agent", f.UserAgent}, {"device", f.DeviceType}, {"country", f.CountryCode},
		} {
			if field[1] != "" {
				fmt.Fprintf(table, "  %s\t%q\n", field[0], field[1])
			}
		}
	}
	fmt.Fprintf(table, "  stream\t%s\n", verdictText(&c.Stream))
	fmt.Fprintf(table, "  batch\t%s\n", verdictText(&c.Batch))
	if r.HasServing {
		fmt.Fprintf(table, "  provisional row\t%s\n", rowText(c.Provisional))
		fmt.Fprintf(table, "  final row\t%s\n", rowText(c.Final))
	}
	return table.Flush()
}

func verdictText(v *explain.Verdict) string {
	if v.Verdict == "" {
		return "not judged: " + v.Basis
	}
	text := v.Verdict
	switch {
	case len(v.Rules) > 0:
		text += ", by " + strings.Join(v.Rules, ", ")
	case v.Reason != "":
		text += ", " + v.Reason
	case v.Winner != nil:
		text += fmt.Sprintf(" of partition %d, offset %d", v.Winner.Partition, v.Winner.Offset)
	}
	if v.IsConflict {
		text += ", with another ad or cost"
	}
	if v.IsLate {
		text += ", late"
	}
	return text + " (" + v.Basis + ")"
}

func rowText(r *explain.Row) string {
	if r == nil {
		return "none"
	}
	return fmt.Sprintf("%s: %d clicks, %d billable, %d duplicates, %d invalid, %s", r.Minute.Format(time.RFC3339),
		r.RawClicks, r.UniqueClicks, r.DuplicateClicks, r.InvalidClicks, money.Micros(r.SpendMicros))
}
