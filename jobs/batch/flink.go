package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/clickledger/clickledger/internal/flinkrunner"
	"github.com/clickledger/clickledger/internal/objectstore"
)

// Runners of the job.
const (
	Prism = "prism"
	Flink = "flink"
)

// FlinkConfig says where and how the job runs with the runner flink; see flinkrunner.Config.
type FlinkConfig struct {
	REST, JobService string
	// Environment of the DoFns: loopback, process or external. Default loopback.
	Environment                 string
	Boot, WorkerDir, WorkerPool string
	Parallelism                 int
}

func (c FlinkConfig) withDefaults() FlinkConfig {
	if c.Environment == "" {
		c.Environment = string(flinkrunner.Loopback)
	}
	return c
}

// runner is Flink's batch mode: the job ends by itself, and begins anew where a part of it fails.
func (c FlinkConfig) runner(name string, logger *slog.Logger) flinkrunner.Config {
	return flinkrunner.Config{REST: c.REST, JobService: c.JobService, Name: name, Environment: flinkrunner.Environment(c.Environment),
		Boot: c.Boot, WorkerDir: c.WorkerDir, WorkerPool: c.WorkerPool, Parallelism: c.Parallelism, Batch: true, Logger: logger}
}

// validateRunner reports every problem with where the transforms run.
func (c Config) validateRunner() []error {
	switch c.Runner {
	case "", Prism:
		return nil
	case Flink:
	default:
		return []error{fmt.Errorf("batch.runner: %q is not supported; use %s or %s", c.Runner, Prism, Flink)}
	}
	var problems []error
	flink := c.Flink.withDefaults()
	if err := flink.runner("name", nil).Validate(); err != nil {
		problems = append(problems, fmt.Errorf("flink: %w", err))
	}
	switch {
	case c.Exchange != "":
		if err := objectstore.Validate(c.Exchange); err != nil {
			problems = append(problems, fmt.Errorf("batch.exchange: %w", err))
		}
	case flink.Environment != string(flinkrunner.Loopback):
		problems = append(problems, fmt.Errorf("batch.exchange: workers of the environment %s are other processes; "+
			"it has to name a place that they reach as well, file:///dir or s3://bucket/prefix", flink.Environment))
	}
	return problems
}

// jobName is the name of the day's jobs in the cluster, where one of a name runs.
func (c Config) jobName() string { return "clickledger-batch-" + c.Date.Format("2006-01-02") }

// openExchange opens the place that the workers share with this process, and refuses a day that is
// being judged already.
func (s *session) openExchange(ctx context.Context) error {
	if s.cfg.Runner != Flink {
		return nil
	}
	switch running, err := flinkrunner.AttachByName(ctx, s.cfg.Flink.runner(s.cfg.jobName(), s.deps.Logger), s.cfg.jobName()); {
	case err == nil:
		return fmt.Errorf("batch: job %s is running already: %s", s.cfg.jobName(), running.ID)
	case !errors.Is(err, flinkrunner.ErrNotFound):
		return fmt.Errorf("batch: %w", err)
	}
	s.exchange = exchange{URL: s.cfg.Exchange, Prefix: s.cfg.RunID + "/", S3: objectstore.CurrentS3()}
	if s.exchange.URL == "" {
		s.exchange.URL = "file://" + filepath.ToSlash(filepath.Join(s.dir, "exchange"))
	}
	var err error
	s.shared, err = s.exchange.open(ctx)
	return err
}

// closeExchange removes what the run has left there.
func (s *session) closeExchange() error {
	if s.shared == nil {
		return nil
	}
	return s.exchange.clear(context.Background(), s.shared)
}

// onFlink runs a pipeline on the cluster to its end. A job that does not come to it is cancelled.
func (s *session) onFlink(ctx context.Context, p *beam.Pipeline) error {
	job, err := flinkrunner.Submit(ctx, s.cfg.Flink.runner(s.cfg.jobName(), s.deps.Logger), p)
	if err != nil {
		return err
	}
	defer job.Close()
	if err := job.Wait(ctx); err != nil {
		return errors.Join(err, job.Cancel(context.WithoutCancel(ctx)))
	}
	return nil
}
