package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/config"
)

// TestBatchOnFlinkUsage: what cannot run on a cluster is bad usage, and says what is missing; a cluster
// that is away is a failure, and leaves nothing.
func TestBatchOnFlinkUsage(t *testing.T) {
	t.Parallel()
	archive := writeArchive(t, generateRecords(t, 1, 500))
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"another runner", []string{"--runner", "spark"}, config.ExitUsage, `batch.runner: found "spark" in flag --runner; expected one of prism, flink`},
		{"no pool", []string{"--flink-environment", "external", "--exchange", "file:///x"}, config.ExitUsage, "worker_pool:"},
		{"no exchange", []string{"--flink-environment", "process", "--flink-boot", "/boot"}, config.ExitUsage,
			"batch.exchange: workers of the environment process are other processes"},
		{"no cluster", []string{"--flink-rest", "http://127.0.0.1:1"}, config.ExitFailed, "http://127.0.0.1:1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "out")
			args := []string{"batch", "--archive", "file://" + archive, "--date", "2026-03-01", "--out", out}
			if tc.args[0] != "--runner" {
				args = append(args, "--runner", "flink")
			}
			got := start(t, nil, append(args, tc.args...)...)
			if got.code != tc.code || !strings.Contains(got.err, tc.want) {
				t.Errorf("got exit code %d and %q, want %d and %q", got.code, got.err, tc.code, tc.want)
			}
			if _, err := os.Stat(out); !os.IsNotExist(err) {
				t.Errorf("the result was written: %v", err)
			}
		})
	}
}
