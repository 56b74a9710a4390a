// Package clickhousetest runs a real ClickHouse for the tests of a package: the one that
// `clickledger dev up` runs, in a temporary folder and on free ports.
package clickhousetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/internal/servicestest"
)

// recorder, as the first argument, makes the test binary the recorder of a service.
const recorder = "clickhousetest-record"

// Server is a running ClickHouse.
type Server struct {
	// Address is the host and port of the native protocol.
	Address string

	part   devservices.Part
	dir    string
	mayEnd bool
}

var (
	shared    *Server
	errShared error
	once      sync.Once
	databases atomic.Int64
)

// Main is the TestMain of a package that uses Shared or Start. It ends the shared server.
func Main(m *testing.M) {
	RecordIfAsked()
	code := m.Run()
	if err := Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Stop ends the shared server, if there is one. A TestMain that is not Main calls it last.
func Stop() error {
	if shared == nil {
		return nil
	}
	return shared.stop()
}

// RecordIfAsked becomes the server where Start has started the test binary for that. A TestMain that
// is not Main calls it first.
func RecordIfAsked() {
	if len(os.Args) > 3 && os.Args[1] == recorder {
		fmt.Fprintln(os.Stderr, devservices.Record(os.Args[2], os.Args[3], os.Args[4:]))
		os.Exit(1)
	}
}

// Shared returns the one server of the package's tests.
func Shared(t testing.TB) *Server {
	t.Helper()
	servicestest.Need(t, "clickhouse")
	once.Do(func() { shared, errShared = start() })
	if errShared != nil {
		t.Fatal(errShared)
	}
	return shared
}

// Start returns a server of the test's own, which it may kill.
func Start(t testing.TB) *Server {
	t.Helper()
	servicestest.Need(t, "clickhouse")
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// URL returns the URL of a database that no other test uses.
func (s *Server) URL() string {
	return fmt.Sprintf("clickhouse://%s/test_%d", s.Address, databases.Add(1))
}

// MayEnd says that the test does what ends a server that is a library: a wrong password on the native
// protocol is answered as it should be, and then aborts the process (libchdb 26.7.3-stable.1).
func (s *Server) MayEnd() { s.mayEnd = true }

// Kill ends the server as kill -9 does.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	pid := s.part.State(t.Context()).PID
	if pid == 0 {
		t.Fatal("the server does not run")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for s.part.State(t.Context()).PID != 0 { // it gives its memory back first
		time.Sleep(time.Millisecond)
	}
}

// CPU returns the processor time that the server has used since it was started, 0 where the system does
// not say.
func (s *Server) CPU(t testing.TB) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.part.State(t.Context()).PID))
	if err != nil {
		return 0
	}
	// User and system time, in hundredths of a second, behind the name in brackets.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// Restart starts the server again, on its data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.part.Up(context.Background(), func(string) {}); err != nil {
		t.Fatal(err)
	}
}

func start() (_ *Server, err error) {
	dir, err := os.MkdirTemp("", "clickhousetest-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	base, err := freeBase()
	if err != nil {
		return nil, err
	}
	stack, err := devservices.New(devservices.Config{
		Dir: dir, CacheDir: filepath.Join(cache, "clickledger"), PortBase: base,
		Recorder: []string{program, recorder}, Postgres: []string{program},
	})
	if err != nil {
		return nil, err
	}
	parts, err := stack.Select([]string{"clickhouse"})
	if err != nil {
		return nil, err
	}
	s := &Server{Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(base+nativePort)), part: parts[0], dir: dir}
	if err := s.part.Up(context.Background(), func(string) {}); err != nil {
		return nil, err
	}
	return s, nil
}

// stop ends the server and removes its folder. A server that has ended by itself is an error, with
// the end of its log.
func (s *Server) stop() error {
	state := s.part.State(context.Background())
	err := s.part.Down(context.Background())
	if state.State != devservices.StateUp && !s.mayEnd {
		text, readErr := os.ReadFile(state.Log)
		err = errors.Join(err, readErr, fmt.Errorf("the server ended before it was told to; the end of its log:\n%s",
			text[max(0, len(text)-logBytes):]))
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// logBytes of a log are shown.
const logBytes = 8 << 10

// Distances of ClickHouse's ports from the base, as devservices has them.
const (
	httpPort   = 123
	nativePort = 900
	innerPort  = 901
)

// freeBase returns a base whose ports for ClickHouse are free.
func freeBase() (int, error) {
	listen := func(port int) (net.Listener, error) {
		return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	for range 100 {
		native, err := listen(0)
		if err != nil {
			return 0, err
		}
		base := native.Addr().(*net.TCPAddr).Port - nativePort
		free := true
		for _, distance := range []int{httpPort, innerPort} {
			other, err := listen(base + distance)
			if free = free && err == nil; err == nil {
				other.Close()
			}
		}
		native.Close()
		if free {
			return base, nil
		}
	}
	return 0, errors.New("found no free ports")
}
