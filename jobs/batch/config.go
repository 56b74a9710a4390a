// Package batch is the batch layer: it judges one billing day again, from the archive alone, by
// the same transforms as the stream, and writes the rows and decisions that are billed.
//
// It works at any size in bounded memory. Pass 1 finds the copies: DuckDB groups the day's click_ids
// and their look-back, and only clicks whose click_id occurs more than once go through dedup, in
// slices by click_id. Pass 2 reads the day's clicks once, and the 1 h 10 s before it as history, spools
// them into buckets by ad, and runs invalid traffic and the sums over one bucket at a time. The
// output is a function of the archive and the policy: the same input gives the same bytes.
//
// The transforms run slice by slice on prism, in this process, or all slices at once on a Flink cluster
// (docs/decisions/0012); what is read, and what is written, is the same.
package batch

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/schemas/policy"
)

// Defaults of Config.
const (
	DefaultShards      = 4
	DefaultSliceClicks = 500_000
	DefaultMemoryLimit = "1GB"
)

// Config configures the job.
type Config struct {
	Archive string    // file:///dir or s3://bucket/prefix
	Date    time.Time // the billing day, midnight UTC
	Policy  *policy.Policy
	// Out is a folder for the results. Default: results/dt=DATE/rev=N/ in the archive.
	Out   string
	RunID string // names the run in this process; needed
	// Shards of every operator. Default 4.
	Shards int
	// SliceClicks is the most clicks that are in the pipeline at once. Default 500,000.
	SliceClicks int
	// MemoryLimit is DuckDB's share of the memory. Default 1GB.
	MemoryLimit string
	// Threads is DuckDB's and the readers' number of threads. Default: all processors.
	Threads int
	// TempDir holds what is spooled. Default: a folder of its own in the system's.
	TempDir string
	// Runner is Prism, the default, or Flink.
	Runner string
	Flink  FlinkConfig
	// Exchange is where a run on Flink and its workers hand blocks to each other, file:///dir or
	// s3://bucket/prefix. Default: a folder in TempDir, for workers of this process.
	Exchange string
	// Version of the program, for the manifest.
	Version string
}

// Deps are what the job works with.
type Deps struct {
	Logger   *slog.Logger
	Progress func(stage string, done, total int64) // may be nil; clicks
}

// Validate reports every problem at once, each with its key.
func (c Config) Validate() error {
	var problems []error
	if err := objectstore.Validate(c.Archive); err != nil {
		problems = append(problems, fmt.Errorf("archive: %w", err))
	}
	if c.Date.IsZero() || !c.Date.Equal(c.Date.UTC().Truncate(24*time.Hour)) {
		problems = append(problems, fmt.Errorf("date: %s is not a UTC day", c.Date.Format(time.RFC3339)))
	}
	if c.Policy == nil {
		problems = append(problems, errors.New("policy: missing"))
	}
	if c.RunID == "" {
		problems = append(problems, errors.New("run_id: missing"))
	}
	problems = append(problems, c.validateRunner()...)
	for _, n := range []struct {
		key       string
		value     int
		low, high int
	}{
		{"batch.shards", c.Shards, 0, 256},
		{"batch.slice_clicks", c.SliceClicks, 0, 100_000_000},
		{"batch.threads", c.Threads, 0, 1024},
	} {
		if n.value < n.low || n.value > n.high {
			problems = append(problems, fmt.Errorf("%s: %d is not between %d and %d", n.key, n.value, n.low, n.high))
		}
	}
	return errors.Join(problems...)
}

func (c Config) withDefaults() Config {
	if c.Shards == 0 {
		c.Shards = DefaultShards
	}
	if c.SliceClicks == 0 {
		c.SliceClicks = DefaultSliceClicks
	}
	if c.MemoryLimit == "" {
		c.MemoryLimit = DefaultMemoryLimit
	}
	if c.Threads == 0 {
		c.Threads = runtime.GOMAXPROCS(0)
	}
	c.Flink = c.Flink.withDefaults()
	return c
}

// Result is the outcome of a run, the document that --json prints.
type Result struct {
	Date            string           `json:"date"`
	Records         int64            `json:"records"` // of the day: the sum of the four verdicts
	BillableClicks  int64            `json:"billable_clicks"`
	DuplicateClicks int64            `json:"duplicate_clicks"`
	InvalidClicks   int64            `json:"invalid_clicks"`
	InvalidByRule   map[string]int64 `json:"invalid_by_rule"` // a click that hit two rules counts for both
	DeadLetters     int64            `json:"dead_letters"`
	DeadByReason    map[string]int64 `json:"dead_letters_by_reason"`
	ConflictClicks  int64            `json:"conflict_clicks"` // duplicates with another ad or cost
	SpendMicros     int64            `json:"spend_micros"`
	Advertisers     int64            `json:"advertisers"` // with at least one billable click
	Rows            int64            `json:"rows"`
	PolicyHash      string           `json:"policy_hash"`
	Out             string           `json:"out"` // where minutes.parquet, decisions.parquet and run.json are
}
