package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/jobs/demo"
	"github.com/clickledger/clickledger/jobs/standalone"
	"github.com/clickledger/clickledger/schemas/serving"
)

func newDemoCommand(a *app) *cobra.Command {
	var cfg demo.Config
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole loop on this machine: clicks in, a reconciled ledger out",
		Long: `Starts an embedded broker, a PostgreSQL and a serving store in a work folder,
drives clicks of every kind, and their impressions, through the gateway over
HTTP, streams both, archives the clicks, judges the day again in batch,
reconciles, posts to the ledger, and posts again to show that nothing is left
to post. Impressions of those who do not click go straight to the log.

A place that is configured (log, archive, serving, ledger) is used instead of an
embedded part; topics and tables that are missing are made. It may hold earlier
runs: every run then has a seed, and so advertisers and clicks, of its own, and
figures of a day include the earlier runs. Log and archive must belong together.

Takes about a minute. The folder stays, with report.json in it; the parts are
stopped. Exit code 3 if anything is left unexplained.`,
		Example: `  clickledger demo
  clickledger demo --dir /tmp/clickledger-demo --clicks 300000 --rate 6000 --seed 7
  clickledger demo --config scripts/services.yaml
  clickledger demo --json | jq '.days[0].reconcile.causes'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(a, cmd, cfg) },
	}
	addSettings(cmd, "ledger_password_file", "serving_password_file")
	addS3(cmd)
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "work folder, new or empty (default: a new one in the system's temporary folder)")
	cmd.Flags().Int64Var(&cfg.Clicks, "clicks", demo.DefaultClicks, "number of clicks")
	cmd.Flags().Float64Var(&cfg.Rate, "rate", demo.DefaultRate, "clicks a second")
	cmd.Flags().Float64Var(&cfg.Impressions, "impressions", demo.DefaultImpressions, "impressions for each click, about; 0 is none")
	cmd.Flags().Uint64Var(&cfg.Seed, "seed", demo.DefaultSeed, "seed of the clicks (on a configured log: by the clock)")
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
	if cfg.Impressions < 0 || cfg.Impressions > loadgen.ImpressionsMax {
		return &config.ExitError{Code: config.ExitUsage, Err: fmt.Errorf("--impressions is 0 to %d", loadgen.ImpressionsMax)}
	}
	cfg.Policy, cfg.PolicyFile, cfg.RunID, cfg.Version = settings.BillingPolicy(), settings.Policy, runID("demo"), version
	cfg.Stream = streamConfig(settings, false)
	if cfg.Places, err = demoPlaces(settings, logger); err != nil {
		return err
	}
	if settings.Log != "" && !cmd.Flags().Changed("seed") {
		cfg.Seed = uint64(time.Now().UnixMilli()) // clicks of a former run would be its duplicates
	}
	report, err := demo.Run(cmd.Context(), cfg, demo.Deps{Logger: quiet(logger), Progress: a.line.Report})
	if err != nil {
		return err
	}
	if err := a.result(report, func(w io.Writer) error { return errors.Join(report.Write(w), writeNext(w, report, settings)) }); err != nil {
		return err
	}
	if !report.IsClean {
		return &config.ExitError{Code: config.ExitDiscrepancies, Err: errors.New("the reconciliation is not clean: see " + report.Dir)}
	}
	return nil
}

// writeNext says how to see the numbers on the page, by commands that can be copied. The embedded parts are
// started again for that.
func writeNext(w io.Writer, report *demo.Report, cfg *config.Config) error {
	file, program := filepath.Join(report.Dir, standalone.ConfigFile), os.Args[0]
	serve := program + " standalone --dir " + report.Dir
	if cfg.Log != "" || cfg.Serving != "" {
		serve = program + " api --config " + file
	}
	page := "http://" + cfg.API.Listen + "/"
	if n := len(report.Days); n > 0 && len(report.Days[n-1].Reconcile.Top) > 0 {
		page += "#advertiser=" + url.QueryEscape(report.Days[n-1].Reconcile.Top[0].AdvertiserID)
	}
	_, err := fmt.Fprintf(w, "dashboard     %s\n  served by   %s\n  sign in by  %s token --admin --config %s\n", page, serve, program, file)
	return err
}

// demoPlaces are the real services that are configured.
func demoPlaces(cfg *config.Config, logger *slog.Logger) (places standalone.Places, err error) {
	places = standalone.Places{Log: cfg.Log, Archive: cfg.Archive, Serving: cfg.Serving, Settings: map[string]string{}}
	if places.LedgerDSN, err = cfg.LedgerURL(); err != nil {
		return places, err
	}
	places.OpenStore = func(ctx context.Context) (serving.Store, error) {
		if err := migrateServing(ctx, cfg, quiet(logger)); err != nil {
			return nil, err
		}
		return openServing(ctx, cfg, quiet(logger), true)
	}
	// Whoever works beside the demo reaches the places as it does. The ledger's URL has its password.
	for _, s := range cfg.Settings() {
		key, _ := config.Find(s.Key)
		reaches := s.Key == "serving_password_file" || key.Group() == "s3" || key.Group() == "duckdb" || key.Group() == "kafka"
		if !reaches || key.Secret || s.Value == "" || s.Source == "default" {
			continue
		}
		if key.Kind.Type == "file" {
			if s.Value, err = filepath.Abs(s.Value); err != nil {
				return places, err
			}
		}
		places.Settings[s.Key] = s.Value
	}
	return places, nil
}
