// Package gatewaykafka hands what the tracking gateway recorded over to the log: batches of records,
// each batch sent in order and acknowledged by all in-sync replicas before Send returns.
//
// The producer is idempotent: a retry of its own never writes a record twice, and never out of order.
// It waits for brokers and topics that are away as long as it is told to. A Send that ends in an error
// says nothing about its records, some of which may be written: whoever sends them again writes them
// twice, and their click_id makes copies of them.
package gatewaykafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Defaults of Config.
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultCloseTimeout   = 10 * time.Second

	bufferedMax    = 100_000
	batchBytesMax  = 1 << 20
	lingerMax      = time.Minute
	retryFirst     = 50 * time.Millisecond
	retryLast      = 500 * time.Millisecond
	metadataAgeMin = 250 * time.Millisecond // so that a broker's return is soon seen
)

// Config says where the records go. The zero value of a field is its default.
type Config struct {
	// Brokers are host:port. Required.
	Brokers []string
	// Client are more options of the client, such as TLS and SASL; default none.
	Client []kgo.Opt
	// Linger is how long a batch waits for more records, up to a minute; default not at all.
	Linger time.Duration
	// ConnectTimeout bounds a connection's beginning; default DefaultConnectTimeout.
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
		value time.Duration
	}{{"linger", c.Linger}, {"connect_timeout", c.ConnectTimeout}, {"close_timeout", c.CloseTimeout}} {
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
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = DefaultConnectTimeout
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = DefaultCloseTimeout
	}
	return c
}

// Record is one record for a topic. The partition is chosen by the key's hash, as Kafka's own clients
// do. Its time is kept to the millisecond.
type Record struct {
	Topic           string
	Key, Value      []byte
	TimestampMicros int64
}

// Producer sends records. Send is for one goroutine at a time.
type Producer struct {
	url          string
	client       *kgo.Client
	closeTimeout time.Duration
}

// Open makes a producer. It does not wait for a broker: Ready asks for one.
func Open(cfg Config) (*Producer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gateway log: %w", err)
	}
	cfg = cfg.withDefaults()
	url := "kafka://" + strings.Join(cfg.Brokers, ",")
	client, err := kgo.NewClient(append(slices.Clone(cfg.Client),
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID("clickledger-gateway"),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchMaxBytes(batchBytesMax),
		kgo.ProducerLinger(cfg.Linger),
		kgo.MaxBufferedRecords(bufferedMax),
		kgo.UnknownTopicRetries(-1), // the records wait in the gateway until somebody makes the topic
		kgo.DialTimeout(cfg.ConnectTimeout),
		kgo.MetadataMinAge(metadataAgeMin),
		kgo.RetryBackoffFn(func(tries int) time.Duration {
			return min(retryFirst<<min(tries, 10), retryLast)
		}),
	)...)
	if err != nil {
		return nil, fmt.Errorf("%s: open producer: %w", url, err)
	}
	return &Producer{url: url, client: client, closeTimeout: cfg.CloseTimeout}, nil
}

// Ready returns nil if a broker answers.
func (p *Producer) Ready(ctx context.Context) error {
	if err := p.client.Ping(ctx); err != nil {
		return fmt.Errorf("%s: not reachable: %s", p.url, oneLine(err))
	}
	return nil
}

// Send writes the records in their order and returns when all are acknowledged. It waits for a broker
// until ctx is done. The records' bytes belong to the producer for good: after an error some may
// still be on their way.
func (p *Producer) Send(ctx context.Context, records []Record) error {
	batch := make([]kgo.Record, len(records))
	refs := make([]*kgo.Record, len(records))
	for i, r := range records {
		batch[i] = kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Timestamp: time.UnixMicro(r.TimestampMicros)}
		refs[i] = &batch[i]
	}
	if err := p.client.ProduceSync(ctx, refs...).FirstErr(); err != nil {
		return fmt.Errorf("%s: send %d records: %w", p.url, len(records), err)
	}
	return nil
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
