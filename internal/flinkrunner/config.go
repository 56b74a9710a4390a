package flinkrunner

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Environment says where DoFns run.
type Environment string

// The environments; see the package's comment.
const (
	Loopback Environment = "loopback"
	Process  Environment = "process"
	External Environment = "external"
)

// Defaults of Config.
const (
	DefaultCheckpointInterval = 10 * time.Second
	DefaultMaxParallelism     = 128
	DefaultMaxBundleSize      = 1000
	DefaultMaxBundleTime      = 50 * time.Millisecond
	DefaultStartTimeout       = time.Minute
	DefaultStarts             = 3
	DefaultSubmitTimeout      = 5 * time.Minute
	DefaultSavepointTimeout   = 10 * time.Minute
	DefaultOutage             = 2 * time.Minute
	// loopbackRestarts, loopbackDelay apart, are enough for a TaskManager that is started again. A job whose workers
	// have died with their process ends after them, and leaves its name to the next one.
	loopbackRestarts = 20
	loopbackDelay    = 2 * time.Second
)

// Config says where and how a pipeline runs. JobService, REST, Name and Environment are required.
type Config struct {
	// JobService is the address of Beam's job server, host:port.
	JobService string
	// REST is the URL of Flink's REST API.
	REST string
	// Name of the job; Submit adds what makes it unique.
	Name string
	// Environment of the DoFns.
	Environment Environment
	// Boot is the path of the program that TaskManagers start on their hosts; for Process. Default: that
	// of WorkerBinary, which must be there then. Where it is named, it may be Beam's boot program
	// too: the worker's program is staged for it.
	Boot string
	// WorkerEnv is the environment of the worker beside that of its TaskManager; for Process.
	// It becomes part of the job: no secrets.
	WorkerEnv map[string]string
	// WorkerDir is where Beam's boot program keeps staged files on the TaskManagers' hosts.
	// Default: Beam's, the host's temporary directory.
	WorkerDir string
	// WorkerPool is the address of the pools, as the TaskManagers see it; for External.
	WorkerPool string
	// WorkerBinary is the worker's program for Process. Default: this one.
	WorkerBinary string
	// Batch runs a bounded pipeline in Flink's batch mode: no checkpoints, stages one after another.
	Batch bool
	// Parallelism of every operator. Default: the cluster's.
	Parallelism int
	// MaxParallelism bounds the parallelism that state can be resumed at.
	MaxParallelism int
	// CheckpointInterval is the time between the beginnings of two checkpoints.
	CheckpointInterval time.Duration
	// MaxBundleSize is the most elements of a bundle, and MaxBundleTime its longest life: what an
	// operator sends may wait for the end of its bundle.
	MaxBundleSize int
	MaxBundleTime time.Duration
	// StateBackend is rocksdb or hashmap, with checkpoints below the URL StateStorage. Default: the
	// cluster's own for both.
	StateBackend, StateStorage string
	// Savepoint is the place of a savepoint, or of a retained checkpoint, to resume from.
	Savepoint string
	// AllowNonRestored lets state of the savepoint go that the pipeline has no operator for.
	AllowNonRestored bool
	// Options are more options of Beam's Flink runner by their short names, such as
	// "object_reuse". They win over those above.
	Options map[string]any
	// StartTimeout is how long a started job may make no progress before it is submitted again, at
	// most Starts times in all. A source must send something within it, an empty block at least.
	StartTimeout time.Duration
	Starts       int
	// SubmitTimeout bounds one submission, the staging of the worker included.
	SubmitTimeout time.Duration
	// SavepointTimeout bounds a savepoint.
	SavepointTimeout time.Duration
	// Outage is how long Wait bears a REST API that does not answer.
	Outage time.Duration
	// Logger gets a few lines. Default: slog.Default().
	Logger *slog.Logger
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	problems := []error{c.validateAddresses()}
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Name == "" {
		add("name: missing")
	}
	switch c.Environment {
	case Loopback, Process:
	case External:
		if err := CheckAddress(c.WorkerPool); err != nil {
			add("worker_pool: %w", err)
		}
	default:
		add("environment: found %q; expected %s, %s or %s", c.Environment, Loopback, Process, External)
	}
	for _, name := range slices.Sorted(maps.Keys(c.WorkerEnv)) {
		if looksSecret(name) {
			add("worker_env: %s looks like a secret, and would be readable in the job", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Options)) {
		if looksSecret(name) {
			add("options: %s looks like a secret, and would be readable in the job", name)
		}
	}
	d := c.withDefaults()
	for _, n := range []struct {
		key              string
		value, low, high int64
	}{
		{"parallelism", int64(c.Parallelism), 0, 32768},
		{"max_parallelism", int64(d.MaxParallelism), max(1, int64(c.Parallelism)), 32768},
		{"checkpoint_interval_millis", d.CheckpointInterval.Milliseconds(), 10, 86_400_000},
		{"max_bundle_size", int64(d.MaxBundleSize), 1, 1 << 30},
		{"max_bundle_time_millis", d.MaxBundleTime.Milliseconds(), 1, 600_000},
		{"starts", int64(d.Starts), 1, 100},
	} {
		if n.value < n.low || n.value > n.high {
			add("%s: %d is not between %d and %d", n.key, n.value, n.low, n.high)
		}
	}
	if c.StateBackend != "" && c.StateBackend != "rocksdb" && c.StateBackend != "hashmap" {
		add("state_backend: found %q; expected rocksdb or hashmap", c.StateBackend)
	}
	if (c.StateBackend == "") != (c.StateStorage == "") {
		add("state_storage: it and state_backend need each other")
	}
	return errors.Join(problems...)
}

func (c Config) validateAddresses() error {
	var problems []error
	if err := CheckAddress(c.JobService); err != nil {
		problems = append(problems, fmt.Errorf("job_service: %w", err))
	}
	if u, err := url.Parse(c.REST); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		problems = append(problems, errors.New("rest: expected http://host:port"))
	} else if u.User != nil {
		problems = append(problems, errors.New("rest: a password in the URL is not supported"))
	}
	return errors.Join(problems...)
}

// CheckAddress says what is wrong with a network address, if it is none.
func CheckAddress(address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("found %q; expected host:port", address)
	}
	return nil
}

func looksSecret(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"password", "passwd", "secret", "token", "credential", "private_key"},
		func(word string) bool { return strings.Contains(name, word) })
}

func (c Config) withDefaults() Config {
	fill(&c.MaxParallelism, DefaultMaxParallelism)
	fill(&c.CheckpointInterval, DefaultCheckpointInterval)
	fill(&c.MaxBundleSize, DefaultMaxBundleSize)
	fill(&c.MaxBundleTime, DefaultMaxBundleTime)
	fill(&c.StartTimeout, DefaultStartTimeout)
	fill(&c.Starts, DefaultStarts)
	fill(&c.SubmitTimeout, DefaultSubmitTimeout)
	fill(&c.SavepointTimeout, DefaultSavepointTimeout)
	fill(&c.Outage, DefaultOutage)
	c.REST = strings.TrimRight(c.REST, "/")
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.WorkerBinary == "" {
		if self, err := os.Executable(); err == nil {
			c.WorkerBinary = self
		}
	}
	return c
}

func fill[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// options are the pipeline options of a submission, by the names that Beam's Java side reads.
func (c Config) options(job string) map[string]any {
	o := map[string]any{
		"job_name":        job,
		"app_name":        c.Name,
		"streaming":       !c.Batch,
		"max_parallelism": c.MaxParallelism,
		"max_bundle_size": c.MaxBundleSize,
		// Beam spells it so.
		"max_bundle_time_mills": c.MaxBundleTime.Milliseconds(),
		"experiments":           []any{"beam_fn_api"},
	}
	if !c.Batch {
		o["checkpointing_interval"] = c.CheckpointInterval.Milliseconds()
		// The last checkpoint of a job that failed for good can be resumed from.
		o["externalized_checkpoints_enabled"] = true
		o["retain_externalized_checkpoints_on_cancellation"] = true
	}
	if c.Environment == Loopback {
		o["number_of_execution_retries"], o["execution_retry_delay"] = loopbackRestarts, loopbackDelay.Milliseconds()
	}
	if c.StateBackend != "" {
		o["state_backend"], o["state_backend_storage_path"] = c.StateBackend, c.StateStorage
	}
	if c.Parallelism > 0 {
		o["parallelism"] = c.Parallelism
	}
	if c.WorkerDir != "" {
		o["semi_persist_dir"] = c.WorkerDir
	}
	if c.Savepoint != "" {
		o["savepoint_path"] = c.Savepoint
		o["allow_non_restored_state"] = c.AllowNonRestored
	}
	maps.Copy(o, c.Options)
	return o
}
