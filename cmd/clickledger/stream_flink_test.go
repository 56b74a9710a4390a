package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/devflink"
	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/internal/flinkrunner"
	"github.com/clickledger/clickledger/internal/servicestest"
	"github.com/clickledger/clickledger/jobs/stream"
)

const (
	// flinkBase is apart from the ports of the other tests.
	flinkBase = 23000
	// flinkLimit bounds what the cluster is waited for; a busy machine takes its time.
	flinkLimit = 4 * time.Minute
	// flinkClicks at flinkRate take as long as the first half of the test.
	flinkClicks, flinkRate = 40_000, 250
)

// flinkRig is Kafka, ClickHouse, Redis and a Flink cluster, and the commands on its stream.
type flinkRig struct {
	*devRig
	env []string
}

func newFlinkRig(t *testing.T) *flinkRig {
	t.Helper()
	servicestest.Need(t, servicestest.Flink)
	r := &flinkRig{devRig: newDevRigAt(t, flinkBase)}
	r.upFlink()
	r.env = append(plainEnviron(), "CLICKLEDGER_CONFIG="+filepath.Join(r.dir, "clickledger.yaml"),
		"CLICKLEDGER_DEDUP=redis://"+r.at(379)+"/0", "CLICKLEDGER_FLINK_PARALLELISM=2",
		"CLICKLEDGER_FLINK_CHECKPOINT_INTERVAL=5s", "CLICKLEDGER_STREAM_RUNNER=flink")
	r.migrate(devservices.ClickHouseDatabase)
	return r
}

// upFlink brings up what the rig has of services, and returns their pids by name.
func (r *flinkRig) upFlink() map[string]int {
	r.Helper()
	var result devResult
	startJSON(r.T, os.Environ(), &result, append(r.args("up"), "--only", "kafka,clickhouse,redis,flink")...)
	pids := map[string]int{}
	for _, s := range result.Services {
		pids[s.Name] = s.PID
	}
	return pids
}

// crashes kills each service in turn, brings it back, and waits until the stream of this status goes on.
func (r *flinkRig) crashes(st *streamStatus, services ...string) {
	r.Helper()
	for _, name := range services {
		r.kill(r.upFlink()[name])
		time.Sleep(2 * time.Second)
		r.upFlink()
		before := st
		st = r.await("it goes on after the death of "+name, func(now *streamStatus) bool {
			return flows(now) && now.ID == before.ID && now.Checkpoints.Completed > before.Checkpoints.Completed+2 &&
				now.Counted.WatermarkMillis > before.Counted.WatermarkMillis
		})
	}
}

// serving is a variable that names a database of ClickHouse.
func (r *flinkRig) serving(database string) string {
	return "CLICKLEDGER_SERVING=clickhouse://" + r.at(900) + "/" + database
}

func (r *flinkRig) migrate(database string) {
	r.Helper()
	startJSON(r.T, append(slices.Clone(r.env), r.serving(database)), &migrateResult{}, "migrate", "--ledger", "")
}

// child starts a command that the test ends.
func (r *flinkRig) child(args ...string) *exec.Cmd {
	r.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Dir, cmd.Stderr = r.env, r.dir, r.Output()
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

// killed ends a command as a crash would.
func (r *flinkRig) killed(cmd *exec.Cmd) {
	r.Helper()
	if err := cmd.Process.Kill(); err != nil {
		r.Fatal(err)
	}
	_ = cmd.Wait()
	r.Logf("killed %q, pid %d", cmd.Args[1:], cmd.Process.Pid)
}

// await asks for the status until it is as wanted. No job is no status; no answer is asked again.
func (r *flinkRig) await(what string, ok func(*streamStatus) bool) *streamStatus {
	r.Helper()
	begin := time.Now()
	for {
		var st *streamStatus
		got := start(r.T, r.env, "stream", "status", "--json")
		if got.code == config.ExitOK {
			st = &streamStatus{}
			if err := json.Unmarshal([]byte(got.out), st); err != nil {
				r.Fatal(err)
			}
		}
		if (st != nil || strings.Contains(got.err, "no job")) && ok(st) {
			r.Logf("%s after %s", what, time.Since(begin).Round(time.Second))
			return st
		}
		if time.Since(begin) > flinkLimit {
			r.Fatalf("%s: not within %s: %s%s", what, flinkLimit, got.out, got.err)
		}
		time.Sleep(time.Second)
	}
}

// flows is a status with records, rows, a watermark and a checkpoint, all of whose operators run.
func flows(st *streamStatus) bool {
	return st != nil && st.State == flinkrunner.Running && st.Checkpoints.Completed > 0 && st.Counted.Records > 0 && st.Counted.Rows > 0 &&
		st.Counted.WatermarkMillis > 0 && !slices.ContainsFunc(st.Vertices, func(v flinkrunner.Vertex) bool { return v.State != string(flinkrunner.Running) })
}

func (r *flinkRig) detach(args ...string) (result stream.FlinkResult) {
	r.Helper()
	startJSON(r.T, r.env, &result, append([]string{"stream", "--detach", "--flink-environment", "process"}, args...)...)
	return result
}

func (r *flinkRig) killTaskManager() {
	r.Helper()
	s, err := devflink.Status(r.Context(), newDevFlink(r.dir, "", flinkBase).cfg)
	if err != nil {
		r.Fatal(err)
	}
	i := slices.IndexFunc(s.Processes, func(p devflink.Process) bool { return p.Name == devflink.TaskManager })
	workers := workersOf(r.T)
	r.kill(s.Processes[i].PID)
	r.upFlink()
	for deadline := time.Now().Add(time.Minute); len(workers) > 0; time.Sleep(100 * time.Millisecond) {
		workers = slices.DeleteFunc(workers, func(pid int) bool { return syscall.Kill(pid, 0) != nil })
		if time.Now().After(deadline) {
			r.Fatalf("the killed TaskManager's workers %v are left", workers)
		}
	}
}

// workersOf are the processes of this program that a TaskManager has started.
func workersOf(t *testing.T) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil || !bytes.HasPrefix(text, []byte(binary+"\x00")) || !bytes.Contains(text, []byte("--provision_endpoint=")) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(name, "/proc/%d/", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestServicesStreamOnFlink takes the program through what an operator does with the stream on Flink, while clicks come in:
// detach, status, savepoint, resume, cancel, kill -9 of the TaskManager, of each service and of the submitter, in all three
// environments, with the click ids in Redis. The rows are those of prism by its own state.
func TestServicesStreamOnFlink(t *testing.T) {
	r := newFlinkRig(t)
	generator := r.child("generate", "--pace", "--seed", "7", "--clicks", fmt.Sprint(flinkClicks), "--rate", fmt.Sprint(flinkRate), "--json")

	first := r.detach()
	if first.State.IsFinal() || first.JobID == "" {
		t.Fatalf("detached: %+v", first)
	}
	if again := start(t, r.env, "stream"); again.code != config.ExitFailed || !strings.Contains(again.err, "is running already: "+first.JobID) {
		t.Errorf("a second one of the name: exit code %d: %s", again.code, again.err)
	}
	st := r.await("the stream flows", flows)
	if st.ID != first.JobID || st.Counted.LagRecords < 0 || !strings.HasPrefix(st.Checkpoints.LastPlace, "file:") {
		t.Errorf("status %+v of %+v", st, first)
	}
	r.killTaskManager()
	r.crashes(r.await("it goes on after the TaskManager's death", func(now *streamStatus) bool {
		return flows(now) && now.Checkpoints.Restored > 0 && now.Checkpoints.Completed > st.Checkpoints.Completed+1
	}), "clickhouse", "redis", "kafka")

	var saved stopped
	startJSON(t, r.env, &saved, "stream", "savepoint", "--stop")
	if got := start(t, r.env, "stream", "status"); got.code != config.ExitFailed || saved.Savepoint == "" {
		t.Errorf("stopped with %+v; its status: exit code %d, %s%s", saved, got.code, got.out, got.err)
	}
	submitter := r.child("stream", "--flink-environment", "process", "--flink-savepoint", saved.Savepoint)
	st = r.await("it goes on from the savepoint", func(st *streamStatus) bool { return flows(st) && st.Checkpoints.Restored > 0 })
	r.killed(submitter)
	time.Sleep(2 * time.Second)
	r.await("it lives on without its submitter", func(now *streamStatus) bool {
		return flows(now) && now.ID == st.ID && now.Checkpoints.Completed > st.Checkpoints.Completed+1
	})
	var ended stopped
	startJSON(t, r.env, &ended, "stream", "cancel")

	submitter = r.child("stream")
	r.await("it goes on in the loopback environment, by replay", flows)
	r.killed(submitter)
	r.await("it ends without its workers", func(st *streamStatus) bool { return st == nil })
	if err := generator.Wait(); err != nil {
		t.Error(err)
	}
	r.sameAsPrism(r.drain())
}

// drain judges the rest of the log with workers of a pool.
func (r *flinkRig) drain() (result stream.FlinkResult) {
	r.Helper()
	address := r.at(50)
	pool := r.child("worker", "pool", "--listen", address)
	startJSON(r.T, r.env, &result, "stream", "--until-end", "--flink-environment", "external", "--flink-worker-pool", address)
	if err := pool.Process.Signal(os.Interrupt); err != nil {
		r.Fatal(err)
	}
	if err := pool.Wait(); err != nil {
		r.Errorf("the pool, told to end: %v", err)
	}
	return result
}

// sameAsPrism judges the log on prism into a database of its own, and compares every row.
func (r *flinkRig) sameAsPrism(got stream.FlinkResult) {
	r.Helper()
	const database = "prism"
	r.migrate(database)
	var want stream.Stats
	startJSON(r.T, append(slices.Clone(r.env), r.serving(database), "CLICKLEDGER_STREAM_RUNNER=prism", "CLICKLEDGER_DEDUP=state"), &want, "stream", "--until-end")
	if got.LagRecords != 0 || got.Judged() != want.Records || want.Records != flinkClicks || got.SpendMicros != want.SpendMicros {
		r.Errorf("flink %+v\nprism %+v", got, want)
	}
	rows := func(database string) []string {
		return r.query(`select click_minute, ` + rowColumns + ` from ` + database + `.ad_clicks_hourly final order by all format TabSeparated`)
	}
	if flink, prism := rows(devservices.ClickHouseDatabase), rows(database); !slices.Equal(flink, prism) {
		r.Errorf("flink has %d rows, prism %d; the first are %q and %q", len(flink), len(prism), flink[0], prism[0])
	} else {
		r.Logf("%d equal rows; %+v", len(flink), got)
	}
}
