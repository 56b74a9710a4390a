package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas"
)

func newBatchCommand(a *app) *cobra.Command {
	f := &batchFlags{}
	cmd := &cobra.Command{
		Use:   "batch",
		Short: "Run the batch layer: judge a day again, or several, from the archive alone",
		Long: `Judges the clicks of one billing day by the same transforms as the stream, in
bounded memory, from the Parquet files of the archive. It needs neither broker
nor database.

With --from and --to it judges every day of a period, oldest first, each as by
itself: in --out each has a folder of its own, dt=DAY. It ends at the first day that
fails, with exit code 1, and says where to go on; with --resume it keeps the newest
result of a day that a run would come to again, and says so.

The result is minutes.parquet, decisions.parquet, dead_letters.parquet and
run.json, the manifest with the digests of all inputs and outputs: in the archive as the day's next revision, results/dt=DAY/rev=N/, or in
the folder --out. It is there whole or not at all, and a function of the archive
and the policy: the same input gives the same bytes.

With --runner flink the transforms run on a Flink cluster, all slices at once, and
give the same bytes: in this process, or with --flink-environment process in workers
that the TaskManagers start. Clicks are read and the result is written here all the
same; --exchange names a place that those workers reach as well.`,
		Example: `  clickledger batch --archive file:///data/archive --date 2026-11-01
  clickledger batch --archive file:///data/archive --policy policy.yaml --date 2026-11-01 --out result --json
  clickledger batch --config clickledger.yaml --date 2026-11-01 --dry-run
  clickledger batch --config clickledger.yaml --from 2026-10-01 --to 2026-10-31 --resume
  clickledger batch --config clickledger.yaml --date 2026-11-01 --runner flink --flink-parallelism 2
  clickledger batch --config clickledger.yaml --date 2026-11-01 --runner flink --flink-environment process --exchange s3://clicks/exchange`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBatch(a, cmd, f) },
	}
	addPeriod(cmd, &f.period)
	cmd.Flags().BoolVar(&f.resume, "resume", false, "of a period, keep results that a run would come to again")
	cmd.Flags().StringVar(&f.out, "out", "", "`folder` for the result (default: the archive)")
	addGroup(cmd, "batch")
	addSettings(cmd, "flink.rest", "flink.job_service", "flink.environment", "flink.boot", "flink.worker_pool", "flink.worker_dir", "flink.parallelism")
	addS3(cmd)
	addGroup(cmd, "duckdb")
	addDryRun(cmd, &f.dryRun)
	return cmd
}

// batchFlags are the flags of batch that are no settings.
type batchFlags struct {
	period

	out            string
	resume, dryRun bool
}

func runBatch(a *app, cmd *cobra.Command, f *batchFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.from != "" {
		return runBackfill(a, cmd, f)
	}
	cfg, logger, day, err := a.beginDay(cmd, f.date)
	if err != nil {
		return err
	}
	job := batchConfig(cfg)
	job.Date, job.Out = day, f.out
	if err := job.Validate(); err != nil {
		return &config.ExitError{Code: config.ExitUsage, Err: err}
	}
	if f.dryRun {
		plan, err := batch.Explore(cmd.Context(), job)
		if err != nil {
			return err
		}
		return a.result(plan, func(w io.Writer) error { return writeBatchPlan(w, &plan) })
	}
	result, err := batch.Run(cmd.Context(), job, batch.Deps{Logger: logger, Progress: a.line.Report})
	if err != nil {
		return err
	}
	return a.result(result, func(w io.Writer) error { return writeBatch(w, &result) })
}

// batchConfig is the job's configuration, for a day and a place that the caller sets.
func batchConfig(cfg *config.Config) batch.Config {
	return batch.Config{
		Archive:     cfg.Archive,
		Policy:      cfg.BillingPolicy(),
		RunID:       runID("batch"),
		Shards:      cfg.Batch.Shards,
		SliceClicks: cfg.Batch.SliceClicks,
		MemoryLimit: memoryLimit(cfg.Batch.MemoryLimit),
		Threads:     cfg.Batch.Threads,
		TempDir:     cfg.Batch.TempDir,
		Version:     version,
		Runner:      cfg.Batch.Runner,
		Exchange:    cfg.Batch.Exchange,
		Flink: batch.FlinkConfig{REST: cfg.Flink.REST, JobService: cfg.Flink.JobService, Environment: cfg.Flink.Environment, Boot: cfg.Flink.Boot,
			WorkerDir: cfg.Flink.WorkerDir, WorkerPool: cfg.Flink.WorkerPool, Parallelism: cfg.Flink.Parallelism},
	}
}

func writeBatch(w io.Writer, r *batch.Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%s\trecords\t%d\t\n", r.Date, r.Records)
	fmt.Fprintf(table, "\tbillable\t%d\t\n", r.BillableClicks)
	fmt.Fprintf(table, "\tduplicates\t%d\t\n", r.DuplicateClicks)
	fmt.Fprintf(table, "\tinvalid\t%d\t\n", r.InvalidClicks)
	for _, rule := range schemas.RuleNames {
		if n := r.InvalidByRule[rule]; n > 0 {
			fmt.Fprintf(table, "\t%s\t%d\t\n", rule, n)
		}
	}
	fmt.Fprintf(table, "\tdead letters\t%d\t\n", r.DeadLetters)
	fmt.Fprintf(table, "\tadvertisers\t%d\t\n", r.Advertisers)
	fmt.Fprintf(table, "\tspend\t%s\t\n", money.Micros(r.SpendMicros))
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d rows, policy %s\nresult in %s\n", r.Rows, r.PolicyHash, r.Out)
	return err
}

func writeBatchPlan(w io.Writer, p *batch.Plan) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, list := range [][]batch.PlanFile{p.Clicks, p.DeadLetters} {
		for _, f := range list {
			fmt.Fprintf(table, "%d rows\t%s\t  %s\n", f.Rows, humanize.IBytes(uint64(max(f.SizeBytes, 0))), f.Key)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "dry run: %d clicks in %d files (%s) would be judged in %d slices; %d other click files may hold copies\nresult to %s\n",
		p.Rows, len(p.Clicks), humanize.IBytes(uint64(max(p.SizeBytes, 0))), p.Slices, p.OtherFiles, p.Out)
	return err
}
