package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/jobs/ledger"
)

func newLedgerVerifyCommand(a *app) *cobra.Command {
	var head string
	var quick bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Recompute the ledger, its chain and its tie to the batch, and name what is wrong",
		Long: `Computes everything again from the rows: debits and credits, balances, roundings,
idempotency keys, payload hashes, the hash of every row, the chain of links, and the
seals of closed months. Where the archive is configured, each day is compared with
the result of the batch that it was posted from, the files of that with their
digests, and the archive's objects that it was made from with theirs; --quick leaves
the objects out. A row that was changed or is missing is named by its table and key,
a file by its place.

Rows that were cut off the end with their links leave no trace in the ledger; --head
takes a hash that ledger head has printed, and asks whether the chain still has it.
The exit code is 3 if anything is wrong. Nothing is written.`,
		Example: `  clickledger ledger verify --config clickledger.yaml
  clickledger ledger verify --config clickledger.yaml --head 51ae…e7 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLedgerVerify(a, cmd, head, quick) },
	}
	cmd.Flags().StringVar(&head, "head", "", "the `hash` of a link that the chain must have")
	cmd.Flags().BoolVar(&quick, "quick", false, "do not read the archive's objects")
	addLedger(cmd)
	addSettings(cmd, "batch.memory_limit", "batch.threads", "batch.temp_dir")
	addS3(cmd)
	return cmd
}

func runLedgerVerify(a *app, cmd *cobra.Command, head string, quick bool) error {
	cfg, book, err := a.beginLedger(cmd, nil)
	if err != nil {
		return err
	}
	defer book.Close()
	if cfg.Archive != "" {
		if err := archiveExists(cfg.Archive); err != nil {
			return err
		}
	}
	v, err := ledger.Verify(cmd.Context(), ledger.VerifyConfig{Config: analystConfig(cfg), Head: head, SkipObjects: quick}, book)
	if err != nil {
		return asUsage(err)
	}
	if err := a.result(v, func(w io.Writer) error { return writeVerification(w, v, cfg.Archive != "") }); err != nil {
		return err
	}
	if !v.IsSound {
		return &config.ExitError{Code: config.ExitDiscrepancies, Err: fmt.Errorf("the ledger is not sound")}
	}
	return nil
}

func writeVerification(w io.Writer, v *ledger.Verification, hasArchive bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, check := range v.Checks {
		state := "ok"
		if check.Violations > 0 {
			state = fmt.Sprintf("%d WRONG", check.Violations)
		}
		fmt.Fprintf(table, "%s\t%s\n", check.Name, state)
		for _, sample := range check.Samples {
			fmt.Fprintf(table, "\t  %s\n", sample)
		}
	}
	if hasArchive {
		state := fmt.Sprintf("ok, %d days, made from %d objects", v.TiedDays, v.ComparedObjects)
		if v.DifferenceCount > 0 {
			state = fmt.Sprintf("%d WRONG", v.DifferenceCount)
		}
		fmt.Fprintf(table, "batch_results\t%s\n", state)
		for _, difference := range v.Differences {
			fmt.Fprintf(table, "\t  %s\n", difference)
		}
		if len(v.UntiedDays) > 0 {
			fmt.Fprintf(table, "\t  not compared, their result is elsewhere: %d days from %s\n", len(v.UntiedDays), v.UntiedDays[0])
		}
	}
	if v.IsHeadFound != nil {
		state := fmt.Sprintf("ok, link %d", v.HeadLinkID)
		if !*v.IsHeadFound {
			state = "WRONG: the chain has no such link"
		}
		fmt.Fprintf(table, "head\t%s\n", state)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return writeHead(w, v.Head)
}

type closeResult struct {
	DryRun bool `json:"dry_run"`
	ledger.Closed
}

func newLedgerCloseCommand(a *app) *cobra.Command {
	var month string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "close",
		Short: "Seal the days of a month and close it for good",
		Long: `Seals every day of a month that is over, each with a hash of its entries in order and
of the day before, and closes it: nothing can be booked into it again. What is
received or judged later about its days is booked on the first open day, as an
adjustment or credit that names the day and the entry that it corrects.

Every day of the month has to be settled to its end by reconcile --post, one without
clicks too: then it is known that there are none. Else the days are named and nothing
is done. Who is held of a day stands in no one's way: the charge becomes an
adjustment. Months are closed in order. Closing one again does nothing.`,
		Example: `  clickledger ledger close --config clickledger.yaml --month 2026-10 --dry-run
  clickledger ledger close --config clickledger.yaml --month 2026-10`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLedgerClose(a, cmd, month, dryRun) },
	}
	addMonth(cmd, &month)
	require(cmd, "month")
	addLedger(cmd)
	addDryRun(cmd, &dryRun)
	return cmd
}

func runLedgerClose(a *app, cmd *cobra.Command, text string, dryRun bool) error {
	month, problems := parseMonth(text)
	_, book, err := a.beginLedger(cmd, problems)
	if err != nil {
		return err
	}
	defer book.Close()
	closed, err := ledger.Close(cmd.Context(), book, ledgerpg.CloseRequest{Month: month, RunID: runID("close"), Now: time.Now(), DryRun: dryRun})
	if err != nil {
		return err
	}
	result, period := closeResult{DryRun: dryRun, Closed: *closed}, closed.Period
	return a.result(result, func(w io.Writer) error {
		done := "closed"
		switch {
		case period.WasClosed:
			done = "was closed before, on " + period.ClosedAt.Format(time.RFC3339)
		case dryRun:
			done = "would be closed"
		}
		_, err := fmt.Fprintf(w, "%s %s: %d entries, %s\n%s\n", period.Month, done, period.Entries, period.AmountMicros, period.PeriodHash)
		for _, day := range closed.Held {
			fmt.Fprintf(w, "held of %s: %s\n", day.BillingDate, strings.Join(day.Advertisers, ", "))
		}
		return err
	})
}
