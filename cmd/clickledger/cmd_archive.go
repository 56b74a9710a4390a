package main

import (
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/schemas"
)

func newArchiveCommand(a *app) *cobra.Command {
	var untilEnd, dryRun bool
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Write the log to the archive: Kafka to Parquet, one file an offset range",
		Long: `Reads the topics clicks, clicks.decisions and clicks.dlq and writes them to the
archive as Parquet: valid clicks, dead letters, decisions, and the whole records
of what is not billed, each file one contiguous offset range of one partition. A file ends at an hour's change, at a number of
records or bytes, or after an interval.

The listing of the archive is the checkpoint: a start continues after the last
contiguous offset. It is safe to kill the job at any instant, and to run two.

Runs until Ctrl-C, writes what it holds then, and prints its totals.`,
		Example: `  clickledger archive --log kafka://127.0.0.1:9092 --archive file:///data/archive
  clickledger archive --config clickledger.yaml --until-end --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runArchive(a, cmd, untilEnd, dryRun) },
	}
	addGroup(cmd, "archiver")
	addKafka(cmd)
	addS3(cmd)
	cmd.Flags().BoolVar(&untilEnd, "until-end", false, "archive what the log holds now, and end")
	addDryRun(cmd, &dryRun)
	cmd.AddCommand(newArchiveVerifyCommand(a))
	return cmd
}

func runArchive(a *app, cmd *cobra.Command, untilEnd, dryRun bool) error {
	cfg, logger, err := a.begin(cmd, "log", "archive")
	if err != nil {
		return err
	}
	if dryRun {
		plan, err := planLog(cmd.Context(), cfg.Log, schemas.TopicClicks, schemas.TopicDecisions, schemas.TopicDLQ)
		if err != nil {
			return err
		}
		return a.result(plan, plan.writeText)
	}
	total, err := archive.Run(cmd.Context(), archive.Config{
		Log:              cfg.Log,
		Archive:          cfg.Archive,
		Policy:           cfg.BillingPolicy(),
		RunUntilEnd:      untilEnd,
		FlushInterval:    cfg.Archiver.FlushInterval,
		MaxRecords:       cfg.Archiver.MaxRecords,
		MaxBufferedBytes: int(cfg.Archiver.MaxBuffered),
	}, archive.Deps{
		Logger:   logger,
		Progress: func(p archive.Progress) { a.line.Report("archived records", p.Records, 0) },
	})
	if err != nil {
		return err
	}
	return a.result(total, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d records in %d files (%s): %d clicks, %d dead letters, %d decisions, %d records of clicks.dlq\n",
			total.Records, total.Files, humanize.IBytes(uint64(max(total.Bytes, 0))),
			total.Clicks, total.DeadLetters, total.Decisions, total.DLQ)
		return err
	})
}
