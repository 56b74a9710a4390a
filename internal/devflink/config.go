package devflink

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Versions of what is fetched. The Beam runner and its job service have different ones: no newer
// job service than this is published in parts.
const (
	FlinkVersion      = "1.19.3"
	BeamVersion       = "2.70.0"
	JobServiceVersion = "2.65.0"
)

// Defaults of Config.
const (
	DefaultRESTPort           = 8081
	DefaultRPCPort            = 6123
	DefaultJobPort            = 8099
	DefaultArtifactPort       = 8098
	DefaultExpansionPort      = 8097
	DefaultSlots              = 2
	DefaultTaskHeapMiB        = 768
	DefaultCheckpointInterval = 10 * time.Second
	DefaultRestartAttempts    = 100
	DefaultRestartDelay       = 2 * time.Second
	DefaultStartTimeout       = 2 * time.Minute
)

// Config says where the cluster lives. Only Dir is required.
type Config struct {
	// Dir holds configuration, logs, records of the processes, checkpoints and savepoints.
	Dir string
	// CacheDir holds what was fetched. Default: clickledger below the user's cache directory.
	CacheDir string
	// Java is the runtime to use. Default: java of JAVA_HOME, else of the PATH.
	Java string
	// Ports on 127.0.0.1. Defaults: the usual ones of Flink and Beam.
	RESTPort, RPCPort, JobPort, ArtifactPort, ExpansionPort int
	// Slots is the number of task slots, and so the highest parallelism of all jobs together.
	Slots int
	// TaskHeapMiB is the heap of tasks. RocksDB takes up to another gigabyte beside it.
	TaskHeapMiB int
	// CheckpointInterval of jobs that do not name one.
	CheckpointInterval time.Duration
	// RestartAttempts is how often a failed job is restarted, RestartDelay the time before that.
	RestartAttempts int
	RestartDelay    time.Duration
	// StartTimeout bounds the time until the cluster and the job server answer; fetching is not
	// part of it.
	StartTimeout time.Duration
	// Logger gets a few lines. Default: slog.Default().
	Logger *slog.Logger
}

// RESTURL is the address of the cluster's REST API and web page.
func (c Config) RESTURL() string {
	return "http://" + c.withDefaults().address(c.RESTPort, DefaultRESTPort)
}

// JobService is the address of the job server, host:port.
func (c Config) JobService() string { return c.address(c.JobPort, DefaultJobPort) }

// CheckpointDir and SavepointDir are the URLs that the cluster stores state at.
func (c Config) CheckpointDir() string { return "file://" + filepath.Join(c.Dir, "checkpoints") }

// SavepointDir is where savepoints go that name no other place.
func (c Config) SavepointDir() string { return "file://" + filepath.Join(c.Dir, "savepoints") }

func (Config) address(port, otherwise int) string {
	if port == 0 {
		port = otherwise
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var problems []error
	if !filepath.IsAbs(c.Dir) {
		problems = append(problems, fmt.Errorf("dir: %q is not an absolute path", c.Dir))
	}
	taken := map[int]string{}
	d := c.withDefaults()
	for _, p := range []struct {
		key  string
		port int
	}{
		{"rest_port", d.RESTPort},
		{"rpc_port", d.RPCPort},
		{"job_port", d.JobPort},
		{"artifact_port", d.ArtifactPort},
		{"expansion_port", d.ExpansionPort},
	} {
		if p.port < 1 || p.port > 65535 {
			problems = append(problems, fmt.Errorf("%s: %d is no port", p.key, p.port))
		}
		if other, ok := taken[p.port]; ok {
			problems = append(problems, fmt.Errorf("%s: %d is the port of %s too", p.key, p.port, other))
		}
		taken[p.port] = p.key
	}
	for _, n := range []struct {
		key              string
		value, low, high int
	}{
		{"slots", d.Slots, 1, 1024},
		{"task_heap_mib", d.TaskHeapMiB, 64, 1 << 20},
		{"restart_attempts", d.RestartAttempts, 1, 1 << 20},
		{"checkpoint_interval_millis", int(d.CheckpointInterval.Milliseconds()), 100, 86_400_000},
	} {
		if n.value < n.low || n.value > n.high {
			problems = append(problems, fmt.Errorf("%s: %d is not between %d and %d", n.key, n.value, n.low, n.high))
		}
	}
	return errors.Join(problems...)
}

func (c Config) withDefaults() Config {
	for _, n := range []struct {
		value     *int
		otherwise int
	}{
		{&c.RESTPort, DefaultRESTPort},
		{&c.RPCPort, DefaultRPCPort},
		{&c.JobPort, DefaultJobPort},
		{&c.ArtifactPort, DefaultArtifactPort},
		{&c.ExpansionPort, DefaultExpansionPort},
		{&c.Slots, DefaultSlots},
		{&c.TaskHeapMiB, DefaultTaskHeapMiB},
		{&c.RestartAttempts, DefaultRestartAttempts},
	} {
		if *n.value == 0 {
			*n.value = n.otherwise
		}
	}
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{
		{&c.CheckpointInterval, DefaultCheckpointInterval},
		{&c.RestartDelay, DefaultRestartDelay},
		{&c.StartTimeout, DefaultStartTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	if c.CacheDir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			base = c.Dir
		}
		c.CacheDir = filepath.Join(base, "clickledger")
	}
	if c.Java == "" {
		c.Java = "java"
		if home := os.Getenv("JAVA_HOME"); home != "" {
			c.Java = filepath.Join(home, "bin", "java")
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
