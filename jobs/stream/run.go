package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/clickledger/clickledger/internal/beamrunner"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/pipelines/clicks"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

// Run runs the job until ctx is cancelled, which is a clean end, or until everything is drained.
// It returns what was done since it last began: where partitions are added to the topic it begins
// again by itself, as after a stop. A job that ends in any other way has published nothing wrong, and
// goes on where it was when it is run again.
func Run(ctx context.Context, cfg Config, deps Deps) (Stats, error) {
	if err := cfg.Validate(); err != nil {
		return Stats{}, err
	}
	if cfg.Runner == Flink {
		result, err := RunOnFlink(ctx, cfg, deps)
		return result.Stats, err
	}
	cfg = cfg.withDefaults()
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	for {
		st, hasGrown, err := runOnce(ctx, cfg, deps)
		if err != nil || !hasGrown || ctx.Err() != nil {
			return st, err
		}
	}
}

// runOnce runs the job on the partitions that the topic has; hasGrown says that it ended because there are more.
func runOnce(ctx context.Context, cfg Config, deps Deps) (_ Stats, hasGrown bool, err error) {
	s, err := open(ctx, cfg, deps)
	if err != nil {
		return Stats{}, false, err
	}
	defer s.close()
	p, root := beam.NewPipelineWithRoot()
	out := clicks.Stream(root, clicks.Config{
		Config:        shardstate.Config{PolicyYAML: s.spec.PolicyYAML, Shards: int32(cfg.Shards), RunID: cfg.RunID, InMemory: true},
		Dedup:         s.dedup,
		PublishMillis: cfg.PublishInterval.Milliseconds(),
	}, read(root, cfg.RunID, s.spec.Starts))
	here := Spec{RunID: cfg.RunID} // the worker is this process's
	beamrunner.Sink(root, &decisionsFn{Spec: here}, out.Judged)
	beamrunner.Sink(root, &deadLettersFn{Spec: here}, out.DeadLetters)
	beamrunner.Sink(root, &rowsFn{RunID: cfg.RunID}, out.Rows)

	done := make(chan struct{})
	go s.watch(ctx, done)
	deps.Logger.Info("stream started", "run_id", cfg.RunID, "topic", cfg.Topic, "partitions", len(s.partitions),
		"watermark_millis", s.start.WatermarkMillis)
	_, err = beamrunner.Run(ctx, "clickledger-stream-"+cfg.Topic, p)
	close(done)
	if failure := s.failure.Load(); failure != nil {
		err = *failure // the cause, without the runner's words around it
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // it waited for a store that is away, and was to stop
	}
	st := s.stats()
	if deps.Progress != nil {
		deps.Progress(st)
	}
	if err != nil {
		return st, false, fmt.Errorf("stream: %w", err)
	}
	return st, s.hasGrown.Load(), s.checkDrained(st)
}

// checkDrained holds a drained run to the law of conservation.
func (s *session) checkDrained(st Stats) error {
	if !s.publisher.isDrained {
		if s.stopping.Load() {
			return nil
		}
		return errors.New("stream: the pipeline ended before its sources were drained")
	}
	if st.Judged() != st.Records {
		return fmt.Errorf("stream: %d records read, but %d have a verdict", st.Records, st.Judged())
	}
	return nil
}

// spec is what the configuration says of a worker.
func (c Config) spec(policyYAML string) Spec {
	return Spec{RunID: c.RunID, Log: c.Log, Topic: c.Topic, PolicyYAML: policyYAML, Shards: c.Shards, PublishMillis: c.PublishInterval.Milliseconds(),
		PollWaitMillis: c.PollWait.Milliseconds(), PollRecords: c.PollRecords, InFlightClicks: c.InFlightClicks, UntilEnd: c.UntilEnd,
		Login: c.Flink.Login, Store: c.Flink.Store}
}

func open(ctx context.Context, cfg Config, deps Deps) (_ *session, err error) {
	brokers, err := kafkaio.ParseURL(cfg.Log)
	if err != nil {
		return nil, err
	}
	doc, err := cfg.Policy.YAML()
	if err != nil {
		return nil, fmt.Errorf("write policy: %w", err)
	}
	s := &session{cfg: cfg, deps: deps, ctx: ctx, worker: &worker{policy: cfg.Policy}}
	s.spec = cfg.spec(string(doc))
	if deps.Serving != nil {
		s.minutes = deps.Serving
		if cfg.Topic == schemas.TopicImpressions {
			s.minutes = deps.Serving.Impressions()
		}
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if err := s.loadProgress(ctx); err != nil {
		return nil, err
	}
	if err := s.openPartitions(ctx); err != nil {
		return nil, err
	}
	if err := s.openDedup(ctx, brokers); err != nil {
		return nil, err
	}
	s.draining.Store(cfg.UntilEnd)
	s.publisher.init(s)
	if err := s.publisher.loadFloor(ctx); err != nil {
		return nil, err
	}
	if _, taken := sessions.LoadOrStore(cfg.RunID, s); taken {
		return nil, fmt.Errorf("stream run %s is running already", cfg.RunID)
	}
	return s, nil
}

// loadProgress reads how far the rows are published. Another policy begins a new epoch: its rows
// supersede those of the one before.
func (s *session) loadProgress(ctx context.Context) error {
	if s.minutes == nil {
		return nil
	}
	var err error
	if s.start, err = s.minutes.LoadProgress(ctx); err != nil {
		return fmt.Errorf("load progress: %w", err)
	}
	s.spec.Start = s.start
	if s.start.PolicyHash == "" {
		return nil
	}
	if s.epoch, err = s.minutes.Epoch(ctx); err != nil {
		return err
	}
	s.spec.PolicyFromMillis = s.start.PolicyFromMillis
	if s.start.PolicyHash != s.cfg.Policy.Hash() {
		s.epoch++
		if s.spec.PolicyFromMillis, err = s.afterRows(ctx); err != nil {
			return err
		}
	}
	s.spec.Epoch = s.epoch
	return nil
}

// afterRows is the first minute behind the stored watermark and all rows.
func (s *session) afterRows(ctx context.Context) (int64, error) {
	last := schemas.MinuteStart(s.start.WatermarkMillis)
	for row, err := range s.minutes.Rows(ctx, serving.Provisional, serving.Range{FromMillis: last, ToMillis: math.MaxInt64 / 1_000_000}) {
		if err != nil {
			return 0, fmt.Errorf("load the newest rows: %w", err)
		}
		last = max(last, row.MinuteMillis)
	}
	return last + schemas.MinuteMillis, nil
}

// openPartitions seeks every partition to the stored watermark less the horizon.
func (s *session) openPartitions(ctx context.Context) error {
	ids, err := s.client.Partitions(ctx, s.cfg.Topic)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if int32(i) != id {
			return fmt.Errorf("topic %s: partition %d is missing", s.cfg.Topic, i)
		}
		start, end, err := s.client.Offsets(ctx, s.cfg.Topic, id)
		if err != nil {
			return err
		}
		if s.start.PolicyHash != "" {
			from := time.UnixMilli(s.start.WatermarkMillis).Add(-Horizon(s.cfg.Policy))
			at, err := s.client.OffsetForTime(ctx, s.cfg.Topic, id, from)
			if err != nil {
				return err
			}
			start = max(start, at)
		}
		p := newPartition(id, int32(len(ids)), start, s.client.OpenPartition(s.cfg.Topic, id, start))
		p.end.Store(end)
		p.endAtStart = end
		p.resumed = s.start
		s.partitions = append(s.partitions, p)
		s.spec.Starts = append(s.spec.Starts, start)
	}
	return nil
}

func (s *session) close() {
	sessions.CompareAndDelete(s.cfg.RunID, s)
	shardstate.Forget(s.cfg.RunID)
	if err := s.worker.close(); err != nil {
		s.deps.Logger.Warn("close the producer", "error", err)
	}
	if s.redis != nil {
		_ = s.redis.Close() // reads and writes nothing
	}
}
