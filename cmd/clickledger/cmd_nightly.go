package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/nightly"
)

func newNightlyCommand(a *app) *cobra.Command {
	var open, dryRun bool
	cmd := &cobra.Command{
		Use:   "nightly",
		Short: "Settle every day that got new records since it was last settled",
		Long: `Does what has to be done every night, by cron or another timer: it verifies the
archive, and for each day that got new records since it was last settled, oldest
first, runs batch and reconcile --post. Clicks that are shipped late have their old
day settled again, which posts the difference. A day stays open for --delay after
its end, so that late clicks are in.

It may be killed at any point and started again: the next run completes what is not
done, and nothing is posted twice. Where one runs on this ledger already, a second
says so and exits with 0.

The summary is printed, and sent to a webhook if nightly.webhook_file names a file
with its https:// URL. If that fails it is logged, and changes nothing else.

Exit codes: 0 all is settled, there was nothing to do, or another run is at work;
1 a day failed or its layers are not complete yet, and running it again is safe;
2 bad usage or configuration; 3 a day is held or its gate is shut. Other days are
settled all the same.`,
		Example: `  clickledger nightly --config clickledger.yaml
  clickledger nightly --config clickledger.yaml --dry-run
  clickledger nightly --config clickledger.yaml --delay 6h --json
  clickledger nightly --config clickledger.yaml --open`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runNightly(a, cmd, open, dryRun) },
	}
	cmd.Flags().BoolVar(&open, "open", false, "settle days too that are still open, as far as both layers are complete")
	addGroup(cmd, "nightly")
	addGroup(cmd, "reconcile")
	addSettings(cmd, "ledger_password_file", "serving_password_file", "ledger_currency")
	addGroup(cmd, "batch")
	addSettings(cmd, "flink.rest", "flink.job_service", "flink.environment", "flink.boot", "flink.worker_pool", "flink.worker_dir", "flink.parallelism")
	addKafka(cmd)
	addS3(cmd)
	addGroup(cmd, "duckdb")
	addDryRun(cmd, &dryRun)
	return cmd
}

func runNightly(a *app, cmd *cobra.Command, open, dryRun bool) (err error) {
	cfg, logger, err := a.begin(cmd, "archive", "serving", "ledger")
	if err != nil {
		return err
	}
	job := nightly.Config{Batch: batchConfig(cfg), Reconcile: reconcileConfig(cfg), Delay: cfg.Nightly.Delay,
		Open: open, DryRun: dryRun, RunID: runID("nightly")}
	var hook *nightly.Webhook
	if cfg.Nightly.WebhookFile != "" {
		if hook, err = nightly.ReadWebhook(cfg.Nightly.WebhookFile); err == nil {
			hook.Timeout = cfg.Nightly.WebhookTimeout
		}
	}
	if err := errors.Join(err, job.Validate()); err != nil {
		return &config.ExitError{Code: config.ExitUsage, Err: err}
	}
	if err := archiveExists(cfg.Archive); err != nil {
		return err
	}
	report, err := settleNights(cmd.Context(), a, cfg, logger, job)
	if report == nil {
		report = &nightly.Report{RunID: job.RunID, DryRun: dryRun, ArchiveProblems: []string{}, Days: []nightly.Day{},
			Text: "nightly: nothing could be settled"}
	}
	if err != nil {
		report.Error = err.Error()
	}
	if hook != nil && !dryRun && !report.IsRunningAlready {
		if err := hook.Send(cmd.Context(), report); err != nil {
			logger.Warn("summary was not sent, what was settled stands", "job", "nightly", "error", err)
		}
	}
	if printErr := a.result(report, func(w io.Writer) error { return writeNightly(w, report) }); printErr != nil || err != nil {
		return errors.Join(err, printErr)
	}
	return unsettled(report)
}

// settleNights opens the stores and runs the job.
func settleNights(ctx context.Context, a *app, cfg *config.Config, logger *slog.Logger, job nightly.Config) (report *nightly.Report, err error) {
	ledger, err := openLedger(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer ledger.Close()
	deps := nightly.Deps{Ledger: ledger, Logger: logger, Progress: a.line.Report}
	if !job.DryRun {
		store, err := openServing(ctx, cfg, logger, false)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		deps.Serving = store
	}
	return nightly.Run(ctx, job, deps)
}

// unsettled is the error of a run that left days that are over unsettled.
func unsettled(r *nightly.Report) error {
	switch {
	case r.FailedDays > 0:
		return errors.New(r.Text)
	case r.HeldDays > 0:
		return &config.ExitError{Code: config.ExitDiscrepancies, Err: errors.New(r.Text)}
	}
	return nil
}

func writeNightly(w io.Writer, r *nightly.Report) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Days) > 0 {
		fmt.Fprint(table, "day\tstate\tbillable\tspend\tentries\tposted\twhy\n")
	}
	for i := range r.Days {
		d := &r.Days[i]
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%d\t%s\t%s\n", d.Date, d.State, d.BillableClicks, money.Micros(d.SpendMicros),
			d.PostedEntries, signed(d.PostedMicros), d.Reason)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, problem := range r.ArchiveProblems {
		fmt.Fprintf(w, "archive: %s\n", problem)
	}
	for i := range r.Days {
		d := &r.Days[i]
		if len(d.FailedChecks) > 0 {
			fmt.Fprintf(w, "%s: the gate is shut by %s\n", d.Date, strings.Join(d.FailedChecks, ", "))
		}
		if n := len(d.HeldAdvertisers); n > 0 {
			fmt.Fprintf(w, "%s: %d advertisers are held: %q\n", d.Date, n, d.HeldAdvertisers[:min(n, 20)])
		}
		if d.Error != "" {
			fmt.Fprintf(w, "%s: %s\n", d.Date, d.Error)
		}
	}
	_, err := fmt.Fprintln(w, r.Text)
	return err
}
