package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/internal/servicestest"
)

const (
	// testBase is apart from the ports of a developer's own services.
	testBase = 31000
)

// devRig is a set of services for a test.
type devRig struct {
	*testing.T
	dir  string
	base int // the services' ports begin here
}

func newDevRig(t *testing.T) *devRig { return newDevRigAt(t, testBase) }

// newDevRigAt is newDevRig on other ports, for a test that may run beside those on testBase.
func newDevRigAt(t *testing.T, base int) *devRig {
	t.Helper()
	servicestest.Need(t, "kafka", "clickhouse", "s3", "redis")
	dir, err := os.MkdirTemp("", "clickledger-dev-")
	if err != nil {
		t.Fatal(err)
	}
	// PostgreSQL may run as another user.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := &devRig{t, dir, base}
	t.Cleanup(func() {
		if got := r.dev("down"); got.code != config.ExitOK {
			t.Errorf("down: %s", got.err)
		}
		if t.Failed() {
			t.Logf("logs are in %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return r
}

func (r *devRig) args(command string) []string {
	return []string{"dev", command, "--json", "--dir", r.dir, "--port-base", strconv.Itoa(r.base)}
}

func (r *devRig) dev(command string) outcome {
	r.Helper()
	return start(r.T, os.Environ(), r.args(command)...)
}

// up brings all services up and returns their pids by name.
func (r *devRig) up() map[string]int {
	r.Helper()
	began := time.Now()
	got := r.dev("up")
	if got.code != config.ExitOK {
		r.Fatalf("up: exit code %d\n%s", got.code, got.err)
	}
	var result devResult
	if err := json.Unmarshal([]byte(got.out), &result); err != nil {
		r.Fatal(err)
	}
	pids := map[string]int{}
	for _, s := range result.Services {
		if s.State != devservices.StateUp || s.PID == 0 {
			r.Fatalf("after up: %+v", s)
		}
		pids[s.Name] = s.PID
	}
	r.Logf("up after %s: %v", time.Since(began).Round(100*time.Millisecond), pids)
	return pids
}

// kill ends a process as a crash would, and waits until it is no more.
func (r *devRig) kill(pid int) {
	r.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		r.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && strings.Contains(string(stat), ") Z ") {
			return // it only waits for its parent
		}
		if time.Now().After(deadline) {
			r.Fatalf("pid %d does not end", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// expect reads all services and wants these values in each.
func (r *devRig) expect(values ...string) {
	r.Helper()
	for _, name := range slices.Sorted(maps.Keys(exchanges)) {
		got, err := exchanges[name].read(r)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, values) {
			r.Errorf("%s has %q, %v, want %q", name, got, err, values)
		}
	}
}

func (r *devRig) write(value string) {
	r.Helper()
	for _, name := range slices.Sorted(maps.Keys(exchanges)) {
		if err := exchanges[name].write(r, value); err != nil {
			r.Fatalf("%s: %v", name, err)
		}
	}
}

// postmaster is the pid of PostgreSQL itself, whose parent is what dev up has recorded.
func (r *devRig) postmaster() int {
	r.Helper()
	conn, err := postgres(r)
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close(context.Background())
	var dir string
	if err := conn.QueryRow(r.Context(), "show data_directory").Scan(&dir); err != nil {
		r.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		r.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		r.Fatal(err)
	}
	return pid
}

// TestServicesDev is the life of the development services: up, up again, data in and out, kill -9 of
// each and of dev up itself, status, down.
func TestServicesDev(t *testing.T) {
	r := newDevRig(t)
	first := r.up()
	r.write("a")
	r.expect("a")
	if again := r.up(); !maps.Equal(first, again) {
		t.Errorf("the second up has pids %v, want %v", again, first)
	}
	for _, name := range slices.Sorted(maps.Keys(first)) {
		r.kill(first[name])
	}
	var result devResult
	got := r.dev("status")
	if err := json.Unmarshal([]byte(got.out), &result); err != nil {
		t.Fatal(err)
	}
	for _, s := range result.Services {
		if s.PID != 0 || s.State == devservices.StateUp || s.State == devservices.StateSilent {
			t.Errorf("after kill -9: %+v", s)
		}
	}
	second := r.up()
	r.expect("a")
	r.write("b")
	r.kill(r.postmaster())
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(second["postgres"], 0) == nil && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	r.resetClickHouse()
	third := r.up()
	for name, pid := range third {
		if same := pid == second[name]; same == (name == "postgres") {
			t.Errorf("%s has pid %d after the second kill, %d before", name, pid, second[name])
		}
	}
	r.expect("a", "b")
	r.interrupt()
	r.up()
	r.expect("a", "b")
	if got := r.dev("down"); got.code != config.ExitOK || strings.Count(got.out, `"down"`) != len(first) {
		t.Errorf("down: exit code %d, %s%s", got.code, got.out, got.err)
	}
	if got := r.dev("status"); got.code != config.ExitFailed {
		t.Errorf("status of nothing: exit code %d", got.code)
	}
}

// interrupt ends the services and kills `dev up` at several moments of bringing them back.
func (r *devRig) interrupt() {
	r.Helper()
	for i, after := range []time.Duration{
		100 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond, time.Second, 2 * time.Second,
	} {
		if got := r.dev("down"); got.code != config.ExitOK {
			r.Fatalf("down: %s", got.err)
		}
		var stderr bytes.Buffer
		cmd := exec.Command(binary, r.args("up")...)
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			r.Fatal(err)
		}
		time.Sleep(after)
		if err := cmd.Process.Kill(); err != nil {
			r.Fatal(err)
		}
		_ = cmd.Wait()
		r.Logf("dev up, killed after %s, had said %d lines", after, strings.Count(stderr.String(), "\n"))
		if i == 1 {
			r.up()
		}
	}
}

// resetClickHouse does what a killed client of the native protocol does, many times.
func (r *devRig) resetClickHouse() {
	r.Helper()
	for range 200 {
		conn, err := net.Dial("tcp", address(900))
		if err != nil {
			r.Fatal(err)
		}
		hello := "\x00\x01x\x01\x00\xb3\xa9\x03\x07default\x07default\x00"
		if _, err := io.WriteString(conn, hello); err != nil {
			r.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			r.Fatal(err)
		}
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
			r.Fatal(err)
		}
		conn.Close()
	}
}
