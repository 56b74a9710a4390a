package parity

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/devflink"
	"github.com/clickledger/clickledger/internal/flinkrunner"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas/policy"
)

// written are the objects that workers have put into a folder of the exchange.
func written(t *testing.T, exchange, folder string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(strings.TrimPrefix(exchange, "file://"), func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() && filepath.Base(filepath.Dir(path)) == folder {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// batchTrial is a batch on Flink with work of some seconds in many bundles, and what prism makes of it.
type batchTrial struct {
	*bed

	cfg    batch.Config
	want   batch.Result
	files  map[string]string
	cancel context.CancelFunc
	done   chan error
	got    batch.Result
}

func newBatchTrial(t *testing.T, f *flink, environment flinkrunner.Environment) *batchTrial {
	t.Helper()
	b := newBed(t, logPartitions, policy.Default())
	ctx, cancel := context.WithTimeout(t.Context(), flinkTimeout)
	t.Cleanup(cancel)
	b.ctx = ctx
	b.produce(seeded{seed: 7, clicks: 150_000, rate: 22.5, isLate: true}.log(t))
	b.keep("clicks")
	trial := &batchTrial{bed: b, cfg: f.batchConfig(t, environment), done: make(chan error, 1)}
	trial.want, trial.files = b.judged(day.AddDate(0, 0, 1), batch.Config{})
	trial.cfg.Shards, trial.cfg.SliceClicks, trial.cfg.Exchange = 16, 10_000, "file://"+t.TempDir()
	trial.cfg.Archive, trial.cfg.Date, trial.cfg.Policy, trial.cfg.RunID = b.archive, day.AddDate(0, 0, 1), b.policy, b.runID("flink")
	trial.cfg.Out = filepath.Join(t.TempDir(), "out")
	return trial
}

// start runs the batch until a part of what it writes into a folder of the exchange is there.
func (b *batchTrial) start(t *testing.T, folder string) {
	t.Helper()
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(b.ctx)
	t.Cleanup(b.cancel)
	go func() {
		var err error
		b.got, err = batch.Run(ctx, b.cfg, batch.Deps{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		b.got.Out = ""
		b.done <- err
	}()
	for len(written(t, b.cfg.Exchange, folder)) == 0 {
		select {
		case err := <-b.done:
			t.Fatalf("the batch ended before anything was seen in %s: %v", folder, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestFlinkBatchFaults interrupts the batch on Flink when a part of its output is written.
func TestFlinkBatchFaults(t *testing.T) {
	f := startFlink(t)
	for _, tc := range []struct {
		environment flinkrunner.Environment
		folder      string
	}{{flinkrunner.Loopback, "decisions"}, {flinkrunner.Process, "copies"}} {
		t.Run("taskmanager killed, "+string(tc.environment)+", "+tc.folder, func(t *testing.T) {
			b := newBatchTrial(t, f, tc.environment)
			b.start(t, tc.folder)
			f.killTaskManager(t)
			t.Logf("killed with %d objects of %s", len(written(t, b.cfg.Exchange, tc.folder)), tc.folder)
			f.up(t)
			if err := <-b.done; err != nil {
				t.Fatal(err)
			}
			sameResult(t, b.got, b.want)
			sameFiles(t, digests(t, b.cfg.Out), b.files)
			b.wantCleared(t)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		b := newBatchTrial(t, f, flinkrunner.Loopback)
		b.start(t, "decisions")
		b.cancel()
		if err := <-b.done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if _, err := os.Stat(b.cfg.Out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a result was written: %v", err)
		}
		b.wantCleared(t)
		if _, err := flinkrunner.AttachByName(b.bed.ctx, flinkrunner.Config{REST: f.cluster.RESTURL()}, "clickledger-batch-2026-03-02"); !errors.Is(err, flinkrunner.ErrNotFound) {
			t.Errorf("the job runs on: %v", err)
		}
	})
}

// wantCleared: nothing is left in the exchange.
func (b *batchTrial) wantCleared(t *testing.T) {
	t.Helper()
	for _, folder := range []string{"candidates", "copies", "unique", "decisions", "rows"} {
		if left := written(t, b.cfg.Exchange, folder); len(left) > 0 {
			t.Errorf("%d objects of %s are left, such as %s", len(left), folder, left[0])
		}
	}
}

// killTaskManager kills it and returns when the cluster knows.
func (f *flink) killTaskManager(t *testing.T) {
	t.Helper()
	s, err := devflink.Status(t.Context(), f.cluster)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Processes, func(p devflink.Process) bool { return p.Name == devflink.TaskManager })
	kill(t, s.Processes[i].PID)
	for s.IsReady {
		if s, err = devflink.Status(t.Context(), f.cluster); err != nil {
			t.Fatal(err)
		}
	}
}
