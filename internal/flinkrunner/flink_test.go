package flinkrunner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/devflink"
	"github.com/clickledger/clickledger/internal/servicestest"
)

func TestMain(m *testing.M) {
	if IsWorker() {
		Work() // a TaskManager has started this test binary, to run the DoFns
	}
	os.Exit(m.Run())
}

func beamType[T any]() reflect.Type { return reflect.TypeFor[T]() }

// rig is a running cluster and what submits to it.
type rig struct {
	cluster devflink.Config
	isKept  bool
}

// folderEnvironment names a folder for a cluster on the usual ports that is left running, for work on these tests.
const folderEnvironment = "CLICKLEDGER_TEST_FLINK_DIR"

// startRig configures the cluster.
func startRig(t *testing.T) *rig {
	t.Helper()
	servicestest.Need(t, servicestest.Flink)
	r := &rig{cluster: devflink.Config{Dir: os.Getenv(folderEnvironment), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	if r.isKept = r.cluster.Dir != ""; !r.isKept {
		r.cluster.Dir = t.TempDir()
		r.choosePorts(t)
	}
	return r
}

func (r *rig) choosePorts(t *testing.T) {
	t.Helper()
	for _, port := range []*int{&r.cluster.RESTPort, &r.cluster.RPCPort, &r.cluster.JobPort, &r.cluster.ArtifactPort, &r.cluster.ExpansionPort} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*port = listener.Addr().(*net.TCPAddr).Port
		defer listener.Close()
	}
}

func (r *rig) up(t *testing.T) {
	t.Helper()
	if err := devflink.Up(t.Context(), r.cluster); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) config(t *testing.T, env Environment) Config {
	t.Helper()
	return Config{JobService: r.cluster.JobService(), REST: r.cluster.RESTURL(), Name: "flinkrunner-test", Environment: env,
		Parallelism: 2, CheckpointInterval: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		StartTimeout: 30 * time.Second}
}

// await asks until what is waited for is so.
func await(t *testing.T, what string, limit time.Duration, ask func() (bool, string)) {
	t.Helper()
	begin := time.Now()
	for {
		ok, have := ask()
		if ok {
			t.Logf("%s after %s", what, time.Since(begin).Round(100*time.Millisecond))
			return
		}
		if time.Since(begin) > limit {
			t.Fatalf("%s: not within %s: %s", what, limit, have)
		}
		if err := pause(t.Context(), pollInterval); err != nil {
			t.Fatal(err)
		}
	}
}

func submit(t *testing.T, cfg Config, j job) *Job {
	t.Helper()
	begin := time.Now()
	running, err := Submit(t.Context(), cfg, j.pipeline())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("job %s makes progress %s after its submission, start %d", running.ID, time.Since(begin).Round(100*time.Millisecond), running.Starts)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := running.Cancel(ctx); err != nil {
			t.Error(err)
		}
		running.Close()
	})
	return running
}

// awaitResult waits for the last record, and then for two more checkpoints: a record that came
// twice would show by then.
func awaitResult(t *testing.T, running *Job, j job) {
	t.Helper()
	await(t, "all records are in the rows", 5*time.Minute, func() (bool, string) {
		rows, err := j.rows()
		st, statusErr := running.Status(t.Context())
		return err == nil && count(rows) >= j.Partitions*j.Records, fmt.Sprintf("%+v, %v, %+v, %v", rows, err, st, statusErr)
	})
	awaitCheckpoints(t, running, 2)
	rows, err := j.rows()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := results(rows), j.want(); !slices.Equal(got, want) {
		t.Errorf("got rows %+v, want %+v", got, want)
	}
	t.Logf("rows %+v", rows)
}

func awaitCheckpoints(t *testing.T, running *Job, more int64) {
	t.Helper()
	var base int64 = -1
	await(t, fmt.Sprintf("%d more checkpoints", more), time.Minute, func() (bool, string) {
		c, err := running.checkpoints(t.Context())
		if base < 0 && err == nil {
			base = c.Completed
		}
		return err == nil && base >= 0 && c.Completed >= base+more, fmt.Sprintf("%+v, %v", c, err)
	})
}

func awaitCount(t *testing.T, j job, least int64) {
	t.Helper()
	await(t, fmt.Sprintf("%d records are in the rows", least), time.Minute, func() (bool, string) {
		rows, err := j.rows()
		return err == nil && count(rows) >= least, fmt.Sprintf("%+v, %v", rows, err)
	})
}

// TestFlink runs the same pipeline in both environments through what can happen to it.
func TestFlink(t *testing.T) {
	r := startRig(t)
	r.up(t)
	t.Cleanup(func() {
		if r.isKept {
			return
		}
		if err := devflink.Down(context.Background(), r.cluster); err != nil {
			t.Error(err)
		}
	})
	for _, env := range []Environment{Loopback, Process} {
		t.Run(string(env)+"/normal", func(t *testing.T) { r.normal(t, r.config(t, env), false) })
		t.Run(string(env)+"/taskmanager killed", func(t *testing.T) { r.taskManagerKilled(t, env) })
		t.Run(string(env)+"/savepoint", func(t *testing.T) { r.savepoint(t, env) })
	}
	t.Run("loopback/splittable source", func(t *testing.T) { r.normal(t, r.config(t, Loopback), true) })
	t.Run("process/beam's boot program", func(t *testing.T) { r.normal(t, withBeamsBoot(t, r.config(t, Process)), false) })
}

func newJob(t *testing.T, records, pauseMs int64) job {
	t.Helper()
	return job{Run: t.Name(), Dir: t.TempDir(), Partitions: 3, Records: records, Block: 500, PauseMs: pauseMs}
}

// withBeamsBoot has TaskManagers start Beam's own boot program.
func withBeamsBoot(t *testing.T, cfg Config) Config {
	t.Helper()
	cfg.Boot, cfg.WorkerDir = filepath.Join(t.TempDir(), "boot"), t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", cfg.Boot, "github.com/apache/beam/sdks/v2/go/container").CombinedOutput()
	if err != nil {
		t.Fatalf("build Beam's boot program: %v\n%s", err, out)
	}
	return cfg
}

func (r *rig) normal(t *testing.T, cfg Config, isSplittable bool) {
	j := newJob(t, 50_000, 50)
	j.IsSplittable = isSplittable
	running := submit(t, cfg, j)
	awaitResult(t, running, j)
	st, err := running.Status(t.Context())
	if err != nil || st.State != Running || st.Restarts != 0 || st.Checkpoints.Completed < 2 || st.Checkpoints.LastBytes == 0 {
		t.Errorf("got status %+v, %v", st, err)
	}
	await(t, "the counters count every block", time.Minute, func() (bool, string) {
		counters, err := running.Counters(t.Context(), "flinkrunner.blocks", "no.such")
		return counters["flinkrunner.blocks"] >= j.Partitions*j.Records/j.Block*shards, fmt.Sprint(counters, err)
	})
	for _, v := range st.Vertices {
		t.Logf("vertex %+v", v)
	}
	if attached, err := AttachByName(t.Context(), Config{REST: r.cluster.RESTURL()}, "flinkrunner-test"); err != nil || attached.ID != running.ID {
		t.Errorf("attached to %+v, %v", attached, err)
	}
	if err := running.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := running.Wait(t.Context()); !errors.Is(err, ErrCanceled) {
		t.Errorf("got %v after a cancel", err)
	}
	if counters, err := running.Counters(t.Context(), "flinkrunner.blocks"); err != nil || counters["flinkrunner.blocks"] == 0 {
		t.Errorf("got counters %v, %v after the end", counters, err)
	}
}

func (r *rig) taskManagerKilled(t *testing.T, env Environment) {
	j := newJob(t, 100_000, 50)
	running := submit(t, r.config(t, env), j)
	awaitCheckpoints(t, running, 1)
	awaitCount(t, j, j.Records/4)
	s, err := devflink.Status(t.Context(), r.cluster)
	if err != nil {
		t.Fatal(err)
	}
	workers := workersOf(t, j)
	victim := s.Processes[slices.IndexFunc(s.Processes, func(p devflink.Process) bool { return p.Name == devflink.TaskManager })]
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	rows, _ := j.rows()
	if n := count(rows); n >= j.Partitions*j.Records {
		t.Fatalf("the kill came too late, after %d records", n)
	}
	await(t, "the TaskManager is gone", time.Minute, func() (bool, string) {
		s, err := devflink.Status(t.Context(), r.cluster)
		return err == nil && !s.IsReady, fmt.Sprintf("%+v, %v", s, err)
	})
	r.up(t)
	awaitResult(t, running, j)
	st, err := running.Status(t.Context())
	if err != nil || st.Checkpoints.Restored < 1 {
		t.Errorf("got status %+v, %v: not restored", st, err)
	}
	t.Logf("restored %d, restarts %d, exception %s", st.Checkpoints.Restored, st.Restarts, st.Exception)
	if env == Process {
		await(t, "the killed TaskManager's workers are gone", time.Minute, func() (bool, string) {
			left := slices.DeleteFunc(slices.Clone(workers), func(pid int) bool { return syscall.Kill(pid, 0) != nil })
			return len(left) == 0, fmt.Sprint(left)
		})
	}
}

// workersOf are the processes that have written rows.
func workersOf(t *testing.T, j job) []int {
	t.Helper()
	rows, err := j.rows()
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, r := range rows {
		if !slices.Contains(pids, r.PID) {
			pids = append(pids, r.PID)
		}
	}
	return pids
}

func (r *rig) savepoint(t *testing.T, env Environment) {
	j := newJob(t, 200_000, 50)
	first := submit(t, r.config(t, env), j)
	awaitCount(t, j, j.Records/8)
	kept, err := first.Savepoint(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	place, err := first.Stop(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	rows, _ := j.rows()
	t.Logf("stopped after %d records: %s", count(rows), strings.TrimPrefix(place, r.cluster.SavepointDir()))
	if n := count(rows); n >= j.Partitions*j.Records || kept == place {
		t.Fatalf("stopped after %d records with %s, %s before", n, place, kept)
	}
	cfg := r.config(t, env)
	cfg.Savepoint = place
	j.Run += "-resumed" // another process would not have the cores either
	second := submit(t, cfg, j)
	awaitResult(t, second, j)
	if c, err := second.checkpoints(t.Context()); err != nil || c.Restored < 1 {
		t.Errorf("got %+v, %v: not restored", c, err)
	}
}
