// Package redistest runs a real Redis for a test: a server of its own on a free port, with its data
// in a temporary folder, every write synced to disk before it is answered.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/servicestest"
)

const (
	binary      = "redis-server"
	startLimit  = 20 * time.Second
	answerLimit = time.Second
)

// Server is a Redis that belongs to one test.
type Server struct {
	// URL is of its database 0.
	URL string

	tb   testing.TB
	port int
	dir  string
	cmd  *exec.Cmd
}

// Start starts a server and ends it with the test, which is skipped where services are not allowed
// or Redis can be neither found nor installed.
func Start(tb testing.TB) *Server {
	tb.Helper()
	servicestest.Need(tb, "redis")
	port, err := freePort(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{tb: tb, port: port, dir: tb.TempDir(), URL: fmt.Sprintf("redis://127.0.0.1:%d/0", port)}
	s.Run()
	tb.Cleanup(s.Kill)
	return s
}

// Run starts the server again after Kill, with what it had written.
func (s *Server) Run() {
	s.tb.Helper()
	// The test's context ends before its clean-ups; the server is ended by Kill.
	s.cmd = exec.CommandContext(context.WithoutCancel(s.tb.Context()), binary, "--bind", "127.0.0.1",
		"--port", strconv.Itoa(s.port), "--dir", s.dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "")
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	for deadline := time.Now().Add(startLimit); ; {
		answer, err := s.ask("PING")
		if err == nil && answer == "+PONG" {
			return
		}
		if time.Now().After(deadline) {
			s.Kill()
			s.tb.Fatalf("redis on port %d does not answer: %q, %v", s.port, answer, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Kill ends the server by SIGKILL, if it runs.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // says that it was killed
	s.cmd = nil
}

// CPU is the processor time that the server has taken since it was started.
func (s *Server) CPU() time.Duration {
	s.tb.Helper()
	answer, err := s.ask("INFO cpu")
	if err != nil {
		s.tb.Fatal(err)
	}
	var total time.Duration
	for line := range strings.Lines(answer) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "used_cpu_sys" && name != "used_cpu_user" {
			continue
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			s.tb.Fatal(err)
		}
		total += time.Duration(seconds * float64(time.Second))
	}
	return total
}

// ask sends one command and returns the answer, which must be short.
func (s *Server) ask(command string) (string, error) {
	ctx := context.WithoutCancel(s.tb.Context()) // it is asked in clean-ups too
	conn, err := (&net.Dialer{Timeout: answerLimit}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	return strings.TrimSpace(string(buf[:n])), err
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
