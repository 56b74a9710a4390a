package parity

import (
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/flinkrunner"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas/policy"
)

// batchConfig is the batch's part of a configuration for the cluster.
func (f *flink) batchConfig(t *testing.T, environment flinkrunner.Environment) batch.Config {
	t.Helper()
	c := f.config(t, environment)
	cfg := batch.Config{Runner: batch.Flink, Flink: batch.FlinkConfig{REST: c.REST, JobService: c.JobService, Environment: c.Environment,
		Boot: c.Boot, WorkerDir: c.WorkerDir, Parallelism: c.Parallelism}}
	if environment != flinkrunner.Loopback {
		cfg.Exchange = "file://" + t.TempDir()
	}
	return cfg
}

// judged runs the batch into a folder of its own, and returns its result and the digests of its files.
func (b *bed) judged(date time.Time, cfg batch.Config) (batch.Result, map[string]string) {
	b.t.Helper()
	cfg.Archive, cfg.Date, cfg.Policy, cfg.Out, cfg.RunID = b.archive, date, b.policy, b.t.TempDir(), b.runID("batch")
	begin := time.Now()
	result, err := batch.Run(b.ctx, cfg, batch.Deps{Logger: slog.New(slog.NewTextHandler(b.t.Output(), nil))})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Logf("%s, %s: %+v", cfg.Runner, time.Since(begin).Round(time.Second), result)
	result.Out = ""
	return result, digests(b.t, cfg.Out)
}

// TestFlinkBatch judges the same archives on prism and on Flink: all files are equal to the byte.
func TestFlinkBatch(t *testing.T) {
	f := startFlink(t)
	for _, tc := range []struct {
		environment flinkrunner.Environment
		log         seeded
		policy      *policy.Policy
		cfg         batch.Config
	}{
		{flinkrunner.Loopback, seeded{seed: 1, clicks: 12_000, rate: 1.8}, policy.Default(), batch.Config{}},
	} {
		t.Run(fmt.Sprintf("%s, seed %d", tc.environment, tc.log.seed), func(t *testing.T) {
			b := newBed(t, logPartitions, tc.policy)
			b.produce(tc.log.log(t))
			b.keep("clicks")
			for _, date := range []time.Time{day, day.AddDate(0, 0, 1)} {
				onFlink := f.batchConfig(t, tc.environment)
				onFlink.Shards, onFlink.SliceClicks = tc.cfg.Shards, tc.cfg.SliceClicks
				want, files := b.judged(date, batch.Config{})
				got, gotFiles := b.judged(date, onFlink)
				if len(files) != 4 || !maps.Equal(gotFiles, files) {
					t.Errorf("%s: got %v, want %v", date.Format(time.DateOnly), gotFiles, files)
				}
				if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
					t.Errorf("%s: got %+v, want %+v", date.Format(time.DateOnly), got, want)
				}
			}
		})
	}
}
