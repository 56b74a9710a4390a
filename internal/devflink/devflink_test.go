package devflink

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// servicesEnvironment asks for the tests that need real services.
const servicesEnvironment = "CLICKLEDGER_TEST_SERVICES"

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"ok", Config{Dir: "/x"}, ""},
		{"relative", Config{Dir: "x"}, "dir: "},
		{"equal ports", Config{Dir: "/x", RESTPort: 9, JobPort: 9}, "job_port: 9 is the port of rest_port too"},
		{"slots", Config{Dir: "/x", Slots: -1}, "slots: -1 is not between"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := tc.cfg.Validate()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestCheckJars(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.jar"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	const sum = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	for _, tc := range []struct {
		name, list string
		ok, isSum  bool
	}{
		{"the same", sum + "  a.jar\n", true, false},
		{"another sum", strings.Repeat("0", 64) + "  a.jar\n", false, true},
		{"not pinned", sum + "  b.jar\n", false, true},
		{"missing", sum + "  a.jar\n" + sum + "  b.jar\n", false, false},
	} {
		if err := checkJars(dir, tc.list); (err == nil) != tc.ok || errors.Is(err, ErrChecksum) != tc.isSum {
			t.Errorf("%s: got %v", tc.name, err)
		}
	}
	if n := strings.Count(jarChecksums, "\n"); n < 100 {
		t.Errorf("got %d pinned jars", n)
	}
}

// TestStopsOnlyItsOwn holds Down to the start time: a record with another one is not ours.
func TestStopsOnlyItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, sub := range []string{"run", "log"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := start(dir, "sleeper", "", "sleep", []string{"60"}); err != nil {
		t.Fatal(err)
	}
	found, err := running(dir, "sleeper")
	if err != nil || found.PID == 0 {
		t.Fatalf("got %+v, %v", found, err)
	}
	pid := found.PID
	if err := writeRecord(recordFile(dir, "other"), record{PID: pid, Started: "another time"}); err != nil {
		t.Fatal(err)
	}
	if err := stop(t.Context(), dir, "other"); err != nil {
		t.Fatal(err)
	}
	if still, _ := running(dir, "sleeper"); still.PID != pid {
		t.Fatal("a stranger was stopped")
	}
	if err := stop(t.Context(), dir, "sleeper"); err != nil {
		t.Fatal(err)
	}
	if _, err := startTime(pid); err == nil {
		t.Error("it still runs")
	}
}

func TestUpNamesTheTakenPort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	cfg := Config{RESTPort: listener.Addr().(*net.TCPAddr).Port}.withDefaults()
	if err := checkPorts(cfg, JobManager); err == nil || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
}

// TestUpAndDown starts the real cluster, kills a part, brings it back, and stops all.
func TestUpAndDown(t *testing.T) {
	if os.Getenv(servicesEnvironment) != "1" {
		t.Skip(servicesEnvironment + " is not 1: no real Flink is started")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cfg := Config{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if err := Fetch(ctx, cfg); err != nil && !errors.Is(err, ErrChecksum) {
		t.Skipf("Flink cannot be fetched: %v", err)
	}
	for _, port := range []*int{&cfg.RESTPort, &cfg.RPCPort, &cfg.JobPort, &cfg.ArtifactPort, &cfg.ExpansionPort} {
		*port = freePort(t)
	}
	t.Cleanup(func() {
		if err := Down(context.WithoutCancel(ctx), cfg); err != nil {
			t.Error(err)
		}
	})
	begin := time.Now()
	if err := Up(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	t.Logf("up after %s", time.Since(begin).Round(time.Millisecond))
	before, err := Status(ctx, cfg)
	if err != nil || !before.IsReady || before.Slots != DefaultSlots {
		t.Fatalf("got %+v, %v", before, err)
	}
	victim := before.Processes[1]
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for {
		if s, err := Status(ctx, cfg); err != nil || s.Processes[1].PID == 0 {
			break
		}
		if err := pause(ctx, pollInterval); err != nil {
			t.Fatal(err)
		}
	}
	if err := Up(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	after, err := Status(ctx, cfg)
	if err != nil || after.Processes[1].PID == victim.PID || after.Processes[0].PID != before.Processes[0].PID {
		t.Errorf("got %+v after %+v, %v", after, before, err)
	}
	if err := Down(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if s, err := Status(ctx, cfg); err != nil || s.IsReady || s.Processes[0].PID != 0 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
