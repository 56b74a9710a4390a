package kafkaio

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/twmb/franz-go/pkg/kfake"
)

const testTimeout = 20 * time.Second

// startBroker starts a real in-process broker with the product's topics.
func startBroker(t testing.TB, partitions int, opts ...kfake.Opt) (*kfake.Cluster, []string) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	brokers := c.ListenAddrs()
	if err := EnsureTopics(testContext(t), brokers, partitions); err != nil {
		t.Fatal(err)
	}
	return c, brokers
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

func connect(t testing.TB, brokers []string) *Client {
	t.Helper()
	c, err := Connect(testContext(t), brokers, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func openProducer(t testing.TB, brokers []string) *Producer {
	t.Helper()
	p, err := OpenProducer(testContext(t), brokers, ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// numbered makes n records of the topic clicks whose value tells their number, so size bytes long or a little more.
func numbered(partition int32, n, size int) []OutRecord {
	recs := make([]OutRecord, n)
	for i := range recs {
		recs[i] = OutRecord{
			Topic: schemas.TopicClicks, Partition: partition, Key: fmt.Appendf(nil, "click-%08d", i),
			Value:           fmt.Appendf(nil, "%08d%0*d", i, size-8, i),
			TimestampMicros: 1_700_000_000_000_000 + int64(i)*1000,
		}
	}
	return recs
}

// readAll reads to the end of the partition.
func readAll(t testing.TB, r *Reader, limits FetchLimits) []schemas.Record {
	t.Helper()
	ctx := testContext(t)
	var all []schemas.Record
	for {
		recs, high, err := r.Fetch(ctx, limits)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, recs...)
		if r.Offset() >= high {
			return all
		}
	}
}
