package parity

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/devflink"
	"github.com/clickledger/clickledger/internal/flinkrunner"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// slowly reads in small polls, so that there is time to interrupt.
const slowly = 32

// trial is a stream on Flink that is to come to what prism has come to.
type trial struct {
	*bed

	flink   *flink
	cfg     stream.FlinkConfig
	url     string
	from    map[int32]int64
	rows    []schemas.MinuteRow
	decided map[schemas.Position]schemas.Decision
	started chan struct{} // closed when records flow
	done    chan error
	cancel  context.CancelFunc
	result  stream.FlinkResult
}

func newTrial(t *testing.T, f *flink, environment flinkrunner.Environment) *trial {
	t.Helper()
	b, url := newFlinkBed(t, policy.Default())
	b.produce(seeded{seed: 6, clicks: 12_000, rate: 1.8, isLate: true}.log(t))
	b.stream()
	return &trial{bed: b, flink: f, cfg: f.config(t, environment), url: url, rows: rows(t, b.open(), serving.Provisional, always),
		decided: b.decisions(), from: b.decisionEnds()}
}

// start runs the stream to the end of the log, or until cancel.
func (r *trial) start() {
	cfg := stream.Config{Log: r.bed.url, Policy: r.policy, RunID: r.runID("flink"), UntilEnd: true, PollRecords: slowly, Flink: r.cfg}
	cfg.Flink.Store = stream.Place{URL: r.url}
	store := openClickHouse(r.t.(*testing.T), r.url)
	ctx, cancel := context.WithCancel(r.ctx)
	r.started, r.done, r.cancel = make(chan struct{}), make(chan error, 1), cancel
	started := sync.OnceFunc(func() { close(r.started) })
	go func() {
		var err error
		r.result, err = stream.RunOnFlink(ctx, cfg, stream.Deps{Serving: store, Logger: slog.New(slog.NewTextHandler(r.t.Output(), nil)),
			Progress: func(stream.Stats) { started() }})
		r.done <- err
	}()
}

// awaitCheckpoint returns when the job runs and has stored its state while it has records to read.
func (r *trial) awaitCheckpoint() {
	r.t.Helper()
	<-r.started
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		job, err := flinkrunner.AttachByName(r.ctx, flinkrunner.Config{REST: r.cfg.REST}, r.cfg.Name)
		if err != nil {
			continue
		}
		st, err := job.Status(r.ctx)
		if err == nil && st.Checkpoints.Completed > 0 && st.Checkpoints.LastBytes > 100_000 {
			r.t.Logf("to be interrupted after checkpoint %d of %d bytes", st.Checkpoints.LastID, st.Checkpoints.LastBytes)
			return
		}
	}
	r.t.Fatal("there was no checkpoint")
}

// wait wants what prism has come to.
func (r *trial) wait() {
	r.t.Helper()
	if err := <-r.done; err != nil {
		r.t.Fatal(err)
	}
	store := openClickHouse(r.t.(*testing.T), r.url)
	sameRows(r.t, "flink", rows(r.t, store, serving.Provisional, always), r.rows)
	r.sameDecisions(r.decisionsFrom(r.from), r.decided)
	progress, err := store.LoadProgress(r.ctx)
	if err != nil || !progress.IsDrained {
		r.t.Errorf("progress %+v, %v", progress, err)
	}
	r.t.Logf("%+v", r.result)
}

// TestFlinkFaults interrupts the stream on Flink in the middle of a log. It comes to the rows and
// decisions of a run on prism that nothing interrupted.
func TestFlinkFaults(t *testing.T) {
	f := startFlink(t)
	for _, environment := range []flinkrunner.Environment{flinkrunner.Loopback, flinkrunner.Process} {
		t.Run("taskmanager killed, "+string(environment), func(t *testing.T) {
			r := newTrial(t, f, environment)
			r.start()
			r.awaitCheckpoint()
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
			f.up(t)
			r.wait()
		})
	}
	t.Run("worker killed", func(t *testing.T) {
		r := newTrial(t, f, flinkrunner.Process)
		r.start()
		r.awaitCheckpoint()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		workers := pids(t, self+"\x00", "--provision_endpoint=")
		if len(workers) == 0 {
			t.Fatal("there is no worker to kill")
		}
		for _, pid := range workers {
			kill(t, pid)
		}
		r.wait()
	})
	t.Run("savepoint", func(t *testing.T) {
		r := newTrial(t, f, flinkrunner.Loopback)
		r.start()
		r.awaitCheckpoint()
		r.cancel()
		if err := <-r.done; err != nil || r.result.Savepoint == "" {
			t.Fatalf("got %+v, %v", r.result, err)
		}
		t.Logf("stopped with %s", strings.TrimPrefix(r.result.Savepoint, filepath.Dir(f.cluster.SavepointDir())))
		r.cfg.Savepoint = r.result.Savepoint
		r.start()
		r.wait()
	})
	t.Run("replay", func(t *testing.T) {
		r := newTrial(t, f, flinkrunner.Loopback)
		r.start()
		r.awaitCheckpoint()
		r.cancel()
		if err := <-r.done; err != nil {
			t.Fatal(err)
		}
		r.start() // without the savepoint
		r.wait()
	})
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Logf("killed %d", pid)
}
