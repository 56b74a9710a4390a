package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
)

func newStreamCommand(a *app) *cobra.Command {
	var untilEnd, detach, dryRun bool
	cmd := &cobra.Command{
		Use:   "stream",
		Short: "Run the speed layer: judge clicks off the log, publish rows within seconds",
		Long: `Runs the clicks pipeline on Beam, off the topic clicks: duplicates, invalid
traffic, one-minute sums. Changed rows go to the serving store as provisional
totals, dead letters and invalid clicks to clicks.dlq, and the verdict of every
click that is not billed to clicks.decisions.

After any end, kill -9 included, the next start replays the log from the
published watermark less the horizon, and publishes only what lies after it.

With --topic impressions the impressions of the gateway are counted, as clicks that
cost nothing, into ad_impressions_hourly; --topic both counts both in one process.

With --dedup redis://… the click ids lie in Redis, where a worker that takes over
finds them. While Redis is away the stream waits, or goes on by its own state.

With --runner flink the same pipeline runs on a Flink cluster, with checkpoints. The
transforms run in this process, or with --flink-environment process in workers that
the TaskManagers start; the serving store must then be ClickHouse. Ctrl-C stops the
job with a savepoint and says where it is: --flink-savepoint goes on from there.
With --detach the job is left to the cluster; stream status, savepoint and cancel
mind it.

Runs until Ctrl-C and prints its totals.`,
		Example: `  clickledger stream --log kafka://127.0.0.1:9092 --serving duckdb:///data/serving.duckdb
  clickledger stream --config clickledger.yaml --until-end --json
  clickledger stream --config clickledger.yaml --topic both
  clickledger stream --config clickledger.yaml --runner flink --flink-parallelism 2
  clickledger stream --config clickledger.yaml --runner flink --flink-environment process --detach`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runStream(a, cmd, streamFlags{untilEnd, detach, dryRun})
		},
	}
	addSettings(cmd, "serving_password_file", "dedup_on_failure", "dedup_prefix", "dedup_password_file")
	addGroup(cmd, "stream")
	addGroup(cmd, "flink")
	addKafka(cmd)
	cmd.Flags().BoolVar(&untilEnd, "until-end", false, "read to the end of the log, publish all of it, and end")
	cmd.Flags().BoolVar(&detach, "detach", false, "on Flink: leave the job to the cluster once it runs")
	addDryRun(cmd, &dryRun)
	cmd.AddCommand(newStreamStatusCommand(a), newStreamSavepointCommand(a), newStreamCancelCommand(a))
	return cmd
}

// runID names one run of a job: its start and its process.
func runID(job string) string {
	return fmt.Sprintf("%s-%s-%d", job, time.Now().UTC().Format("20060102T150405.000"), os.Getpid())
}

// streamFlags are the flags of the command that are no settings.
type streamFlags struct{ untilEnd, detach, dryRun bool }

func runStream(a *app, cmd *cobra.Command, flags streamFlags) (err error) {
	cfg, logger, err := a.begin(cmd, "log", "serving")
	if err != nil {
		return err
	}
	if flags.dryRun {
		plan, err := planLog(cmd.Context(), cfg.Log, schemas.TopicClicks)
		if err != nil {
			return err
		}
		return a.result(plan, plan.writeText)
	}
	store, err := openServing(cmd.Context(), cfg, logger, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	deps := stream.Deps{
		Serving: store,
		Logger:  logger,
		Progress: func(s stream.Stats) {
			if s.Records > 0 {
				a.line.Report("judged clicks", s.Judged(), 0)
			}
		},
	}
	job := streamConfig(cfg, flags.untilEnd)
	if job.Runner == stream.Flink {
		if cfg.Stream.Topic != schemas.TopicClicks {
			return &config.ExitError{Code: config.ExitUsage, Err: errors.New("stream.topic: impressions are counted on prism alone: run a second stream with --topic impressions")}
		}
		if job.Flink, err = flinkConfig(cfg, flags.detach); err != nil {
			return err
		}
		return runStreamOnFlink(cmd.Context(), a, job, deps)
	}
	if cfg.Stream.Topic == topicImpressions {
		job = job.OfImpressions()
	}
	var total streamTotals
	group, ctx := errgroup.WithContext(cmd.Context())
	group.Go(func() (err error) {
		total.Stats, err = stream.Run(ctx, job, deps)
		return err
	})
	if cfg.Stream.Topic == topicBoth {
		total.Impressions = &stream.Stats{}
		group.Go(func() (err error) {
			*total.Impressions, err = stream.Run(ctx, job.OfImpressions(), stream.Deps{Serving: store, Logger: logger})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return a.result(total, total.write)
}

// Values of stream.topic beside clicks.
const topicImpressions, topicBoth = schemas.TopicImpressions, "both"

// streamTotals are the totals of what was counted: of clicks, or of impressions alone.
type streamTotals struct {
	stream.Stats

	Impressions *stream.Stats `json:"impressions,omitempty"` // with both
}

func (t *streamTotals) write(w io.Writer) error {
	if err := writeTotals(w, &t.Stats); err != nil || t.Impressions == nil {
		return err
	}
	if _, err := io.WriteString(w, "impressions: "); err != nil {
		return err
	}
	return writeTotals(w, t.Impressions)
}

func writeTotals(w io.Writer, total *stream.Stats) error {
	_, err := fmt.Fprintf(w, "%d records: %d billable, %d duplicates, %d invalid, %d late, %d dead letters; %d rows published\n",
		total.Records, total.Billable, total.Duplicates, total.Invalid, total.Late, total.DeadLetters, total.Rows)
	return err
}

func streamConfig(cfg *config.Config, untilEnd bool) stream.Config {
	return stream.Config{
		Log:             cfg.Log,
		Runner:          cfg.Stream.Runner,
		Policy:          cfg.BillingPolicy(),
		RunID:           runID("stream"),
		Shards:          cfg.Stream.Shards,
		PublishInterval: cfg.Stream.PublishInterval,
		PollWait:        cfg.Stream.PollWait,
		PollRecords:     cfg.Stream.PollRecords,
		InFlightClicks:  cfg.Stream.InFlightClicks,
		UntilEnd:        untilEnd,
		Dedup: stream.Dedup{URL: cfg.Dedup, PasswordFile: cfg.DedupPasswordFile, Prefix: cfg.DedupPrefix,
			OnFailure: cfg.DedupOnFailure},
	}
}
