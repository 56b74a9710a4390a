package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/jobs/generate"
)

// faultsBase is apart from testBase, so that both tests may run at once.
const faultsBase = 27000

// restartPause is how long the operator of a test takes to start a job again.
const restartPause = time.Second

// faults is a set of services, and the jobs on them.
type faults struct {
	*devRig
	env  []string
	pids map[string]int
}

func newFaults(t *testing.T) *faults {
	f := &faults{devRig: newDevRigAt(t, faultsBase)}
	f.pids = f.up()
	f.env = append(plainEnviron(),
		"CLICKLEDGER_CONFIG="+filepath.Join(f.dir, "clickledger.yaml"),
		"CLICKLEDGER_DEDUP=redis://"+f.at(379)+"/0",
		"CLICKLEDGER_GATEWAY_LISTEN="+f.at(80),
		"CLICKLEDGER_GATEWAY_REDIRECT_HOSTS=*.example",
		"CLICKLEDGER_GATEWAY_TRUSTED_PROXIES=127.0.0.0/8",
		"CLICKLEDGER_GATEWAY_WAL_DIR="+filepath.Join(f.dir, "gateway"),
		"CLICKLEDGER_ARCHIVER_FLUSH_INTERVAL=2s")
	startJSON(t, f.env, &migrateResult{}, "migrate")
	return f
}

// at is the address of a port of these services.
func (r *devRig) at(distance int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.base+distance))
}

// crash kills a service, leaves it away for a time, and brings it back as `dev up` does.
func (f *faults) crash(name string, away time.Duration) {
	f.Helper()
	pid := f.pids[name]
	if name == "postgres" {
		pid = f.pidOfPostgres()
	}
	f.kill(pid)
	began := time.Now()
	time.Sleep(away)
	old := f.pids[name]
	f.pids = f.up()
	if f.pids[name] == old {
		f.Errorf("%s was not started again: pid %d", name, old)
	}
	f.Logf("%s: kill -9 of pid %d, back after %s", name, pid, time.Since(began).Round(100*time.Millisecond))
}

// pidOfPostgres is the server's own pid; its parent is what `dev up` has recorded.
func (f *faults) pidOfPostgres() int {
	f.Helper()
	conn, err := pgx.Connect(f.Context(), f.ledger())
	if err != nil {
		f.Fatal(err)
	}
	defer conn.Close(context.Background())
	var dir string
	if err := conn.QueryRow(f.Context(), "show data_directory").Scan(&dir); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		f.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		f.Fatal(err)
	}
	return pid
}

// supervised is a job that an operator starts again whenever it ends with exit code 1.
type supervised struct {
	f        *faults
	name     string
	mu       sync.Mutex
	cmd      *exec.Cmd
	stopping bool
	restarts int
	done     chan struct{}
}

func (f *faults) supervise(name string) *supervised {
	s := &supervised{f: f, name: name, done: make(chan struct{})}
	go s.run()
	f.Cleanup(func() {
		s.mu.Lock()
		s.stopping = true
		if s.cmd != nil && s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
		}
		s.mu.Unlock()
		<-s.done
	})
	return s
}

func (s *supervised) run() {
	defer close(s.done)
	for s.live() {
		time.Sleep(restartPause)
	}
}

// live is one life of the job. It reports whether there shall be another.
func (s *supervised) live() bool {
	var stderr bytes.Buffer
	cmd := exec.Command(binary, s.name, "--json")
	cmd.Env, cmd.Stderr, cmd.Dir = s.f.env, &stderr, s.f.dir
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return false
	}
	err := cmd.Start()
	s.cmd = cmd
	s.mu.Unlock()
	if err != nil {
		s.f.Errorf("%s: %v", s.name, err)
		return false
	}
	_ = cmd.Wait() // its exit code says it
	code, lines := cmd.ProcessState.ExitCode(), strings.Split(strings.TrimSpace(stderr.String()), "\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		if code != config.ExitOK && code != -1 {
			s.f.Errorf("%s, told to end: exit code %d: %s", s.name, code, lines[len(lines)-1])
		}
		return false
	}
	if code != config.ExitFailed {
		s.f.Errorf("%s: exit code %d, want %d: %s", s.name, code, config.ExitFailed, lines[len(lines)-1])
		return false
	}
	s.restarts++
	s.f.Logf("%s ended, and is started again: %s", s.name, lines[len(lines)-1])
	return true
}

// stop ends the job as Ctrl-C does, and returns how often it was started again.
func (s *supervised) stop() int {
	s.f.Helper()
	s.mu.Lock()
	s.stopping = true
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(os.Interrupt) // it may have ended
	}
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-time.After(2 * time.Minute):
		s.f.Errorf("%s does not end", s.name)
	}
	return s.restarts
}

// load is what one round has sent: straight to the log, and through the gateway.
type load struct{ log, gateway generate.Result }

// send starts both generators, paced. The function that it returns waits for their end.
func (f *faults) send(seed int) func() load {
	var (
		l     load
		group sync.WaitGroup
	)
	for _, g := range []struct {
		result *generate.Result
		args   string
	}{
		{&l.log, fmt.Sprintf("generate --json --pace --seed %d --clicks 45000 --rate 3000", seed)},
		{&l.gateway, fmt.Sprintf("generate --json --pace --seed %d --clicks 1500 --rate 100 --gateway http://%s", 1000+seed, f.at(80))},
	} {
		group.Go(func() {
			var out, stderr bytes.Buffer
			cmd := exec.CommandContext(f.Context(), binary, strings.Fields(g.args)...)
			cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = f.env, &out, &stderr, f.dir
			if err := cmd.Run(); err != nil {
				f.Errorf("%s: %v: %s", g.args, err, &stderr)
			} else if err := json.Unmarshal(out.Bytes(), g.result); err != nil {
				f.Errorf("%s: %v", g.args, err)
			}
		})
	}
	return func() load {
		group.Wait()
		return l
	}
}
