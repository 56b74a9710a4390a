package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/jobs/generate"
	"github.com/clickledger/clickledger/schemas"
)

// generateFlags are those of generate alone; they describe one log, not an installation.
type generateFlags struct {
	seed                    uint64
	clicks                  int64
	rate, impressions       float64
	start                   string
	advertisers, ads, users int
	gateway                 string
	brokenToLog, pace       bool
	roundRobin, concurrency int
	dryRun                  bool
}

func newGenerateCommand(a *app) *cobra.Command {
	f := &generateFlags{}
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Write a seeded, realistic click log, or drive it through a gateway",
		Long: `Generates clicks of every kind: ordinary ones, duplicates, attackers around the
velocity limits, bots, late and stale ones, and records that cannot be decoded.
The same seed and flags give the same log, byte for byte, if --start is given.
With --impressions the ads are also shown: before each click to the one who
clicks, and to others, who do not. The clicks stay the same.

Without --gateway all records are written to the topics clicks and impressions,
each with its own time. With it they go over HTTP, as clicks and impressions of
the moment in which they are sent.`,
		Example: `  clickledger generate --log kafka://127.0.0.1:9092 --clicks 1000000 --rate 20000
  clickledger generate --log kafka://127.0.0.1:9092 --seed 7 --start 2026-11-01T00:00:00Z --json
  clickledger generate --gateway http://127.0.0.1:8080 --clicks 5000 --rate 500 --impressions 4 --pace`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runGenerate(a, cmd, f) },
	}
	defaults := loadgen.DefaultConfig(1, 100_000, 0, 1000)
	flags := cmd.Flags()
	flags.Uint64Var(&f.seed, "seed", defaults.Seed, "the log's seed")
	flags.Int64Var(&f.clicks, "clicks", defaults.Clicks, "number of clicks, of all kinds together")
	flags.Float64Var(&f.rate, "rate", defaults.RatePerSecond, "clicks received in a second of the log's time")
	flags.Float64Var(&f.impressions, "impressions", 0, "impressions for each click, about; 0 is none")
	flags.StringVar(&f.start, "start", "", "`time` of the first record, RFC 3339 (default now)")
	flags.IntVar(&f.advertisers, "advertisers", defaults.Advertisers, "number of advertisers")
	flags.IntVar(&f.ads, "ads", defaults.Ads, "number of ads")
	flags.IntVar(&f.users, "users", defaults.Users, "number of users")
	flags.StringVar(&f.gateway, "gateway", "", "`url` of a gateway to send the clicks to, http://host:port")
	flags.BoolVar(&f.brokenToLog, "broken-to-log", false, "with --gateway: write what HTTP cannot carry to the log")
	flags.BoolVar(&f.pace, "pace", false, "give every record at its time, not as fast as it is taken")
	flags.IntVar(&f.roundRobin, "round-robin", 0, "spread the clicks over so many partitions in turn, not by key")
	flags.IntVar(&f.concurrency, "concurrency", generate.DefaultConcurrency, "connections to the gateway")
	addSettings(cmd, "gateway.key", "gateway.salts")
	addKafka(cmd)
	addDryRun(cmd, &f.dryRun)
	return cmd
}

func (f *generateFlags) config(cfg *config.Config) (generate.Config, error) {
	var startMillis int64
	if f.start != "" {
		start, err := time.Parse(time.RFC3339, f.start)
		if err != nil {
			return generate.Config{}, config.Problems{{
				Key: "start", Source: "flag --start", Value: f.start, Expected: "a time like 2026-11-01T00:00:00Z",
			}}
		}
		startMillis = start.UnixMilli()
	}
	load := loadgen.DefaultConfig(f.seed, f.clicks, startMillis, f.rate)
	load.Advertisers, load.Ads, load.Users, load.ImpressionsPerClick = f.advertisers, f.ads, f.users, f.impressions
	job := generate.Config{
		Load: load, Gateway: f.gateway, BrokenToLog: f.brokenToLog, Pace: f.pace,
		Key: schemas.ClickKey(cfg.Gateway.Key), Salts: cfg.Gateway.Salts,
		RoundRobin: f.roundRobin, Concurrency: f.concurrency,
	}
	if err := job.Validate(); err != nil {
		return job, &config.ExitError{Code: config.ExitUsage, Err: err}
	}
	return job, nil
}

func runGenerate(a *app, cmd *cobra.Command, f *generateFlags) (err error) {
	var require []string
	if f.gateway == "" || f.brokenToLog {
		require = []string{"log"}
	}
	cfg, logger, err := a.begin(cmd, require...)
	if err != nil {
		return err
	}
	job, err := f.config(cfg)
	if err != nil {
		return err
	}
	if f.dryRun {
		plan := generatePlan{DryRun: true, Records: f.clicks, Seed: f.seed, Target: f.gateway}
		if plan.Target == "" {
			plan.Target = cfg.Log
		}
		return a.result(plan, plan.writeText)
	}
	deps := generate.Deps{Logger: logger, Progress: a.line.Report}
	if len(require) > 0 {
		producer, err := openProducer(cmd.Context(), cfg.Log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, producer.Close()) }()
		deps.Producer = producer
	}
	result, err := generate.Run(cmd.Context(), job, deps)
	if err != nil {
		return err
	}
	return a.result(result, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d clicks in %s (%.0f/s): %d to the log, %d through the gateway, %d left out, %d refused; %d impressions\n",
			result.Records, time.Duration(result.ElapsedMillis)*time.Millisecond, result.RecordsPerSecond,
			result.LogRecords, result.Redirected, result.Skipped, result.Refused, result.LogImpressions+result.Impressions)
		return err
	})
}

type generatePlan struct {
	DryRun  bool   `json:"dry_run"`
	Records int64  `json:"records"`
	Seed    uint64 `json:"seed"`
	Target  string `json:"target"`
}

func (p generatePlan) writeText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "dry run: would send %d records of seed %d to %s\n", p.Records, p.Seed, p.Target)
	return err
}

func openProducer(ctx context.Context, url string) (*kafkaio.Producer, error) {
	brokers, err := kafkaio.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return kafkaio.OpenProducer(ctx, brokers, kafkaio.ProducerOptions{})
}
