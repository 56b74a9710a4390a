package embedpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// helperDir makes this test binary run as the parent of a server, to be killed by a test.
const helperDir = "CLICKLEDGER_EMBEDPG_HELPER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		runHelper(dir)
	}
	os.Exit(m.Run())
}

// runHelper starts a server, prints its pid and DSN, and waits to be killed.
func runHelper(dir string) {
	server, err := Start(context.Background(), Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(server.PID, server.DSN)
	select {}
}

// openDir is a test directory that the server's user can reach, also under root.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "embedpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	server, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func query[T any](t *testing.T, dsn, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var result T
	if err := conn.QueryRow(t.Context(), sql).Scan(&result); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return result
}

func execute(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestStartServesOnLoopbackWithPasswordAndFsync(t *testing.T) {
	t.Parallel()
	// Far longer than the 107 bytes of a unix socket's path.
	dir := filepath.Join(openDir(t), strings.Repeat("a-long-directory-name/", 8), "pg")
	server := start(t, Config{Dir: dir})
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "listen_addresses": "127.0.0.1",
		"unix_socket_directories": "", "TimeZone": "UTC", "server_encoding": "UTF8",
	} {
		if got := query[string](t, server.DSN, "select current_setting('"+setting+"')"); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	location, err := url.Parse(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	if location.Hostname() != "127.0.0.1" {
		t.Errorf("host = %s", location.Hostname())
	}
	location.User = url.UserPassword(superuser, "wrong")
	if conn, err := pgx.Connect(t.Context(), location.String()); err == nil {
		conn.Close(t.Context())
		t.Error("a wrong password was accepted")
	}
	info, err := os.Stat(filepath.Join(dir, "password"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("password file: %v, %v", info, err)
	}
	if owner := serverIdentity(); owner != nil {
		info, err := os.Stat(fmt.Sprintf("/proc/%d", server.PID))
		if err != nil {
			t.Fatal(err)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != owner.uid {
			t.Errorf("server runs as uid %d, want %d", uid, owner.uid)
		}
	}
}

func TestDataSurvivesStopKillAndStalePidFile(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	first := start(t, Config{Dir: dir})
	execute(t, first.DSN, "create table kept as select 'one'::text as v")
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}

	second := start(t, Config{Dir: dir})
	execute(t, second.DSN, "insert into kept values ('two')")
	if err := syscall.Kill(second.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-second.Done()
	if _, err := os.Stat(filepath.Join(second.DataDir, "postmaster.pid")); err != nil {
		t.Fatalf("a killed server leaves its pid file: %v", err)
	}

	third := start(t, Config{Dir: dir})
	if got := query[int](t, third.DSN, "select count(*)::int from kept"); got != 2 {
		t.Errorf("rows = %d, want 2", got)
	}
	if err := syscall.Kill(third.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-third.Done()
	// The number in the pid file now belongs to another living program: this one.
	pidFile := filepath.Join(third.DataDir, "postmaster.pid")
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	fourth := start(t, Config{Dir: dir})
	if got := query[int](t, fourth.DSN, "select count(*)::int from kept"); got != 2 {
		t.Errorf("rows = %d, want 2", got)
	}
}

func TestServerEndsWithItsKilledParentAndRestarts(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	parent := exec.Command(os.Args[0], "-test.run=^$")
	parent.Env = append(os.Environ(), helperDir+"="+dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = parent.Process.Kill() })
	var pid int
	var dsn string
	if _, err := fmt.Fscan(out, &pid, &dsn); err != nil {
		t.Fatalf("helper did not start: %v", err)
	}
	execute(t, dsn, "create table kept as select 'one'::text as v")
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	// No pause: the new start itself waits for the old server to end.
	server := start(t, Config{Dir: dir})
	if err := syscall.Kill(pid, 0); err == nil && mayServe(pid, server.DataDir) {
		t.Errorf("the server %d of the killed parent still runs", pid)
	}
	if got := query[string](t, server.DSN, "select v from kept"); got != "one" {
		t.Errorf("v = %q", got)
	}
}

func TestSecondServerOnSameDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	server := start(t, Config{Dir: dir})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, Config{Dir: dir, BinDir: server.BinDir}); err == nil {
		t.Fatal("two servers on one directory")
	}
	if got := query[int](t, server.DSN, "select 1"); got != 1 {
		t.Error("the first server was hurt")
	}
}

func TestUnreachableDirectoryUnderRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another user")
	}
	dir := openDir(t)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "pg")
	first := start(t, Config{Dir: dir})
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(first.DataDir)) })
	if strings.HasPrefix(first.DataDir, dir) {
		t.Fatalf("data in %s", first.DataDir)
	}
	execute(t, first.DSN, "create table kept as select 'one'::text as v")
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second := start(t, Config{Dir: dir})
	if got := query[string](t, second.DSN, "select v from kept"); got != "one" {
		t.Errorf("v = %q", got)
	}
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	// A ledger that has gone is an error, not a new, empty ledger.
	if err := os.RemoveAll(filepath.Dir(second.DataDir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("err = %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	if _, err := Start(t.Context(), Config{}); err == nil {
		t.Error("no directory: no error")
	}
	missing := filepath.Join(openDir(t), "nothing")
	_, err := Start(t.Context(), Config{Dir: openDir(t), BinDir: missing})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing binaries: err = %v", err)
	}
}

func TestUnfinishedInitialisationIsDoneAgain(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	server := start(t, Config{Dir: dir})
	if got := query[int](t, server.DSN, "select 1"); got != 1 {
		t.Error(got)
	}
}
