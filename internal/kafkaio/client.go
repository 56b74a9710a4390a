package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	// DefaultConnectTimeout bounds the search for a broker that answers.
	DefaultConnectTimeout = 5 * time.Second
	// DefaultRetryTimeout bounds the wait for a broker that answered before: a restart.
	DefaultRetryTimeout = 30 * time.Second

	// metadataTTL bounds how long a moved leader or a new topic stays unnoticed.
	metadataTTL = 2 * time.Second
	// requestTimeout is what a broker gets beyond the wait that it was asked for.
	requestTimeout = 10 * time.Second
	retryDelayMin  = 20 * time.Millisecond
	retryDelayMax  = time.Second
)

// ErrUnknownTopic says that the broker has no such topic or partition.
var ErrUnknownTopic = errors.New("no such topic or partition")

// Options are a client's limits; the zero value is the defaults.
type Options struct {
	// ConnectTimeout bounds Connect; default DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// RetryTimeout bounds the retries of one call; default DefaultRetryTimeout.
	RetryTimeout time.Duration
}

// Client reads from the log's brokers. It is safe for use by several goroutines.
type Client struct {
	url       string
	addr      net.Addr
	transport *kafka.Transport
	opts      Options
}

// Connect finds a broker that answers, or says within opts.ConnectTimeout that there is none.
func Connect(ctx context.Context, brokers []string, opts Options) (*Client, error) {
	if opts.ConnectTimeout <= 0 {
		opts.ConnectTimeout = DefaultConnectTimeout
	}
	if opts.RetryTimeout <= 0 {
		opts.RetryTimeout = DefaultRetryTimeout
	}
	security, err := using(brokers)
	if err != nil {
		return nil, err
	}
	c := &Client{
		url: URL(brokers), addr: kafka.TCP(brokers...), opts: opts,
		transport: &kafka.Transport{
			ClientID: "clickledger", DialTimeout: opts.ConnectTimeout, MetadataTTL: metadataTTL,
			TLS: security.tls, SASL: security.kafkaGo,
		},
	}
	err = c.retry(ctx, opts.ConnectTimeout, func(ctx context.Context) error {
		_, err := c.transport.RoundTrip(ctx, c.addr, &metadata.Request{})
		return err
	})
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: not reachable: %w", c.url, err)
	}
	return c, nil
}

// Close drops the client's connections. Calls under way end with an error.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// URL is the log's URL.
func (c *Client) URL() string { return c.url }

// Partitions lists the partitions of a topic in ascending order; ErrUnknownTopic where it has none.
func (c *Client) Partitions(ctx context.Context, topic string) ([]int32, error) {
	var ids []int32
	err := c.retry(ctx, c.opts.ConnectTimeout, func(ctx context.Context) error {
		res, err := c.transport.RoundTrip(ctx, c.addr, &metadata.Request{TopicNames: []string{topic}})
		if err != nil {
			return err
		}
		t := res.(*metadata.Response).Topics[0]
		if t.ErrorCode != 0 {
			return kafka.Error(t.ErrorCode)
		}
		ids = ids[:0]
		for _, p := range t.Partitions {
			ids = append(ids, p.PartitionIndex)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: partitions of topic %s: %w", c.url, topic, err)
	}
	slices.Sort(ids)
	return ids, nil
}

// Offsets returns the first offset that the partition still has, and its end: the offset that the
// next record will get.
func (c *Client) Offsets(ctx context.Context, topic string, partition int32) (first, end int64, err error) {
	if first, err = c.listOffset(ctx, topic, partition, kafka.FirstOffset); err != nil {
		return 0, 0, err
	}
	end, err = c.listOffset(ctx, topic, partition, kafka.LastOffset)
	return first, end, err
}

// OffsetForTime returns the first offset whose record has a time at or after t; the partition's end
// where there is none.
func (c *Client) OffsetForTime(ctx context.Context, topic string, partition int32, t time.Time) (int64, error) {
	millis := t.UnixMilli()
	if t.After(time.UnixMilli(millis)) {
		millis++ // record times are whole milliseconds
	}
	// Negative times are the protocol's special values, and no record has one.
	off, err := c.listOffset(ctx, topic, partition, max(millis, 0))
	if err == nil && off < 0 {
		return c.listOffset(ctx, topic, partition, kafka.LastOffset)
	}
	return off, err
}

func (c *Client) listOffset(ctx context.Context, topic string, partition int32, millis int64) (int64, error) {
	off := int64(-1)
	err := c.retry(ctx, c.opts.RetryTimeout, func(ctx context.Context) error {
		res, err := c.transport.RoundTrip(ctx, c.addr, &listoffsets.Request{
			ReplicaID: -1,
			Topics: []listoffsets.RequestTopic{{Topic: topic, Partitions: []listoffsets.RequestPartition{
				{Partition: partition, CurrentLeaderEpoch: -1, Timestamp: millis},
			}}},
		})
		if err != nil {
			return err
		}
		r := res.(*listoffsets.Response)
		if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
			return errors.New("the broker's answer does not name the partition")
		}
		p := r.Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			return kafka.Error(p.ErrorCode)
		}
		off = p.Offset
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("%s: offsets of %s/%d: %w", c.url, topic, partition, err)
	}
	return off, nil
}

// retry runs f until it succeeds, fails for good, or the time is up.
func (c *Client) retry(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = retryDelayMin, retryDelayMax
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := f(ctx)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			last = err
		}
		if err != nil && !temporary(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(limit))
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) && last != nil {
		err = last // why it did not work says more than that the time is up
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s: %w", limit, err)
	}
	if errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoTopic) ||
		errors.Is(err, protocol.ErrNoPartition) {
		return ErrUnknownTopic
	}
	return oneLine(err)
}

// temporary reports whether another try may go better. Whatever is not an answer of the broker is.
func temporary(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, errCorrupt) ||
		errors.Is(err, ErrOffsetOutOfRange) {
		return false
	}
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return code.Temporary() || code == kafka.UnknownTopicOrPartition
	}
	return true
}

// oneLine keeps an error to one line.
func oneLine(err error) error {
	if msg := err.Error(); strings.ContainsAny(msg, "\r\n") {
		return errors.New(strings.Join(strings.Fields(msg), " "))
	}
	return err
}
