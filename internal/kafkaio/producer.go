package kafkaio

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// DefaultProduceTimeout bounds the wait until the broker has acknowledged all records of a call.
	DefaultProduceTimeout = time.Minute

	bufferedRecordsMax = 200_000
	bufferedBytesMax   = 128 << 20
	producerLinger     = 2 * time.Millisecond
)

// Header is a record's header.
type Header struct {
	Key   string
	Value []byte
}

// OutRecord is one record to be written.
type OutRecord struct {
	Topic string
	// Partition is the record's partition; -1 chooses it by the key's hash, as Kafka's own clients do.
	Partition int32
	Key       []byte
	Value     []byte
	Headers   []Header
	// TimestampMicros is the record's time, kept to the millisecond; 0 is the time of producing.
	TimestampMicros int64
}

// ProducerOptions are a producer's limits; the zero value is the defaults.
type ProducerOptions struct {
	// ConnectTimeout bounds OpenProducer; default DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// ProduceTimeout bounds one ProduceAll; default DefaultProduceTimeout.
	ProduceTimeout time.Duration
}

// Producer writes records idempotently: a retry never writes one twice, and what ProduceAll has
// acknowledged is on all in-sync replicas. It is safe for use by several goroutines.
type Producer struct {
	url     string
	client  *kgo.Client
	timeout time.Duration
}

// OpenProducer connects to the brokers, or says within opts.ConnectTimeout that none answers.
func OpenProducer(ctx context.Context, brokers []string, opts ProducerOptions) (*Producer, error) {
	if opts.ConnectTimeout <= 0 {
		opts.ConnectTimeout = DefaultConnectTimeout
	}
	if opts.ProduceTimeout <= 0 {
		opts.ProduceTimeout = DefaultProduceTimeout
	}
	url := URL(brokers)
	hash := kgo.StickyKeyPartitioner(nil)
	options, err := ClientOptions(brokers)
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(append(options,
		kgo.ClientID("clickledger"),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(choosePartition{hash}),
		kgo.ProducerBatchMaxBytesFn(batchBytesMax),
		kgo.ProducerLinger(producerLinger),
		kgo.MaxBufferedRecords(bufferedRecordsMax),
		kgo.MaxBufferedBytes(bufferedBytesMax),
		kgo.DialTimeout(opts.ConnectTimeout),
		// kgo.RecordDeliveryTimeout counts from a record's own time, which for a replayed day is long
		// ago: the time is bounded by ProduceAll's context instead.
		kgo.AllowIdempotentProduceCancellation(),
	)...)
	if err != nil {
		return nil, fmt.Errorf("%s: open producer: %w", url, err)
	}
	if err := ping(ctx, cl, opts.ConnectTimeout); err != nil {
		go cl.Close() // waits for the call under way, which may take longer than the caller would
		return nil, fmt.Errorf("%s: not reachable: %w", url, oneLine(err))
	}
	return &Producer{url: url, client: cl, timeout: opts.ProduceTimeout}, nil
}

// ping asks any broker for an answer. It does not wait for a library call that outlives its context,
// as negotiating with a silent broker does.
func ping(ctx context.Context, cl *kgo.Client, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- cl.Ping(ctx) }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %s: %w", limit, ctx.Err())
	}
}

// batchBytesMax is what a batch may hold before compression: the topic's limit, less the room that
// the batch's own header needs.
func batchBytesMax(topic string) int32 { return bytesMax(topic) - batchHeader }

// ProduceAll writes the records and waits until every one is acknowledged. Records of one partition
// keep their order. After an error an unknown part of them is written: produce them again, and let
// the reader recognise copies.
func (p *Producer) ProduceAll(ctx context.Context, recs []OutRecord) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	done := func(r *kgo.Record, err error) {
		if err != nil {
			mu.Lock()
			if first == nil {
				first = fmt.Errorf("%s: produce to %s/%d: %w", p.url, r.Topic, r.Partition, oneLine(err))
			}
			mu.Unlock()
		}
		wg.Done()
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	out := make([]kgo.Record, len(recs))
	wg.Add(len(recs))
	for i := range recs {
		in := &recs[i]
		out[i] = kgo.Record{Topic: in.Topic, Partition: in.Partition, Key: in.Key, Value: in.Value}
		if in.TimestampMicros != 0 {
			out[i].Timestamp = time.UnixMicro(in.TimestampMicros)
		}
		for _, h := range in.Headers {
			out[i].Headers = append(out[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		p.client.Produce(ctx, &out[i], done)
	}
	wg.Wait()
	return first
}

// Close flushes what is under way and drops the connections.
func (p *Producer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultConnectTimeout)
	defer cancel()
	err := p.client.Flush(ctx)
	p.client.Close()
	if err != nil {
		return fmt.Errorf("%s: flush: %w", p.url, err)
	}
	return nil
}

// choosePartition takes the record's own partition, or the key's where that is -1.
type choosePartition struct{ byKey kgo.Partitioner }

func (c choosePartition) ForTopic(topic string) kgo.TopicPartitioner {
	return chooseTopicPartition{c.byKey.ForTopic(topic)}
}

type chooseTopicPartition struct{ byKey kgo.TopicPartitioner }

func (c chooseTopicPartition) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || c.byKey.RequiresConsistency(r)
}

func (c chooseTopicPartition) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return c.byKey.Partition(r, n)
}

func (c chooseTopicPartition) OnNewBatch(r *kgo.Record) {
	if b, ok := c.byKey.(kgo.TopicPartitionerOnNewBatch); ok && r.Partition < 0 {
		b.OnNewBatch()
	}
}
