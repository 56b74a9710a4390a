package embedpg

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// startTimeout bounds the time from the first start of the server to its first answer.
	startTimeout = 60 * time.Second
	// stopFast is how long a fast shutdown (SIGINT) may take before an immediate one (SIGQUIT).
	stopFast = 30 * time.Second
	// stopImmediate is how long an immediate shutdown may take before SIGKILL.
	stopImmediate = 5 * time.Second
	// predecessorTimeout is how long a dying server of a killed parent may hold the directory.
	predecessorTimeout = 15 * time.Second
	// startAttempts is how often a server that ends before it answers is started again: its port
	// may have been taken, or backends of a killed server may still hold its shared memory.
	startAttempts = 5
	// pollInterval is the pause between two looks at a server that is not ready.
	pollInterval = 20 * time.Millisecond

	superuser = "clickledger"
	database  = "clickledger"
)

// ErrInUse is returned when another running server holds the directory.
var ErrInUse = errors.New("data directory is in use by a running postgresql server")

// Config says where the server lives. Only Dir is required.
type Config struct {
	// Dir holds the data, the log and the password; it is made when it does not exist.
	Dir string
	// BinDir holds initdb and postgres. Default: the environment variable
	// CLICKLEDGER_POSTGRES_BIN, else what the machine has, else pinned binaries are fetched.
	BinDir string
	// Logger gets a few lines about the start. Default: slog.Default().
	Logger *slog.Logger
	// Port on 127.0.0.1. Default 0: a free one.
	Port int
}

// Server is a running PostgreSQL.
type Server struct {
	// DSN connects as the superuser of this private server; it holds the password.
	DSN string
	// PID of the postmaster.
	PID int
	// DataDir is PostgreSQL's own directory, which need not be inside Config.Dir.
	DataDir string
	// BinDir holds the binaries in use.
	BinDir string

	child   *child
	logger  *slog.Logger
	stopped sync.Once
	stopErr error
}

// Start starts the server and returns when it answers. ctx bounds the start, not the server's
// life: that ends with Stop or with this process. Starting again in the same Dir finds the data of
// the last run.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("start postgresql: no directory given")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	place, err := preparePlace(cfg.Dir, cfg.Logger)
	if err != nil {
		return nil, fmt.Errorf("start postgresql in %s: %w", cfg.Dir, err)
	}
	defer place.unlock()
	bin, err := findBinaries(ctx, cfg, place)
	if err != nil {
		return nil, fmt.Errorf("start postgresql in %s: %w", cfg.Dir, err)
	}
	password, err := place.password()
	if err != nil {
		return nil, fmt.Errorf("start postgresql in %s: %w", cfg.Dir, err)
	}
	if err := initialise(ctx, place, bin, password); err != nil {
		return nil, fmt.Errorf("initialise postgresql in %s: %w", cfg.Dir, err)
	}
	if err := place.awaitPredecessor(ctx); err != nil {
		return nil, fmt.Errorf("start postgresql in %s: %w", cfg.Dir, err)
	}
	server := &Server{DataDir: place.data(), BinDir: bin, logger: cfg.Logger}
	if err := server.run(ctx, place, cfg.Port, password); err != nil {
		return nil, fmt.Errorf("start postgresql in %s: %w", cfg.Dir, err)
	}
	cfg.Logger.Info("postgresql is ready", "pid", server.PID, "data_dir", server.DataDir, "bin_dir", bin)
	return server, nil
}

// run starts the postmaster until it answers, at most startAttempts times.
func (s *Server) run(ctx context.Context, place *place, port int, password string) error {
	var lastErr error
	for attempt := 0; attempt < startAttempts && ctx.Err() == nil; attempt++ {
		listen := port
		if listen == 0 {
			var err error
			if listen, err = freePort(); err != nil {
				return err
			}
		}
		child, err := startChild(place, filepath.Join(s.BinDir, "postgres"), serverArgs(place.data(), listen))
		if err != nil {
			return err
		}
		s.child, s.PID = child, child.pid
		s.DSN = dsn(listen, password, database)
		lastErr = s.awaitReady(ctx, listen, password)
		if lastErr == nil {
			return nil
		}
		if err := s.Stop(); err != nil {
			s.logger.Warn("postgresql did not stop cleanly", "error", err)
		}
		s.stopped = sync.Once{}
		if !errors.Is(lastErr, errEnded) {
			break
		}
		if err := pause(ctx, time.Duration(attempt+1)*10*pollInterval); err != nil {
			break
		}
	}
	return fmt.Errorf("%w; the end of its log:\n%s", lastErr, place.logTail())
}

// errEnded marks a server that ended before it answered.
var errEnded = errors.New("postgresql ended before it answered")

// awaitReady returns when the server answers and has the database.
func (s *Server) awaitReady(ctx context.Context, port int, password string) error {
	for {
		err := ensureDatabase(ctx, dsn(port, password, "postgres"))
		if err == nil {
			return nil
		}
		select {
		case <-s.child.done:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("wait for postgresql: %w (last: %w)", ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

// ensureDatabase makes the product's database when the server has none.
func ensureDatabase(ctx context.Context, adminDSN string) error {
	conn, err := pgx.Connect(ctx, adminDSN)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var exists bool
	const query = "select exists (select from pg_database where datname = $1)"
	if err := conn.QueryRow(ctx, query, database).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "create database "+pgx.Identifier{database}.Sanitize())
	return err
}

// Done is closed when the server has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.child.done }

// Stop shuts the server down: open transactions are rolled back, a checkpoint is written. It
// returns when the process is gone; calling it again returns the first result.
func (s *Server) Stop() error {
	s.stopped.Do(func() { s.stopErr = s.stop() })
	return s.stopErr
}

func (s *Server) stop() error {
	steps := []struct {
		signal  syscall.Signal
		timeout time.Duration
	}{{syscall.SIGINT, stopFast}, {syscall.SIGQUIT, stopImmediate}, {syscall.SIGKILL, stopImmediate}}
	for i, step := range steps {
		select {
		case <-s.child.done:
			return nil
		default:
		}
		if err := s.child.signal(step.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop postgresql, pid %d: %w", s.PID, err)
		}
		timer := time.NewTimer(step.timeout)
		select {
		case <-s.child.done:
			timer.Stop()
			if i > 0 {
				s.logger.Warn("postgresql needed a harder stop; it recovers at the next start", "pid", s.PID)
			}
			return nil
		case <-timer.C:
		}
	}
	return fmt.Errorf("stop postgresql: pid %d does not end", s.PID)
}

// serverArgs are the settings of the server; everything else is PostgreSQL's default.
func serverArgs(data string, port int) []string {
	args := []string{"-D", data, "-p", strconv.Itoa(port)}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=",
		"fsync=on",
		"synchronous_commit=on",
		"full_page_writes=on",
		"max_connections=50",
		"shared_buffers=256MB",
		"max_wal_size=4GB",
		"checkpoint_timeout=15min",
		"timezone=UTC",
		"log_timezone=UTC",
		"logging_collector=off",
		"password_encryption=scram-sha-256",
	} {
		args = append(args, "-c", setting)
	}
	return args
}

func dsn(port int, password, name string) string {
	location := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Path:     "/" + name,
		RawQuery: "sslmode=disable",
	}
	return location.String()
}

// freePort asks the system for a port; another process may take it before the server does, which
// is why run tries again.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

func pause(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func randomPassword() (string, error) {
	var secret [24]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return "", fmt.Errorf("make a password: %w", err)
	}
	return hex.EncodeToString(secret[:]), nil
}

// lastLines returns the last n lines of text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
