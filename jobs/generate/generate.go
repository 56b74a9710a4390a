// Package generate is the job that produces load: a seeded, realistic click log, with impressions if
// wanted, written to Kafka or driven through a tracking gateway over HTTP.
//
// Written to the log, the same configuration gives the same records, with the times that it says.
// Through a gateway the clicks happen now: the gateway's clock stamps them, and the events' times are
// moved along. A click that got no 302 is sent again; it may then be in the log twice, as a browser's
// retry would be, and counts once by its click_id.
package generate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/loadgen"
)

// Producer writes records to the log and returns when all are acknowledged.
type Producer interface {
	ProduceAll(ctx context.Context, recs []kafkaio.OutRecord) error
}

// Deps are the job's collaborators.
type Deps struct {
	// Producer is the log. Required unless all goes through a gateway.
	Producer Producer
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger gets the start and outages of the gateway; default none.
	Logger *slog.Logger
	// Progress is told how many clicks of how many were delivered; default none. One goroutine at a
	// time calls it.
	Progress func(stage string, done, total int64)
}

// Result is what a run did.
type Result struct {
	// Records is how many clicks were generated, Kinds how many of each kind.
	Records int64            `json:"records"`
	Kinds   map[string]int64 `json:"kinds"`
	// LogRecords are clicks that were written to the log by this job, Redirected those that the gateway answered with 302.
	LogRecords int64 `json:"log_records"`
	Redirected int64 `json:"redirected"`
	// LogImpressions were written to the log by this job, Impressions answered by the gateway with 200.
	LogImpressions int64 `json:"log_impressions"`
	Impressions    int64 `json:"impressions"`
	// Skipped could not be carried by HTTP, Refused got an answer that no retry will change.
	Skipped int64 `json:"skipped"`
	Refused int64 `json:"refused"`
	// Requests counts every request, Retries those that sent a record again, Answers the requests by
	// status ("none": the connection failed).
	Requests int64            `json:"requests"`
	Retries  int64            `json:"retries"`
	Answers  map[string]int64 `json:"answers"`
	// FirstMillis and LastMillis are when the first and the last record were received, by the log's
	// own time; SlipMillis is how far the gateway fell behind the pace.
	FirstMillis int64 `json:"first_received_millis"`
	LastMillis  int64 `json:"last_received_millis"`
	SlipMillis  int64 `json:"slip_millis"`

	ElapsedMillis    int64   `json:"elapsed_millis"`
	RecordsPerSecond float64 `json:"records_per_second"` // clicks
}

const stage = "generate"

// ErrRefused says that the gateway refused clicks or impressions that it should have taken.
var ErrRefused = errors.New("the gateway refused clicks or impressions")

// Run generates the log and delivers all of it, or returns an error; the result then says how far it
// came. Running it again with the same Load writes the same click ids again.
func Run(ctx context.Context, cfg Config, deps Deps) (Result, error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	cfg = cfg.withDefaults()
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Progress == nil {
		deps.Progress = func(string, int64, int64) {}
	}
	if deps.Producer == nil && (cfg.Gateway == "" || cfg.BrokenToLog || cfg.AudienceToLog) {
		return Result{}, errors.New("generate: no log to write to")
	}
	started := deps.Now()
	if cfg.Load.StartMillis == 0 {
		cfg.Load.StartMillis = started.UnixMilli()
	}
	gen, err := loadgen.New(cfg.Load)
	if err != nil {
		return Result{}, fmt.Errorf("generate: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.DurationMax,
		fmt.Errorf("not done within %s", cfg.DurationMax))
	defer cancel()
	deps.Logger.Info("generating clicks", "job", "generate", "records", cfg.Load.Clicks)
	r := Result{Answers: map[string]int64{}}
	if cfg.Gateway == "" {
		err = toLog(ctx, cfg, deps, gen, &r)
	} else {
		err = toGateway(ctx, cfg, deps, gen, &r)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("generate: %w (%w)", cause, err)
	} else if err != nil {
		err = fmt.Errorf("generate: %w", err)
	}
	counts := gen.Counts()
	r.Records, r.Kinds = counts.Total(), counts.Map()
	elapsed := deps.Now().Sub(started)
	r.ElapsedMillis = elapsed.Milliseconds()
	if elapsed > 0 {
		r.RecordsPerSecond = float64(r.Records) / elapsed.Seconds()
	}
	return r, err
}

// clock tells when records are due.
type clock struct {
	now         func() time.Time
	pace        bool
	startMicros int64 // the log's
	wallMicros  int64 // when that is
	slipMicros  int64
}

func newClock(cfg Config, now func() time.Time) *clock {
	return &clock{
		now: now, pace: cfg.Pace, startMicros: cfg.Load.StartMillis * 1000, wallMicros: now().UnixMicro(),
	}
}

// wait blocks until a record is due and returns how far behind its time it is, in micros.
func (c *clock) wait(ctx context.Context, receivedMicros int64) (int64, error) {
	due := c.wallMicros + receivedMicros - c.startMicros + c.slipMicros
	ahead := due - c.now().UnixMicro()
	if ahead <= 0 {
		return -ahead, nil
	}
	timer := time.NewTimer(time.Duration(ahead) * time.Microsecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
