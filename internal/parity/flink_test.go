package parity

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/clickhouseio"
	"github.com/clickledger/clickledger/internal/clickhousetest"
	"github.com/clickledger/clickledger/internal/devflink"
	"github.com/clickledger/clickledger/internal/flinkrunner"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/internal/servicestest"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

const (
	// flinkFolderVariable names a folder for a cluster on the usual ports that is left running, for
	// work on these tests.
	flinkFolderVariable = "CLICKLEDGER_TEST_FLINK_DIR"

	flinkTimeout = 10 * time.Minute
)

// flink is a running cluster.
type flink struct {
	cluster devflink.Config
	isKept  bool
}

func startFlink(t *testing.T) *flink {
	t.Helper()
	servicestest.Need(t, servicestest.Flink)
	f := &flink{cluster: devflink.Config{Dir: os.Getenv(flinkFolderVariable), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	if f.isKept = f.cluster.Dir != ""; !f.isKept {
		f.cluster.Dir = t.TempDir()
		f.choosePorts(t)
	}
	f.up(t)
	t.Cleanup(func() {
		if f.isKept {
			return
		}
		if err := devflink.Down(context.Background(), f.cluster); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *flink) up(t *testing.T) {
	t.Helper()
	if err := devflink.Up(t.Context(), f.cluster); err != nil {
		t.Fatal(err)
	}
}

func (f *flink) choosePorts(t *testing.T) {
	t.Helper()
	for _, port := range []*int{&f.cluster.RESTPort, &f.cluster.RPCPort, &f.cluster.JobPort, &f.cluster.ArtifactPort, &f.cluster.ExpansionPort} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*port = listener.Addr().(*net.TCPAddr).Port
		defer listener.Close()
	}
}

// pids are the processes whose command line has all the words.
func pids(t *testing.T, words ...string) []int {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil || slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(string(text), word) }) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

// config is a configuration for the cluster.
func (f *flink) config(t *testing.T, environment flinkrunner.Environment) stream.FlinkConfig {
	t.Helper()
	return stream.FlinkConfig{REST: f.cluster.RESTURL(), JobService: f.cluster.JobService(), Name: "parity", Environment: string(environment),
		Parallelism: 2, CheckpointInterval: 2 * time.Second}
}

// newFlinkBed is a bed whose rows are in ClickHouse.
func newFlinkBed(t *testing.T, p *policy.Policy) (*bed, string) {
	t.Helper()
	b := newBed(t, logPartitions, p)
	ctx, cancel := context.WithTimeout(t.Context(), flinkTimeout)
	t.Cleanup(cancel)
	b.ctx = ctx
	return b, newClickHouse(t)
}

// newClickHouse returns the URL of an empty database.
func newClickHouse(t *testing.T) string {
	t.Helper()
	url := clickhousetest.Shared(t).URL()
	if err := clickhouseio.Migrate(t.Context(), url, clickhouseio.Options{}); err != nil {
		t.Fatal(err)
	}
	return url
}

func openClickHouse(t *testing.T, url string) *clickhouseio.Store {
	t.Helper()
	store, err := clickhouseio.Open(t.Context(), url, clickhouseio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// onFlink runs the stream to the end of the log.
func (b *bed) onFlink(cfg stream.FlinkConfig, store serving.Store, url string) stream.FlinkResult {
	b.t.Helper()
	cfg.Store = stream.Place{URL: url}
	begin := time.Now()
	result, err := stream.RunOnFlink(b.ctx, stream.Config{Log: b.url, Policy: b.policy, RunID: b.runID("flink"), UntilEnd: true, Flink: cfg},
		stream.Deps{Serving: store, Logger: slog.New(slog.NewTextHandler(b.t.Output(), nil))})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Logf("flink, %s: %+v", time.Since(begin).Round(time.Second), result)
	return result
}

// TestFlink takes the same seeded logs through the stream on prism and on Flink: rows are equal to
// the byte, versions included, and so are the decisions.
func TestFlink(t *testing.T) {
	f := startFlink(t)
	for _, tc := range []struct {
		environment flinkrunner.Environment
		log         seeded
		policy      *policy.Policy
	}{
		{flinkrunner.Loopback, seeded{seed: 1, clicks: 12_000, rate: 1.8}, policy.Default()},
		{flinkrunner.Loopback, seeded{seed: 5, clicks: 12_000, rate: 1.8, isLate: true}, parsePolicy(t, twoRevisions)},
		{flinkrunner.Process, seeded{seed: 4, clicks: 12_000, rate: 1.8, isLate: true}, policy.Default()},
	} {
		t.Run(fmt.Sprintf("%s, seed %d", tc.environment, tc.log.seed), func(t *testing.T) {
			b, url := newFlinkBed(t, tc.policy)
			l := tc.log.log(t)
			b.produce(l)
			st := b.stream()
			want, decided := rows(t, b.open(), serving.Provisional, always), b.decisions()
			from := b.decisionEnds()
			store := openClickHouse(t, url)
			result := b.onFlink(f.config(t, tc.environment), store, url)
			sameRows(t, "flink", rows(t, store, serving.Provisional, always), want)
			b.sameDecisions(b.decisionsFrom(from), decided)
			if result.Records != int64(len(l.recs)) || result.Judged() != result.Records || result.SpendMicros != st.SpendMicros {
				t.Errorf("got %+v, prism %+v", result, st)
			}
			if !tc.log.isLate {
				sameRows(t, "oracle", bare(want), oracle.Judge(l.recs, tc.policy).Rows(oracle.All))
			}
		})
	}
}
