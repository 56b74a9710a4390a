// Package gatewaykafka appends clicks to the log for the tracking gateway: one record a call, many
// calls at once, each returning when its record is acknowledged by all in-sync replicas.
//
// Records of concurrent calls share batches. The producer is idempotent: a retry of its own never
// writes a record twice. What it buffers is bounded; beyond that a call fails at once. A call that
// ends in an error says nothing about its record, which may still be written: the caller must not
// claim either, and a click that is sent again is recognised as a copy by its click_id.
package gatewaykafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Defaults of Config.
const (
	DefaultLinger         = time.Millisecond
	DefaultBufferedMax    = 20_000
	DefaultConnectTimeout = 10 * time.Second
	DefaultCloseTimeout   = 10 * time.Second

	batchBytesMax  = 1 << 20
	lingerMax      = time.Minute
	retryFirst     = 50 * time.Millisecond
	retryLast      = 500 * time.Millisecond
	metadataAgeMin = 250 * time.Millisecond // so that a broker's return is soon seen
)

// Config says where the clicks go. The zero value of a field is its default.
type Config struct {
	// Brokers are host:port. Required.
	Brokers []string
	// Client are more options of the client, such as TLS and SASL; default none.
	Client []kgo.Opt
	// Topic is the topic of the clicks; default schemas.TopicClicks.
	Topic string
	// Linger is how long a batch waits for more records, up to a minute; default DefaultLinger.
	Linger time.Duration
	// BufferedMax is how many records may wait for their acknowledgement; default DefaultBufferedMax.
	BufferedMax int
	// ConnectTimeout bounds Open; default DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// CloseTimeout is how long Close waits for records under way; default DefaultCloseTimeout.
	CloseTimeout time.Duration
}

// Validate reports every problem of the configuration at once.
func (c Config) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("brokers: at least one is needed"))
	}
	for _, f := range []struct {
		key   string
		value int64
	}{
		{"linger", int64(c.Linger)}, {"buffered_max", int64(c.BufferedMax)},
		{"connect_timeout", int64(c.ConnectTimeout)}, {"close_timeout", int64(c.CloseTimeout)},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("%s: must not be negative", f.key))
		}
	}
	if c.Linger > lingerMax {
		errs = append(errs, fmt.Errorf("linger: %s is more than %s", c.Linger, lingerMax))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	orDuration := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	orDuration(&c.Linger, DefaultLinger)
	orDuration(&c.ConnectTimeout, DefaultConnectTimeout)
	orDuration(&c.CloseTimeout, DefaultCloseTimeout)
	if c.BufferedMax == 0 {
		c.BufferedMax = DefaultBufferedMax
	}
	if c.Topic == "" {
		c.Topic = schemas.TopicClicks
	}
	return c
}

// Producer appends records. It is safe for use by many goroutines.
type Producer struct {
	url, topic   string
	client       *kgo.Client
	closeTimeout time.Duration
}

// Open connects to the brokers, or says within the connect timeout that none answers.
func Open(ctx context.Context, cfg Config) (*Producer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gateway log: %w", err)
	}
	cfg = cfg.withDefaults()
	url := "kafka://" + strings.Join(cfg.Brokers, ",")
	client, err := kgo.NewClient(append(slices.Clone(cfg.Client),
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID("clickledger-gateway"),
		kgo.DefaultProduceTopic(cfg.Topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchMaxBytes(batchBytesMax),
		kgo.ProducerLinger(cfg.Linger),
		kgo.MaxBufferedRecords(cfg.BufferedMax),
		kgo.DialTimeout(cfg.ConnectTimeout),
		kgo.MetadataMinAge(metadataAgeMin),
		kgo.RetryBackoffFn(func(tries int) time.Duration {
			return min(retryFirst<<min(tries, 10), retryLast)
		}),
	)...)
	if err != nil {
		return nil, fmt.Errorf("%s: open producer: %w", url, err)
	}
	p := &Producer{url: url, topic: cfg.Topic, client: client, closeTimeout: cfg.CloseTimeout}
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return p, nil
}

// Ready returns nil if a broker answers.
func (p *Producer) Ready(ctx context.Context) error {
	if err := p.client.Ping(ctx); err != nil {
		return fmt.Errorf("%s: not reachable: %s", p.url, oneLine(err))
	}
	return nil
}

// Append writes one record with the given time, which the log keeps to the millisecond, and returns
// when it is acknowledged or ctx is done. The partition is chosen by the key's hash, as Kafka's own
// clients do. key and value belong to the producer from now on, whatever is returned.
func (p *Producer) Append(ctx context.Context, key, value []byte, timestampMicros int64) error {
	// The limit in time is the context's: kgo's own delivery timeout counts from the record's timestamp.
	settled := make(chan error, 1)
	p.client.TryProduce(ctx, &kgo.Record{
		Key: key, Value: value, Timestamp: time.UnixMicro(timestampMicros),
	}, func(_ *kgo.Record, err error) { settled <- err })
	select {
	case err := <-settled:
		if err != nil {
			return fmt.Errorf("%s: append to %s: %w", p.url, p.topic, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: append to %s: not acknowledged: %w", p.url, p.topic, ctx.Err())
	}
}

// Close waits for the records under way, for a bounded time, and drops the connections.
func (p *Producer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.closeTimeout)
	defer cancel()
	err := p.client.Flush(ctx)
	p.client.Close()
	if err != nil {
		return fmt.Errorf("%s: flush: %w", p.url, err)
	}
	return nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
