package flinkrunner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

func valid() Config {
	return Config{JobService: "127.0.0.1:8099", REST: "http://127.0.0.1:8081/", Name: "x", Environment: Loopback}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"ok", func(*Config) {}, nil},
		{"nothing", func(c *Config) { *c = Config{} }, []string{"job_service: ", "rest: ", "name: ", "environment: "}},
		{"process", func(c *Config) { c.Environment = Process }, nil},
		{"no pool", func(c *Config) { c.Environment = External }, []string{"worker_pool: "}},
		{"secret in the worker's environment", func(c *Config) { c.WorkerEnv = map[string]string{"PGPASSWORD": "x"} }, []string{"worker_env: PGPASSWORD"}},
		{"secret option", func(c *Config) { c.Options = map[string]any{"api_token": "x"} }, []string{"options: api_token"}},
		{"password in the URL", func(c *Config) { c.REST = "http://u:hidden@h:1" }, []string{"rest: a password"}},
		{"storage alone", func(c *Config) { c.StateStorage = "file:///x" }, []string{"state_storage: "}},
		{"parallelism", func(c *Config) { c.Parallelism, c.MaxParallelism = 9, 8 }, []string{"max_parallelism: 8 is not between 9"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := valid()
			tc.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (len(tc.want) == 0) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}

// TestOptions holds the options to the names that Beam's Java side reads, and to no flag of this
// program.
func TestOptions(t *testing.T) {
	t.Parallel()
	cfg := valid()
	cfg.Parallelism, cfg.Savepoint, cfg.Options = 2, "file:///s", map[string]any{"object_reuse": true}
	options, err := pipelineOptions(cfg.withDefaults().options("x-1"))
	if err != nil {
		t.Fatal(err)
	}
	got := options.AsMap()
	for name, want := range map[string]any{"streaming": true, "checkpointing_interval": 10_000.0, "parallelism": 2.0,
		"savepoint_path": "file:///s", "object_reuse": true, "job_name": "x-1", "max_bundle_time_mills": 50.0} {
		if have := got["beam:option:"+name+":v1"]; have != want {
			t.Errorf("%s: got %v, want %v", name, have, want)
		}
	}
	if text := fmt.Sprint(got); strings.Contains(text, "test.") {
		t.Errorf("flags became options: %s", text)
	}
	cfg.Batch = true
	if _, ok := cfg.withDefaults().options("x")["checkpointing_interval"]; ok {
		t.Error("a batch job has checkpoints")
	}
}

// TestUnreachable: one line that names the address, soon.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	flink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	defer flink.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	for name, change := range map[string]func(*Config){
		"flink at http://" + closed:        func(c *Config) { c.REST = "http://" + closed },
		"the beam job server at " + closed: func(c *Config) { c.REST, c.JobService = flink.URL, closed },
	} {
		cfg := valid()
		change(&cfg)
		_, err := Submit(t.Context(), cfg, nil)
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), name+" does not answer") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

func TestRootCause(t *testing.T) {
	t.Parallel()
	for trace, want := range map[string]string{
		"a.B: bad\n\tat x\nCaused by: c.D: worse\n\tat y\nCaused by: e.F: worst\n": "e.F: worst",
		"a.B: bad\n\tat x\n": "a.B: bad",
		"":                   "",
	} {
		if got := rootCause(trace); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// fakeFlink answers for one job, whose records and state a test sets.
type fakeFlink struct {
	records atomic.Int64
	grows   bool
	state   string
	fails   string
}

func (f *fakeFlink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/exceptions"):
		fmt.Fprintf(w, `{"root-exception": %q}`, f.fails)
	case strings.HasPrefix(r.URL.Path, "/jobs/one"):
		if f.grows {
			f.records.Add(1)
		}
		fmt.Fprintf(w, `{"state": %q, "vertices": [{"id": "v", "status": "RUNNING", "metrics": {"read-records": %d}}]}`, f.state, f.records.Load())
	default:
		http.Error(w, `{"errors": ["no such thing"]}`, http.StatusNotFound)
	}
}

func TestProgressAfterStart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		fake *fakeFlink
		want error
	}{
		{"flows", &fakeFlink{state: "RUNNING", grows: true}, nil},
		{"hangs", &fakeFlink{state: "RUNNING"}, ErrStalled},
		{"has finished", &fakeFlink{state: "FINISHED"}, nil},
		{"fails", &fakeFlink{state: "FAILED", fails: "x\nCaused by: the reason"}, ErrFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.fake.records.Store(4)
			server := httptest.NewServer(tc.fake)
			defer server.Close()
			cfg := valid()
			cfg.REST, cfg.StartTimeout = server.URL, time.Second
			job, err := Attach(t.Context(), cfg, "one")
			if err != nil {
				t.Fatal(err)
			}
			err = job.awaitProgress(t.Context())
			if !errors.Is(err, tc.want) || errors.Is(tc.want, ErrFailed) && !strings.Contains(err.Error(), "the reason") {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestAttachToNothing(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&fakeFlink{})
	defer server.Close()
	cfg := valid()
	cfg.REST = server.URL
	if _, err := Attach(t.Context(), cfg, "two"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestAddCounters(t *testing.T) {
	t.Parallel()
	const metrics = `{"metrics": {"attempted": [
		{"urn": "beam:metric:user:sum_int64:v1", "type": "beam:metrics:sum_int64:v1", "payload": "9gk=", "labels": {"NAMESPACE": "a", "NAME": "b"}},
		{"urn": "beam:metric:user:sum_int64:v1", "payload": "AQ==", "labels": {"NAMESPACE": "a", "NAME": "b"}},
		{"urn": "beam:metric:element_count:v1", "payload": "AQ=="}]}}`
	counters := map[string]int64{}
	if err := addCounters(counters, metrics); err != nil || len(counters) != 1 || counters["a.b"] != 1271 {
		t.Errorf("got %v, %v", counters, err)
	}
	if err := addCounters(counters, "x"); err == nil {
		t.Error("got no error")
	}
}

// TestPool: a worker is its ID and its TaskManager, so that the next TaskManager may count anew.
func TestPool(t *testing.T) {
	t.Parallel()
	p, err := startPool(t.Context(), "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	begin := func(id, control string) string {
		answer, err := p.StartWorker(t.Context(), &fnpb.StartWorkerRequest{WorkerId: id,
			ControlEndpoint: &pipepb.ApiServiceDescriptor{Url: control}, LoggingEndpoint: &pipepb.ApiServiceDescriptor{Url: control}})
		if err != nil {
			t.Fatal(err)
		}
		return answer.GetError()
	}
	for _, control := range []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:2"} {
		if got := begin("1-1", control); got != "" {
			t.Errorf("got %s", got)
		}
	}
	if answer, _ := p.StartWorker(context.Background(), &fnpb.StartWorkerRequest{WorkerId: "1"}); answer.GetError() == "" {
		t.Error("a worker without a TaskManager was started")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.workers) != 2 {
		t.Errorf("got %d workers, want 2", len(p.workers))
	}
}
