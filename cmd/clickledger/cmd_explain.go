package main

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/jobs/analyst"
	"github.com/clickledger/clickledger/jobs/explain"
)

// explainFlags are the flags of explain.
type explainFlags struct{ advertiser, minute string }

func newExplainCommand(a *app) *cobra.Command {
	var flags explainFlags
	cmd := &cobra.Command{
		Use:   "explain [CLICK_ID]",
		Short: "Say why a click was billed, or why not: from the log to the ledger",
		Long: `Lists every record that carries the click_id: its position, its bytes, its object in
the archive and how its fields were read; the verdicts of stream and batch on
each, with the evidence, looked up again: for velocity the identity and its clicks
in the window, for a duplicate the first copy; the row of its minute before and
after the reconciliation; and the ledger's entries for its advertiser and day with
their place in the chain of hashes.

With --advertiser and --minute it explains the rows of an advertiser's minute:
their clicks by verdict, the rows of both layers, the difference and its cause.

Log, serving store and ledger are asked where they are configured. Nothing is
written. What the archive has no record of is exit code 1.`,
		Example: `  clickledger explain --config clickledger.yaml 7c9e6679-7425-40de-944b-e07fc1f90ae7
  clickledger explain --archive file:///data/archive click-17 --json
  clickledger explain --config clickledger.yaml --advertiser adv-7 --minute 2026-11-01T12:34Z`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runExplain(a, cmd, args, flags) },
	}
	cmd.Flags().StringVar(&flags.advertiser, "advertiser", "", "the `id` of the advertiser whose rows to explain")
	cmd.Flags().StringVar(&flags.minute, "minute", "", "the `minute` of these rows, 2026-11-01T12:34Z")
	addSettings(cmd, "ledger_password_file", "serving_password_file", "batch.memory_limit", "batch.threads", "batch.temp_dir")
	addKafka(cmd)
	addS3(cmd)
	return cmd
}

func runExplain(a *app, cmd *cobra.Command, args []string, flags explainFlags) (err error) {
	cfg, logger, err := a.begin(cmd, "archive")
	if err != nil {
		return err
	}
	job := explain.Config{Config: analystConfig(cfg), Policy: cfg.BillingPolicy(), AdvertiserID: flags.advertiser}
	if job.ClickID, job.Minute, err = flags.subject(args); err != nil {
		return err
	}
	if err := archiveExists(cfg.Archive); err != nil {
		return err
	}
	deps, done, err := explainDeps(cmd, cfg, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if job.ClickID == "" {
		report, err := explain.RunRow(cmd.Context(), job, deps)
		if err != nil {
			return err
		}
		return a.result(report, func(w io.Writer) error { return writeExplainedRows(w, report) })
	}
	report, err := explain.Run(cmd.Context(), job, deps)
	if err != nil {
		return err
	}
	return a.result(report, func(w io.Writer) error { return writeExplained(w, report) })
}

// subject is what to explain: a click, or else an advertiser's minute.
func (f explainFlags) subject(args []string) (clickID string, minute time.Time, err error) {
	if len(args) == 1 && f == (explainFlags{}) && args[0] != "" {
		return args[0], time.Time{}, nil
	}
	if len(args) > 0 || f.advertiser == "" || f.minute == "" {
		return "", time.Time{}, config.Problems{{Key: "CLICK_ID", Source: "the argument",
			Expected: "the click_id of a click, or else --advertiser and --minute"}}
	}
	for _, form := range []string{"2006-01-02T15:04Z07:00", time.RFC3339} {
		if minute, err = time.Parse(form, f.minute); err == nil && minute.Equal(minute.Truncate(time.Minute)) {
			return "", minute.UTC(), nil
		}
	}
	return "", time.Time{}, config.Problems{{Key: "minute", Source: "flag --minute", Value: f.minute,
		Expected: "a whole minute like 2026-11-01T12:34Z"}}
}

// explainDeps opens what is configured. A log that does not answer is left out: the archive says most.
func explainDeps(cmd *cobra.Command, cfg *config.Config, logger *slog.Logger) (deps explain.Deps, done func() error, err error) {
	var closers []func() error
	done = func() error {
		var err error
		for _, closer := range closers {
			err = errors.Join(err, closer())
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, done())
		}
	}()
	if cfg.Log != "" {
		log, end, err := explain.OpenLog(cmd.Context(), cfg.Log)
		if err != nil {
			deps.LogProblem = err.Error()
		} else {
			deps.Log = log
			closers = append(closers, func() error { end(); return nil })
		}
	}
	if cfg.Serving != "" {
		store, err := openServing(cmd.Context(), cfg, logger, false)
		if err != nil {
			return deps, done, err
		}
		closers = append(closers, store.Close)
		deps.Serving = store
	}
	if cfg.Ledger != "" {
		ledger, err := openLedger(cmd.Context(), cfg)
		if err != nil {
			return deps, done, err
		}
		closers = append(closers, func() error { ledger.Close(); return nil })
		deps.Ledger = ledger
	}
	return deps, done, nil
}

func analystConfig(cfg *config.Config) analyst.Config {
	return analyst.Config{
		Archive: cfg.Archive, MemoryLimit: memoryLimit(cfg.Batch.MemoryLimit),
		Threads: cfg.Batch.Threads, TempDir: cfg.Batch.TempDir,
	}
}
