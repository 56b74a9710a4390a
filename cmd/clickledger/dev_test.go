package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/devservices"
)

func TestDevUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ args, stderr string }{
		{"dev", "needs a command"},
		{"dev up --only kafak", "there is no service \"kafak\": expected of kafka, clickhouse, s3, redis, postgres, flink"},
		{"dev up --port-base 80", "port_base"},
		{"dev status extra", "unknown command"},
		{"dev record x", "requires at least 3"},
	} {
		got := start(t, append(os.Environ(), "HOME="+t.TempDir()), strings.Fields(tc.args)...)
		if got.code != config.ExitUsage || !strings.Contains(got.err, tc.stderr) {
			t.Errorf("%s: exit code %d, %q, want 2, %q", tc.args, got.code, got.err, tc.stderr)
		}
	}
}

// quietBase is a base of ports of which none that is asked is in use.
func quietBase(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:25379")
	if err != nil {
		t.Skipf("port 25379 is in use: %v", err)
	}
	listener.Close()
	return "25000"
}

func TestDevStatusAndDownOfNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "none")
	base := quietBase(t)
	got := start(t, os.Environ(), "dev", "status", "--only", "redis", "--dir", dir, "--port-base", base, "--json")
	var result devResult
	if err := json.Unmarshal([]byte(got.out), &result); err != nil {
		t.Fatalf("%v: %q", err, got.out)
	}
	if got.code != config.ExitFailed || len(result.Services) != 1 || result.Services[0].State != devservices.StateDown ||
		result.Config != filepath.Join(dir, "clickledger.yaml") {
		t.Errorf("exit code %d, %+v", got.code, result)
	}
	for _, args := range []string{"down", "down --dry-run", "up --dry-run"} {
		line := append([]string{"dev"}, strings.Fields(args)...)
		if got := start(t, os.Environ(), append(line, "--dir", dir, "--port-base", base)...); got.code != config.ExitOK {
			t.Errorf("dev %s: exit code %d, %s", args, got.code, got.err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s was made", dir)
	}
}

func TestDevEnv(t *testing.T) {
	t.Parallel()
	got := start(t, os.Environ(), "dev", "env", "--port-base", "31000")
	if got.code != config.ExitOK || !strings.Contains(got.out, "export AWS_ENDPOINT_URL=http://127.0.0.1:31000\n") {
		t.Errorf("exit code %d, %q, %s", got.code, got.out, got.err)
	}
}

// TestServicesConfig: the file for the development services is a good configuration.
func TestServicesConfig(t *testing.T) {
	t.Parallel()
	path, err := filepath.Abs(filepath.Join("..", "..", "scripts", "services.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := start(t, nil, "config", "check", "--config", path); got.code != config.ExitOK {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
}
