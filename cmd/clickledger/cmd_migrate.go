package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/ledgerpg"
)

type migrateResult struct {
	DryRun bool     `json:"dry_run"`
	Places []string `json:"places"` // redacted URLs, in the order in which they were brought up to date
}

func newMigrateCommand(a *app) *cobra.Command {
	var partitions int
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring ledger, serving store and topics up to date",
		Long: `Creates or updates what is missing: the tables of the ledger, the tables of the
serving store and the topics of the log, each where its URL is configured. What
is up to date stays as it is: running it again changes nothing.`,
		Example: `  clickledger migrate --config clickledger.yaml
  clickledger migrate --ledger postgres://clickledger@db.example/ledger
  clickledger migrate --log kafka://broker:9092 --partitions 12 --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runMigrate(a, cmd, partitions, dryRun) },
	}
	addSettings(cmd, "ledger_password_file", "serving_password_file")
	addKafka(cmd)
	cmd.Flags().IntVar(&partitions, "partitions", 4, "partitions of a topic that is created")
	addDryRun(cmd, &dryRun)
	return cmd
}

func runMigrate(a *app, cmd *cobra.Command, partitions int, dryRun bool) error {
	cfg, logger, err := a.begin(cmd)
	if err != nil {
		return err
	}
	if partitions < 1 || partitions > 10_000 {
		return config.Problems{{
			Key: "partitions", Source: "flag --partitions", Value: fmt.Sprint(partitions),
			Expected: "a whole number from 1 to 10000",
		}}
	}
	result := migrateResult{DryRun: dryRun}
	for _, step := range []struct {
		url     string
		migrate func(context.Context, *config.Config, *slog.Logger) error
	}{
		{cfg.Ledger, migrateLedger},
		{cfg.Serving, migrateServing},
		{cfg.Log, func(ctx context.Context, cfg *config.Config, _ *slog.Logger) error {
			return createTopics(ctx, cfg, partitions)
		}},
	} {
		if step.url == "" {
			continue
		}
		if !dryRun {
			if err := step.migrate(cmd.Context(), cfg, logger); err != nil {
				return err
			}
		}
		result.Places = append(result.Places, config.Redact(step.url))
	}
	if len(result.Places) == 0 {
		return config.Problems{{Key: "ledger, serving, log", Expected: "the URL of at least one of them"}}
	}
	return a.result(result, func(w io.Writer) error {
		done := "up to date"
		if dryRun {
			done = "would be brought up to date"
		}
		for _, place := range result.Places {
			if _, err := fmt.Fprintf(w, "%s %s\n", place, done); err != nil {
				return err
			}
		}
		return nil
	})
}

func migrateLedger(ctx context.Context, cfg *config.Config, _ *slog.Logger) error {
	url, err := cfg.LedgerURL()
	if err != nil {
		return err
	}
	return ledgerpg.Migrate(ctx, url)
}

func createTopics(ctx context.Context, cfg *config.Config, partitions int) error {
	brokers, err := kafkaio.ParseURL(cfg.Log)
	if err != nil {
		return err
	}
	return kafkaio.EnsureTopics(ctx, brokers, partitions)
}
