// Package stream is the speed layer: it runs the clicks pipeline off Kafka and keeps the serving
// table's provisional rows right within seconds.
//
// Recovery on prism, which has no checkpoints, is by replay: the published watermark W is stored
// with the rows, in one transaction. On start every partition seeks to W less the horizon, state
// is rebuilt from the log, and only what lies after W is published. Verdicts depend on the log
// alone, so the replay comes to the same ones.
package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// Defaults of Config.
const (
	DefaultShards          = 4
	DefaultPublishInterval = time.Second
	DefaultPollWait        = 250 * time.Millisecond
	DefaultPollRecords     = 20_000
	DefaultInFlightClicks  = 400_000
)

// Config configures the job.
type Config struct {
	Log    string // kafka://host:port[,host:port]
	Runner string // Prism or Flink; default Prism
	// Topic is what is counted: schemas.TopicClicks, the default, or schemas.TopicImpressions. An impression is
	// judged as a click that costs nothing, and written to the store's Impressions; nobody is billed by it, so
	// neither decisions nor dead letters are written. Impressions are for Prism, and their ids are kept in state.
	Topic  string
	Policy *policy.Policy
	RunID  string // names the run in logs; needed
	// Shards is the number that every operator has. Default: DefaultShards, and on Flink the parallelism, since each
	// block costs some milliseconds there.
	Shards int
	// Dedup is where the click_ids are kept.
	Dedup Dedup
	// PublishInterval is the least time between two publications. Default 1s.
	PublishInterval time.Duration
	// PollWait is how long a poll waits for records. Default 250ms.
	PollWait time.Duration
	// PollRecords is the most records of one poll. Default 20,000.
	PollRecords int
	// InFlightClicks bounds the clicks read and not judged yet. Default 400,000.
	InFlightClicks int
	// UntilEnd reads to the end of every partition, judges and publishes all of it, and returns.
	UntilEnd bool
	// Flink is for the runner of that name.
	Flink FlinkConfig
}

// Deps are what the job works with.
type Deps struct {
	Serving  serving.Store // nil: rows are counted, not stored (benchmarks)
	Logger   *slog.Logger
	Progress func(Stats) // called about once a second; may be nil
	// Drain, when closed, makes the job behave as with UntilEnd from then on. May be nil.
	Drain <-chan struct{}
}

// Validate reports every problem at once, each with its key.
func (c Config) Validate() error {
	var problems []error
	if _, err := kafkaio.ParseURL(c.Log); err != nil {
		problems = append(problems, fmt.Errorf("log: %w", err))
	}
	switch c.Runner {
	case "", Prism:
	case Flink:
		problems = append(problems, c.Flink.validate(c.Flink.Store)...)
	default:
		problems = append(problems, fmt.Errorf("stream.runner: %q is not supported; use %s or %s", c.Runner, Prism, Flink))
	}
	switch {
	case c.Topic == "" || c.Topic == schemas.TopicClicks:
	case c.Topic != schemas.TopicImpressions:
		problems = append(problems, fmt.Errorf("stream.topic: %q is not supported; use %s or %s", c.Topic, schemas.TopicClicks, schemas.TopicImpressions))
	case c.Runner == Flink:
		problems = append(problems, errors.New("stream.topic: impressions are counted on prism alone"))
	case !c.Dedup.isState():
		problems = append(problems, errors.New("stream.topic: ids of impressions are kept in state alone"))
	}
	if c.Policy == nil {
		problems = append(problems, errors.New("policy: missing"))
	}
	if c.RunID == "" {
		problems = append(problems, errors.New("run_id: missing"))
	}
	problems = append(problems, c.Dedup.validate()...)
	for _, n := range []struct {
		key       string
		value     int64
		low, high int64
	}{
		{"stream.shards", int64(c.Shards), 0, 256},
		{"stream.publish_interval", c.PublishInterval.Milliseconds(), 0, 60_000},
		{"stream.poll_wait", c.PollWait.Milliseconds(), 0, 10_000},
		{"stream.poll_records", int64(c.PollRecords), 0, 1_000_000},
		{"stream.in_flight_clicks", int64(c.InFlightClicks), 0, 100_000_000},
	} {
		if n.value < n.low || n.value > n.high {
			problems = append(problems, fmt.Errorf("%s: %d is not between %d and %d", n.key, n.value, n.low, n.high))
		}
	}
	return errors.Join(problems...)
}

// OfImpressions is the job that counts impressions beside the one of clicks: on Prism, by its own state.
func (c Config) OfImpressions() Config {
	c.Topic, c.RunID, c.Runner, c.Dedup = schemas.TopicImpressions, c.RunID+"-impressions", Prism, Dedup{}
	return c
}

func (c Config) withDefaults() Config {
	if c.Shards == 0 && c.Runner == Flink {
		c.Shards = c.Flink.Parallelism
	}
	if c.Shards == 0 {
		c.Shards = DefaultShards
	}
	if c.Topic == "" {
		c.Topic = schemas.TopicClicks
	}
	if c.PublishInterval == 0 {
		c.PublishInterval = DefaultPublishInterval
	}
	if c.PollWait == 0 {
		c.PollWait = DefaultPollWait
	}
	if c.PollRecords == 0 {
		c.PollRecords = DefaultPollRecords
	}
	if c.InFlightClicks == 0 {
		c.InFlightClicks = DefaultInFlightClicks
	}
	return c
}

// Horizon is how far before the published watermark a replay has to begin, so that every verdict
// and every row that is published after it is what it would have been without the restart: the
// minutes that may still change, and before them what their verdicts hang on.
func Horizon(p *policy.Policy) time.Duration {
	longest := func(f func(*policy.Revision) time.Duration) time.Duration { return policy.Max(p, f) }
	return longest(func(r *policy.Revision) time.Duration { return r.Dedup.TTL }) +
		longest(func(r *policy.Revision) time.Duration { return r.Velocity.Cooling }) +
		longest(func(r *policy.Revision) time.Duration { return r.Velocity.Window }) +
		longest(func(r *policy.Revision) time.Duration { return r.AllowedLateness }) +
		longest(func(r *policy.Revision) time.Duration { return r.MaxEventAhead }) +
		longest(func(r *policy.Revision) time.Duration { return r.AllowedSkew }) +
		schemas.MinuteMillis*time.Millisecond
}

// Stats count what a run has done.
type Stats struct {
	Records     int64 `json:"records"` // read, a replay's included
	Billable    int64 `json:"billable_clicks"`
	Duplicates  int64 `json:"duplicate_clicks"`
	Invalid     int64 `json:"invalid_clicks"`
	Late        int64 `json:"late_clicks"` // beyond the allowed lateness: left to the batch layer
	DeadLetters int64 `json:"dead_letters"`
	SpendMicros int64 `json:"spend_micros"`   // of the billable clicks
	Rows        int64 `json:"rows_published"` // a row published twice counts twice
	// WatermarkMillis is the published watermark, 0 before the first publication.
	WatermarkMillis int64 `json:"watermark_millis"`
	// LagRecords is how many records of the log are not read yet; on Flink, not published yet.
	LagRecords int64 `json:"lag_records"`
	// InvalidByRule counts invalid clicks by rule; a click that hit two counts for both.
	InvalidByRule map[string]int64 `json:"invalid_by_rule"`
}

// Judged is the number of records that have a verdict.
func (s Stats) Judged() int64 {
	return s.Billable + s.Duplicates + s.Invalid + s.Late + s.DeadLetters
}
