package generate

import (
	"context"
	"fmt"

	"github.com/clickledger/clickledger/internal/loadgen"
)

// sideMicros is how long a record may wait for others that are written to the log with it.
const sideMicros = 50_000

// side writes to the log, in batches, what goes there beside the requests to a gateway.
type side struct {
	producer   Producer
	made, free chan *batch
	next       *batch // is filled; nil: there is none
	first      int64  // received, micros
}

func newSide(producer Producer) *side {
	s := &side{producer: producer, made: make(chan *batch, batchesAhead), free: make(chan *batch, batchesAhead+2)}
	for range cap(s.free) {
		s.free <- &batch{}
	}
	return s
}

// add takes a record.
func (s *side) add(ctx context.Context, cfg *Config, it *loadgen.Item) error {
	if s.next == nil {
		select {
		case s.next = <-s.free:
			s.next.reset()
			s.first = it.ReceivedAtMicros
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.next.add(cfg, it, 0)
	if s.next.full() || it.ReceivedAtMicros-s.first >= sideMicros {
		return s.flush(ctx)
	}
	return nil
}

// flush hands over what was taken.
func (s *side) flush(ctx context.Context) error {
	if s.next == nil {
		return nil
	}
	select {
	case s.made <- s.next:
		s.next = nil
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write writes the batches until made is closed.
func (s *side) write(ctx context.Context, c *client) error {
	for b := range s.made {
		if err := s.producer.ProduceAll(ctx, b.records); err != nil {
			return fmt.Errorf("write impressions to the log: %w", err)
		}
		c.mu.Lock()
		c.result.LogImpressions += b.impressions
		c.mu.Unlock()
		s.free <- b
	}
	return nil
}
