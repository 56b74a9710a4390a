package parity

import (
	"log/slog"
	"maps"
	"reflect"
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

// viral is a log of clicks that velocity may all hit: one address on one ad, in one bucket and one shard.
func viral() *clickLog {
	l := &clickLog{}
	l.add(burst(50_000, noon, 7, event{id: "viral", ip: "203.0.113.9"})...)
	l.add(burst(50, noon+minute, 7, event{id: "viral", ip: "203.0.113.9", cost: 0.5})...) // copies, with another cost
	return l
}

// TestFlinkBatch judges the same archives on prism and on Flink: all files are equal to the byte.
func TestFlinkBatch(t *testing.T) {
	f := startFlink(t)
	tomorrow := day.AddDate(0, 0, 1)
	for _, tc := range []struct {
		name        string
		environment flinkrunner.Environment
		log         *clickLog
		policy      *policy.Policy
		cfg         batch.Config
		date        time.Time
	}{
		{"loopback, seed 1", flinkrunner.Loopback, seeded{seed: 1, clicks: 12_000, rate: 1.8}.log(t), policy.Default(), batch.Config{}, tomorrow},
		{"loopback, many slices, seed 5", flinkrunner.Loopback, seeded{seed: 5, clicks: 50_000, rate: 7.5, isLate: true, isScattered: true}.log(t),
			parsePolicy(t, twoRevisions), batch.Config{Shards: 7, SliceClicks: 500}, tomorrow},
		{"loopback, viral", flinkrunner.Loopback, viral(), policy.Default(), batch.Config{}, day},
		{"process, seed 4", flinkrunner.Process, seeded{seed: 4, clicks: 12_000, rate: 1.8, isLate: true}.log(t), policy.Default(), batch.Config{}, tomorrow},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBed(t, logPartitions, tc.policy)
			b.produce(tc.log)
			b.keep("clicks")
			onFlink := f.batchConfig(t, tc.environment)
			onFlink.Shards, onFlink.SliceClicks = tc.cfg.Shards, tc.cfg.SliceClicks
			want, files := b.judged(tc.date, batch.Config{})
			got, filesOfFlink := b.judged(tc.date, onFlink)
			sameResult(t, got, want)
			sameFiles(t, filesOfFlink, files)
		})
	}
}

func sameResult(t *testing.T, got, want batch.Result) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func sameFiles(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(want) != 4 || !maps.Equal(got, want) {
		t.Errorf("got digests %v\nwant %v", got, want)
	}
}
