package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/history"
)

func newJobsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List the runs of the batch and the settlements of the ledger",
		Long: `Lists every whole result of the batch that the archive holds, by day and revision,
and where a ledger is configured its newest settlements. Nothing is written.`,
		Example: `  clickledger jobs --archive file:///data/archive
  clickledger jobs --config clickledger.yaml --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runJobs(a, cmd) },
	}
	addSettings(cmd, "ledger_password_file")
	addS3(cmd)
	return cmd
}

func runJobs(a *app, cmd *cobra.Command) error {
	cfg, _, err := a.begin(cmd, "archive")
	if err != nil {
		return err
	}
	if err := archiveExists(cfg.Archive); err != nil {
		return err
	}
	var asked history.Ledger
	if cfg.Ledger != "" {
		ledger, err := openLedger(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer ledger.Close()
		asked = ledger
	}
	report, err := history.List(cmd.Context(), cfg.Archive, asked)
	if err != nil {
		return err
	}
	return a.result(report, func(w io.Writer) error { return writeJobs(w, report) })
}

func writeJobs(w io.Writer, r *history.Report) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "batch: %d results\n", len(r.Runs))
	if len(r.Runs) > 0 {
		fmt.Fprint(table, "day\trev\trecords\tbillable\tduplicates\tinvalid\tdead\tspend\tpolicy\n")
	}
	for _, run := range r.Runs {
		if run.IsChanged {
			fmt.Fprintf(table, "%s\t%d\tits manifest was changed, or is of an earlier version\n", run.Date, run.Revision)
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%.12s\n", run.Date, run.Revision, run.Records, run.BillableClicks,
			run.DuplicateClicks, run.InvalidClicks, run.DeadLetters, money.Micros(run.SpendMicros), run.PolicyHash)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !r.HasLedger {
		_, err := fmt.Fprint(w, "\nno ledger is configured: settlements are not shown\n")
		return err
	}
	fmt.Fprintf(table, "\nledger: %d settlements\n", len(r.Settlements))
	if len(r.Settlements) > 0 {
		fmt.Fprint(table, "id\tday\tposted at\tentries\tamount\tadvertisers\theld\tin suspense\tpolicy\trun\n")
	}
	for _, s := range r.Settlements {
		fmt.Fprintf(table, "%d\t%s\t%s\t%d\t%s %s\t%d\t%d\t%d\t%.12s\t%s\n", s.SettlementID, s.Date, s.PostedAt.Format(time.RFC3339),
			s.PostedEntries, money.Micros(s.DeltaMicros), s.Currency, s.Advertisers, s.HeldAdvertisers, s.SuspenseAdvertisers,
			s.PolicyHash, s.RunID)
	}
	return table.Flush()
}
