package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/wal"
)

const (
	shipRecordsMax = 8192
	// A batch smaller than shipRecordsFew is followed by a pause, so that the next one is larger: what
	// a batch costs here and at the broker hardly depends on its size.
	shipRecordsFew = 512
	shipGather     = 4 * time.Millisecond
	// shipLateAfter is how long the log may take for a batch before it is said.
	shipLateAfter = 5 * time.Second
	shipPauseMin  = 100 * time.Millisecond
	shipPauseMax  = 5 * time.Second
)

// shipper hands the write-ahead log over to Kafka, in order, and frees what is acknowledged.
type shipper struct {
	log      *wal.Log
	producer Producer
	logger   *slog.Logger
	metrics  *metrics
	shipped  atomic.Int64
	down     atomic.Bool
}

// run ships until ctx is done. Nothing but that ends it: what fails is tried again, from the last
// record of which all before are acknowledged.
func (s *shipper) run(ctx context.Context) {
	pause := shipPauseMin
	for ctx.Err() == nil {
		began := s.shipped.Load()
		err := s.ship(ctx)
		if ctx.Err() != nil {
			return
		}
		s.setDown(true, err)
		if s.shipped.Load() > began {
			pause = shipPauseMin
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, shipPauseMax)
	}
}

func (s *shipper) ship(ctx context.Context) (err error) {
	reader := s.log.NewReader()
	defer func() { err = errors.Join(err, reader.Close()) }()
	entries := make([]wal.Record, 0, shipRecordsMax)
	for {
		if entries, err = reader.Next(ctx, entries[:0]); err != nil {
			return err
		}
		records := make([]gatewaykafka.Record, len(entries))
		for i, e := range entries {
			if records[i], err = parseEntry(e.Payload); err != nil {
				return fmt.Errorf("entry %d: %w", e.Number, err)
			}
		}
		if err := s.send(ctx, records); err != nil {
			return err
		}
		s.shipped.Add(int64(len(records)))
		s.metrics.shipped.Add(float64(len(records)))
		s.setDown(false, nil)
		if err := s.log.Ack(entries[len(entries)-1].Number); err != nil {
			// The disk may be full: what is shipped twice counts once.
			s.logger.Warn("the position in the write-ahead log is not saved", "job", "gateway", "error", err.Error())
		}
		if len(records) < shipRecordsFew {
			select {
			case <-time.After(shipGather):
			case <-ctx.Done():
			}
		}
	}
}

// send waits for the log as long as it takes, and says so if that is long.
func (s *shipper) send(ctx context.Context, records []gatewaykafka.Record) error {
	late := time.AfterFunc(shipLateAfter, func() {
		s.setDown(true, fmt.Errorf("no acknowledgement within %s", shipLateAfter))
	})
	defer late.Stop()
	return s.producer.Send(ctx, records)
}

// setDown logs the changes, not every batch.
func (s *shipper) setDown(down bool, err error) {
	if s.down.Load() == down || !s.down.CompareAndSwap(!down, down) {
		return
	}
	s.metrics.setLogDown(down)
	if down {
		s.logger.Warn("the log does not acknowledge: clicks are kept in the write-ahead log", "job", "gateway",
			"error", err.Error())
	} else {
		s.logger.Info("the log acknowledges again", "job", "gateway")
	}
}

// drained waits until everything is shipped or ctx is done, and returns how many records are left.
func (s *shipper) drained(ctx context.Context) uint64 {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		left := s.log.Stats().Pending
		if left == 0 {
			return 0
		}
		select {
		case <-ctx.Done():
			return left
		case <-tick.C:
		}
	}
}
