package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clickledger/clickledger/schemas"
	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

const (
	// DefaultFetchBytes is how many bytes of log a fetch asks for.
	DefaultFetchBytes = 4 << 20
	// DefaultFetchRecords is the most records that a fetch hands out at once.
	DefaultFetchRecords = 20_000
)

// ErrOffsetOutOfRange says that the log has no such offset: it was deleted, or it is beyond the end.
var ErrOffsetOutOfRange = errors.New("offset out of range")

// FetchLimits bound one fetch; zero values are the defaults.
type FetchLimits struct {
	// MaxWait is how long the broker waits for MinBytes of records; 0 does not wait.
	MaxWait time.Duration
	// MinBytes is how much log the broker gathers before it answers, within MaxWait; default 1, the
	// first record. Fewer and larger answers cost less, and are as late as MaxWait at most.
	MinBytes int
	// MaxBytes is the size of the answer asked for; default DefaultFetchBytes. A single batch that is
	// larger comes whole.
	MaxBytes int
	// MaxRecords is the most records handed out at once; default DefaultFetchRecords. The others are
	// kept for the next fetch.
	MaxRecords int
}

// Reader reads one partition in offset order. It is for one goroutine.
type Reader struct {
	client    *Client
	topic     string
	partition int32
	next      int64 // offset after what was handed out
	fetched   int64 // offset after what is pending
	high      int64
	pending   []schemas.Record // fetched and not handed out yet
	tails     bool             // values are tails
}

// OpenPartition returns a reader that begins at the offset. Nothing is sent before the first Fetch.
func (c *Client) OpenPartition(topic string, partition int32, offset int64) *Reader {
	return &Reader{client: c, topic: topic, partition: partition, next: offset, fetched: offset}
}

// Offset is the offset at which the next fetch begins. It may be above the last record's offset
// plus one, where the log has gaps.
func (r *Reader) Offset() int64 { return r.next }

// Rewind makes the next fetch begin at the offset.
func (r *Reader) Rewind(offset int64) {
	r.next, r.fetched, r.pending = offset, offset, nil
}

// Fetch returns the next records and the partition's high watermark: the offset that the next record
// to be written will get. No records and no error means that none came within limits.MaxWait.
// The records may be kept (a kept one keeps its whole fetch in memory). A broker that went away is waited for, as long as the client's
// options say. The errors are ErrOffsetOutOfRange, ErrUnknownTopic, ctx's, and what the network says.
func (r *Reader) Fetch(ctx context.Context, limits FetchLimits) ([]schemas.Record, int64, error) {
	if limits.MaxBytes <= 0 {
		limits.MaxBytes = DefaultFetchBytes
	}
	if limits.MaxRecords <= 0 {
		limits.MaxRecords = DefaultFetchRecords
	}
	limits.MinBytes = max(limits.MinBytes, 1)
	if len(r.pending) == 0 {
		if err := r.fill(ctx, limits); err != nil {
			return nil, 0, fmt.Errorf("%s: read %s/%d at offset %d: %w",
				r.client.url, r.topic, r.partition, r.next, err)
		}
	}
	n := min(limits.MaxRecords, len(r.pending))
	out := r.pending[:n]
	r.pending = r.pending[n:]
	if len(r.pending) == 0 {
		r.next = r.fetched
	} else {
		r.next = r.pending[0].Offset
	}
	return out, r.high, nil
}

// fill asks the broker for records until it has some, or says that there are none now.
func (r *Reader) fill(ctx context.Context, limits FetchLimits) error {
	for {
		var a *fetchAnswer
		err := r.client.retry(ctx, r.client.opts.RetryTimeout+limits.MaxWait, func(ctx context.Context) error {
			var err error
			a, err = r.ask(ctx, limits)
			return err
		})
		if err != nil {
			return err
		}
		recs, next, err := decodeBatchesAs(nil, a.batches, r.partition, r.fetched, r.tails)
		if err != nil {
			return err
		}
		if len(a.batches) > 0 && next == r.fetched {
			return fmt.Errorf("%w: an incomplete batch", errCorrupt)
		}
		progress := next > r.fetched
		r.pending, r.fetched, r.high = recs, next, a.highWatermark
		if len(recs) > 0 || !progress || next >= a.highWatermark {
			return nil
		}
	}
}

func (r *Reader) ask(ctx context.Context, limits FetchLimits) (*fetchAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, limits.MaxWait+requestTimeout)
	defer cancel()
	res, err := r.client.transport.RoundTrip(ctx, r.client.addr, &fetchExchange{Request: fetch.Request{
		ReplicaID: -1, MaxWaitTime: int32(limits.MaxWait.Milliseconds()), MinBytes: int32(limits.MinBytes),
		MaxBytes: int32(limits.MaxBytes), SessionID: 0, SessionEpoch: -1,
		Topics: []fetch.RequestTopic{{Topic: r.topic, Partitions: []fetch.RequestPartition{{
			Partition: r.partition, CurrentLeaderEpoch: -1, FetchOffset: r.fetched,
			LogStartOffset: -1, PartitionMaxBytes: int32(limits.MaxBytes),
		}}}},
	}})
	if err != nil {
		return nil, err
	}
	a := res.(*fetchAnswer)
	if errors.Is(a.code, kafka.OffsetOutOfRange) {
		return nil, ErrOffsetOutOfRange
	}
	if a.code != 0 {
		return nil, a.code
	}
	return a, nil
}
