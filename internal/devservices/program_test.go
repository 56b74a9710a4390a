package devservices

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// helper makes this test binary run as one of the programs of a service.
const helper = "CLICKLEDGER_DEVSERVICES_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helper) {
	case "":
		os.Exit(m.Run())
	case "serve": // address: answers every connection
		listener, err := net.Listen("tcp", os.Args[1])
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for {
			conn, err := listener.Accept()
			if err != nil {
				os.Exit(1)
			}
			_, _ = conn.Write([]byte("hello"))
			conn.Close()
		}
	case "deaf": // runs, answers nothing, and ends by SIGKILL alone
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "fail":
		fmt.Println("cannot read the settings")
		os.Exit(1)
	case "record":
		// What it becomes is this binary again, in the part that the variable after it names.
		os.Setenv(helper, os.Args[3])
		fmt.Println(Record(os.Args[1], os.Args[2], append([]string{os.Args[4]}, os.Args[5:]...)))
		os.Exit(1)
	}
}

// fake is a service of which this test binary is the program.
type fake struct {
	cfg     Config
	part    string
	address string
	made    int
}

func (f *fake) fetch(context.Context, func(string)) error { return nil }
func (f *fake) furnish(context.Context) error             { f.made++; return nil }

func (f *fake) command(context.Context) (command, error) {
	self, err := os.Executable()
	return command{args: []string{f.part, self, f.address}, environment: append(os.Environ(), helper+"=record")}, err
}

func (f *fake) probe(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", f.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	var answer [5]byte
	_, err = conn.Read(answer[:])
	return err
}

// setup returns a fake part whose program is of that kind.
func setup(t *testing.T, part string) (*program, *fake) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	cfg := Config{Dir: t.TempDir(), CacheDir: t.TempDir(), PortBase: DefaultPortBase, Recorder: []string{self}, Postgres: []string{self}}
	f := &fake{cfg: cfg, part: part, address: address}
	p := &program{service: f, cfg: cfg, name: "fake", version: "1", address: "fake://" + address, ports: []int{number}}
	t.Cleanup(func() {
		if err := p.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p, f
}

func up(t *testing.T, p *program) int {
	t.Helper()
	if err := p.Up(t.Context(), func(string) {}); err != nil {
		t.Fatal(err)
	}
	s := p.State(t.Context())
	if s.State != StateUp || s.PID == 0 || s.AnswerMillis <= 0 || s.Error != "" || !s.Answers() {
		t.Fatalf("state after up: %+v", s)
	}
	return s.PID
}

func TestLifeOfAProgram(t *testing.T) {
	t.Parallel()
	p, f := setup(t, "serve")
	if s := p.State(t.Context()); s.State != StateDown || s.Error != "" || s.Answers() {
		t.Fatalf("state before up: %+v", s)
	}
	first := up(t, p)
	if again := up(t, p); again != first {
		t.Errorf("the second up gave pid %d, want %d", again, first)
	}
	if f.made != 2 {
		t.Errorf("furnished %d times, want 2", f.made)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for p.State(t.Context()).State != StateDown {
		time.Sleep(pollInterval)
	}
	second := up(t, p)
	if second == first {
		t.Error("the killed process is said to run")
	}
	for range 2 {
		if err := p.Down(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := startOf(second); !errors.Is(err, errGone) {
		t.Errorf("pid %d after down: %v", second, err)
	}
	if _, found, err := readRecord(p.recordFile()); found || err != nil {
		t.Errorf("record after down: %t, %v", found, err)
	}
}

// TestStrangerIsSpared gives a record the number of a process that is not the recorded one.
func TestStrangerIsSpared(t *testing.T) {
	t.Parallel()
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	p, _ := setup(t, "serve")
	if err := os.MkdirAll(filepath.Dir(p.recordFile()), 0o755); err != nil {
		t.Fatal(err)
	}
	r := record{Service: "fake", PID: stranger.Process.Pid, Start: "earlier"}
	if err := errors.Join(r.write(p.recordFile()), os.WriteFile(p.recordFile()+lockSuffix, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if s := p.State(t.Context()); s.State != StateDown {
		t.Errorf("state with a stranger's number: %+v", s)
	}
	if err := p.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := startOf(stranger.Process.Pid); err != nil {
		t.Errorf("the stranger was ended: %v", err)
	}
	up(t, p)
}

func TestEndedInsteadOfAnswering(t *testing.T) {
	t.Parallel()
	p, _ := setup(t, "fail")
	err := p.Up(t.Context(), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "cannot read the settings") {
		t.Errorf("got %v, want the end of the log", err)
	}
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	p, f := setup(t, "serve")
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = p.Up(t.Context(), func(string) {})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d is taken", p.ports[0])) {
		t.Errorf("got %v, want the taken port", err)
	}
}

// TestTwoStarts is what remains of two `dev up` of which the first was killed at a bad moment.
func TestTwoStarts(t *testing.T) {
	t.Parallel()
	p, _ := setup(t, "serve")
	for _, dir := range []string{filepath.Dir(p.recordFile()), filepath.Dir(p.logFile()), p.cfg.data(p.name)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := p.start(t.Context(), func(string) {}); err != nil {
			t.Fatal(err)
		}
	}
	pid := up(t, p)
	if r, found, err := readRecord(p.recordFile()); err != nil || !found || r.PID != pid {
		t.Errorf("record %+v, %t, %v, want pid %d", r, found, err, pid)
	}
	if again := up(t, p); again != pid {
		t.Errorf("pid %d after %d", again, pid)
	}
}

func TestForeign(t *testing.T) {
	t.Parallel()
	p, f := setup(t, "serve")
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hello"))
			conn.Close()
		}
	}()
	if s := p.State(t.Context()); s.State != StateForeign || s.PID != 0 || !s.Answers() {
		t.Errorf("state: %+v", s)
	}
}

// TestSilent has a process that runs and does not answer: an interrupted up leaves such a one.
func TestSilent(t *testing.T) {
	t.Parallel()
	p, _ := setup(t, "deaf")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := p.Up(ctx, func(string) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("interrupted up: %v", err)
	}
	s := p.State(t.Context())
	if s.State != StateSilent || s.PID == 0 || s.Error == "" || s.Answers() {
		t.Fatalf("state: %+v", s)
	}
	// It does not end by SIGTERM either.
	r, _, err := readRecord(p.recordFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if alive, err := r.alive(); err != nil || !alive {
		t.Fatalf("alive after SIGTERM: %t, %v", alive, err)
	}
	if err := r.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestBadRecord(t *testing.T) {
	t.Parallel()
	p, _ := setup(t, "serve")
	if err := os.MkdirAll(filepath.Dir(p.recordFile()), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"{", "{}", `{"pid": 1, "start": "x"}`} {
		if err := os.WriteFile(p.recordFile(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.Up(t.Context(), func(string) {}); err == nil {
			t.Errorf("record %q: no error", text)
		}
		if s := p.State(t.Context()); s.Error == "" {
			t.Errorf("record %q: state %+v", text, s)
		}
	}
	if err := os.Remove(p.recordFile()); err != nil {
		t.Fatal(err)
	}
}
