package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/flinkrunner"
	"github.com/clickledger/clickledger/jobs/stream"
)

// servingPassword is the variable with the password of ClickHouse.
const servingPassword = "CLICKHOUSE_PASSWORD"

// flinkConfig is what the configuration says of the cluster, and to workers in other processes. A
// password is not part of it: they read the same file, or the same variable.
func flinkConfig(cfg *config.Config, detach bool) (stream.FlinkConfig, error) {
	f := cfg.Flink
	flink := stream.FlinkConfig{REST: f.REST, JobService: f.JobService, Name: f.Job, Environment: f.Environment, Boot: f.Boot,
		WorkerDir: f.WorkerDir, WorkerPool: f.WorkerPool, Parallelism: f.Parallelism, CheckpointInterval: f.CheckpointInterval,
		MaxBundleSize: f.MaxBundleSize, MaxBundleTime: f.MaxBundleTime, Savepoint: f.Savepoint, SavepointDir: f.SavepointDir, Detach: detach}
	if cfg.Kafka.TLS == "on" || cfg.Kafka.SASL != "off" {
		flink.Login = stream.Login{TLS: cfg.Kafka.TLS == "on", CAFile: cfg.Kafka.CAFile, CertFile: cfg.Kafka.CertFile, KeyFile: cfg.Kafka.KeyFile}
		if cfg.Kafka.SASL != "off" {
			flink.Login.Mechanism, flink.Login.User = cfg.Kafka.SASL, cfg.Kafka.User
			flink.Login.PasswordFile, flink.Login.PasswordVariable = cfg.Kafka.PasswordFile, kafkaPassword
		}
	}
	if !strings.HasPrefix(cfg.Serving, "clickhouse:") {
		return flink, nil
	}
	full, err := cfg.ServingURL()
	if err != nil {
		return flink, err
	}
	u, err := url.Parse(full)
	if err != nil {
		return flink, fmt.Errorf("serving: the url is malformed")
	}
	if name := u.User.Username(); name != "" {
		u.User = url.User(name)
	} else {
		u.User = nil
	}
	flink.Store = stream.Place{URL: u.String(), PasswordFile: cfg.ServingPasswordFile, PasswordVariable: servingPassword}
	return flink, nil
}

func runStreamOnFlink(ctx context.Context, a *app, job stream.Config, deps stream.Deps) error {
	if err := job.Validate(); err != nil {
		return &config.ExitError{Code: config.ExitUsage, Err: err}
	}
	result, err := stream.RunOnFlink(ctx, job, deps)
	if err != nil {
		return err
	}
	return a.result(result, func(w io.Writer) error {
		switch {
		case job.Flink.Detach:
			_, err = fmt.Fprintf(w, "job %s runs: %s\n", result.Name, result.JobID)
			return err
		case result.Savepoint != "":
			if _, err := fmt.Fprintf(w, "stopped; go on with --flink-savepoint %s\n", result.Savepoint); err != nil {
				return err
			}
		}
		return writeTotals(w, &result.Stats)
	})
}

// flinkID is the form of the ID of a job in the cluster.
var flinkID = regexp.MustCompile("^[0-9a-f]{32}$")

// newFlinkCommand makes a command on one job of the cluster.
func newFlinkCommand(a *app, cmd *cobra.Command, run func(ctx context.Context, cfg *config.Config, job *flinkrunner.Job) error) *cobra.Command {
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, logger, err := a.begin(cmd)
		if err != nil {
			return err
		}
		runner := flinkrunner.Config{REST: cfg.Flink.REST, Logger: logger}
		name := cfg.Flink.Job
		if len(args) > 0 {
			name = args[0]
		}
		attach := flinkrunner.AttachByName
		if flinkID.MatchString(name) {
			attach = flinkrunner.Attach
		}
		job, err := attach(cmd.Context(), runner, name)
		if err != nil {
			return err
		}
		defer job.Close()
		return run(cmd.Context(), cfg, job)
	}
	addSettings(cmd, "flink.rest", "flink.job")
	return cmd
}

// streamStatus is the result of stream status.
type streamStatus struct {
	flinkrunner.Status

	Counted stream.Stats `json:"counted"`
}

func newStreamStatusCommand(a *app) *cobra.Command {
	cmd := newFlinkCommand(a, &cobra.Command{
		Use:   "status [JOB]",
		Short: "Say how the stream fares on Flink: state, checkpoints, load, counters",
		Long: `Asks Flink for a job, by its name (default: flink.job) or ID. The counters are some
seconds old and count from the job's last restart on. With log and serving it also
says how many records are not published yet, and up to when rows are.`,
		Example: `  clickledger stream status
  clickledger stream status --flink-rest http://flink:8081 --json`,
	}, func(ctx context.Context, cfg *config.Config, job *flinkrunner.Job) error {
		status, err := job.Status(ctx)
		if err != nil {
			return err
		}
		counted, err := stream.CountersOf(ctx, job)
		if err != nil {
			return err
		}
		if err := addProgress(ctx, cfg, &counted); err != nil {
			return err
		}
		return a.result(streamStatus{status, counted}, func(w io.Writer) error { return writeStatus(w, &status, &counted) })
	})
	addSettings(cmd, "serving_password_file")
	addKafka(cmd)
	return cmd
}

// addProgress adds what the log and the serving store say, where both are configured.
func addProgress(ctx context.Context, cfg *config.Config, counted *stream.Stats) (err error) {
	if cfg.Log == "" || cfg.Serving == "" {
		return nil
	}
	store, err := openServing(ctx, cfg, slog.New(slog.DiscardHandler), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	progress, err := store.LoadProgress(ctx)
	if err != nil {
		return err
	}
	counted.WatermarkMillis = progress.WatermarkMillis
	counted.LagRecords, err = stream.Lag(ctx, cfg.Log, progress)
	return err
}

func writeStatus(w io.Writer, s *flinkrunner.Status, counted *stream.Stats) error {
	fmt.Fprintf(w, "job %s %s: %s for %s, %d restarts\n", s.Name, s.ID, s.State, s.Duration.Round(time.Second), s.Restarts)
	c := s.Checkpoints
	fmt.Fprintf(w, "checkpoints: %d done, %d failed, %d restored; the last took %s, %d bytes: %s\n", c.Completed, c.Failed, c.Restored,
		c.LastDuration.Round(time.Millisecond), c.LastBytes, c.LastPlace)
	if s.Exception != "" {
		fmt.Fprintf(w, "last failure: %s\n", s.Exception)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "operators\tstate\tin\tout\tbusy\tbackpressure\n")
	for _, v := range s.Vertices {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%.0f%%\t%.0f%%\n", v.Name, v.State, v.RecordsIn, v.RecordsOut, 100*v.BusyShare, 100*v.BackpressureShare)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if counted.LagRecords != stream.UnknownLag {
		fmt.Fprintf(w, "%d records are not published yet; rows are complete to %s\n", counted.LagRecords,
			time.UnixMilli(counted.WatermarkMillis).UTC().Format(time.RFC3339))
	}
	return writeTotals(w, counted)
}

// stopped is the result of stream savepoint and stream cancel.
type stopped struct {
	JobID     string `json:"flink_job_id"`
	Job       string `json:"job"`
	Savepoint string `json:"savepoint,omitempty"`
}

func (s stopped) writeText(w io.Writer) error {
	text := "cancelled"
	if s.Savepoint != "" {
		text = "savepoint " + s.Savepoint
	}
	_, err := fmt.Fprintf(w, "job %s %s: %s\n", s.Job, s.JobID, text)
	return err
}

func newStreamSavepointCommand(a *app) *cobra.Command {
	var stop bool
	cmd := newFlinkCommand(a, &cobra.Command{
		Use:   "savepoint [JOB]",
		Short: "Have Flink store the state of the stream, and say where",
		Long: `Stores the state of a job below flink.savepoint_dir, or the cluster's own folder. With
--stop the job ends with that. stream --flink-savepoint PLACE goes on from there.`,
		Example: `  clickledger stream savepoint
  clickledger stream savepoint --stop --json`,
	}, func(ctx context.Context, cfg *config.Config, job *flinkrunner.Job) error {
		take := job.Savepoint
		if stop {
			take = job.Stop
		}
		place, err := take(ctx, cfg.Flink.SavepointDir)
		if err != nil {
			return err
		}
		result := stopped{job.ID, job.Name, place}
		return a.result(result, result.writeText)
	})
	addSettings(cmd, "flink.savepoint_dir")
	cmd.Flags().BoolVar(&stop, "stop", false, "end the job with the savepoint")
	return cmd
}

func newStreamCancelCommand(a *app) *cobra.Command {
	return newFlinkCommand(a, &cobra.Command{
		Use:   "cancel [JOB]",
		Short: "End the stream on Flink at once, without a savepoint",
		Long: `Ends a job. The next start replays the log from the published watermark less the
horizon, or goes on from the last checkpoint, whose place stream status names.`,
		Example: `  clickledger stream cancel
  clickledger stream cancel clickledger-stream`,
	}, func(ctx context.Context, _ *config.Config, job *flinkrunner.Job) error {
		if err := job.Cancel(ctx); err != nil {
			return err
		}
		result := stopped{JobID: job.ID, Job: job.Name}
		return a.result(result, result.writeText)
	})
}
