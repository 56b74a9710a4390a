package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/jobs/demo"
)

func newDemoCommand(a *app) *cobra.Command {
	var cfg demo.Config
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole loop on this machine: clicks in, a reconciled ledger out",
		Long: `Starts an embedded broker, a PostgreSQL and a serving store in a work folder,
drives clicks of every kind through the gateway over HTTP, streams and archives
them, judges the day again in batch, reconciles, posts to the ledger, and posts
again to show that nothing is left to post.

Takes about a minute. The folder stays, with report.json in it; the parts are
stopped. Exit code 3 if anything is left unexplained.`,
		Example: `  clickledger demo
  clickledger demo --dir /tmp/clickledger-demo --clicks 300000 --rate 6000 --seed 7
  clickledger demo --json | jq '.days[0].reconcile.causes'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(a, cmd, cfg) },
	}
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "work folder, new or empty (default: a new one in the system's temporary folder)")
	cmd.Flags().Int64Var(&cfg.Clicks, "clicks", demo.DefaultClicks, "number of clicks")
	cmd.Flags().Float64Var(&cfg.Rate, "rate", demo.DefaultRate, "clicks a second")
	cmd.Flags().Uint64Var(&cfg.Seed, "seed", demo.DefaultSeed, "seed of the clicks")
	return cmd
}

func runDemo(a *app, cmd *cobra.Command, cfg demo.Config) (err error) {
	settings, logger, err := a.begin(cmd)
	if err != nil {
		return err
	}
	if cfg.Clicks < 1000 || cfg.Clicks > 10_000_000 || cfg.Rate < 100 || cfg.Rate > 1_000_000 {
		return &config.ExitError{Code: config.ExitUsage, Err: errors.New("--clicks is 1000 to 10000000, --rate 100 to 1000000")}
	}
	if cfg.Dir == "" {
		if cfg.Dir, err = os.MkdirTemp("", "clickledger-demo-"); err != nil {
			return err
		}
		// PostgreSQL may run as another user, who must be able to reach its folder in this one.
		if err := os.Chmod(cfg.Dir, 0o755); err != nil {
			return err
		}
	} else if entries, err := os.ReadDir(cfg.Dir); err == nil && len(entries) > 0 {
		return &config.ExitError{Code: config.ExitUsage, Err: errors.New("--dir: " + cfg.Dir + " is not empty")}
	}
	cfg.Policy, cfg.PolicyFile, cfg.RunID, cfg.Version = settings.BillingPolicy(), settings.Policy, runID("demo"), version
	report, err := demo.Run(cmd.Context(), cfg, demo.Deps{Logger: quiet(logger), Progress: a.line.Report})
	if err != nil {
		return err
	}
	if err := a.result(report, report.Write); err != nil {
		return err
	}
	if !report.IsClean {
		return &config.ExitError{Code: config.ExitDiscrepancies, Err: errors.New("the reconciliation is not clean: see " + report.Dir)}
	}
	return nil
}
