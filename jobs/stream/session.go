package stream

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clickledger/clickledger/internal/dedupredis"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	"github.com/clickledger/clickledger/transforms/dedup"
)

// sessions are the running jobs of this process by run ID: what the DoFns of a job share and
// what cannot be part of a graph.
var sessions sync.Map

func sessionOf(runID string) (*session, error) {
	s, ok := sessions.Load(runID)
	if !ok {
		return nil, fmt.Errorf("stream run %s is not of this process", runID)
	}
	return s.(*session), nil
}

// session is one running job, in the process that runs it.
type session struct {
	*worker

	cfg     Config
	deps    Deps
	minutes serving.Minutes    // nil: rows are counted, not stored
	redis   *dedupredis.Client // nil without
	dedup   dedup.StoreConfig
	ctx     context.Context // of the job: cancelled when it is to stop

	partitions []*partition
	start      serving.Progress // as stored when the job began
	epoch      uint64           // of the policy, the upper bits of every row's version

	watermark atomic.Int64
	publisher publisher
	hasGrown  atomic.Bool // the topic has more partitions than these
}

// growthInterval is how often the topic is asked for its partitions.
const growthInterval = 10 * time.Second

// inFlight is the number of clicks read and not judged.
func (s *session) inFlight() int64 { return s.records.Load() - s.dead.Load() - s.judged.Load() }

// mayRead tells whether a partition may read on: while few clicks are in flight, and always where
// it is the one that all others wait for.
func (s *session) mayRead(p *partition) bool {
	if s.inFlight() < int64(s.cfg.InFlightClicks) {
		return true
	}
	mine := p.highest.Load()
	for _, other := range s.partitions {
		if other != p && !other.ended.Load() && other.highest.Load() < mine {
			return false
		}
	}
	return true
}

// watch tells the sources when to drain and when to stop.
func (s *session) watch(ctx context.Context, done <-chan struct{}) {
	tick, growth := time.NewTicker(time.Second), time.NewTicker(growthInterval)
	defer tick.Stop()
	defer growth.Stop()
	drain, stop := s.deps.Drain, ctx.Done()
	for {
		select {
		case <-done:
			return
		case <-stop:
			s.stopping.Store(true)
			stop = nil
		case <-drain:
			s.draining.Store(true)
			drain = nil
		case <-growth.C:
			if s.sawGrowth(ctx) {
				s.hasGrown.Store(true)
				s.stopping.Store(true)
				growth.Stop()
			}
		case <-tick.C:
			if s.deps.Progress != nil {
				s.deps.Progress(s.stats())
			}
		}
	}
}

// sawGrowth reports whether the topic has partitions that this session does not read. A drained run
// wants what was in the log at its start.
func (s *session) sawGrowth(ctx context.Context) bool {
	if s.draining.Load() || s.stopping.Load() {
		return false
	}
	ids, err := s.client.Partitions(ctx, s.cfg.Topic)
	if err != nil {
		s.deps.Logger.Debug("the topic's partitions cannot be read", "error", err)
		return false
	}
	if len(ids) <= len(s.partitions) {
		return false
	}
	s.deps.Logger.Info("the topic has grown: begin again with all partitions", "partitions", len(ids), "were", len(s.partitions))
	return true
}

func (s *session) stats() Stats {
	st := Stats{Records: s.records.Load(), DeadLetters: s.dead.Load(), Rows: s.rows.Load(), SpendMicros: s.spend.Load(),
		Billable:      s.byVerdict[schemas.Billable].Load(),
		Duplicates:    s.byVerdict[schemas.Duplicate].Load(),
		Invalid:       s.byVerdict[schemas.Invalid].Load(),
		Late:          s.byVerdict[schemas.Late].Load(),
		InvalidByRule: map[string]int64{}, WatermarkMillis: s.watermark.Load()}
	for i, name := range schemas.RuleNames {
		st.InvalidByRule[name] = s.byRule[i].Load()
	}
	for _, p := range s.partitions {
		st.LagRecords += max(0, p.end.Load()-p.next.Load())
	}
	return st
}
