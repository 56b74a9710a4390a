package gatewaykafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func cluster(t testing.TB) []string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "clicks", "impressions"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func open(t testing.TB, cfg Config) *Producer {
	t.Helper()
	p, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestSendKeepsTheOrder(t *testing.T) {
	t.Parallel()
	brokers := cluster(t)
	p := open(t, Config{Brokers: brokers})
	const sends, each = 10, 100
	at := time.UnixMilli(1_600_000_000_123) // years ago: times are the caller's
	for s := range sends {
		var records []Record
		for i := range each {
			n := s*each + i
			records = append(records, Record{Topic: []string{"clicks", "impressions"}[n%2],
				Key: fmt.Appendf(nil, "key-%d", n%7), Value: fmt.Appendf(nil, "%06d", n), TimestampMicros: at.UnixMicro() + 456})
		}
		if err := p.Send(t.Context(), records); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("clicks", "impressions"))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	last := map[string]string{} // by topic and partition
	for got := 0; got < sends*each; {
		fetches := consumer.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got++
			place := fmt.Sprint(r.Topic, r.Partition)
			if value := string(r.Value); value <= last[place] {
				t.Errorf("%s: %s after %s", place, value, last[place])
			}
			last[place] = string(r.Value)
			if !r.Timestamp.Equal(at) {
				t.Errorf("got time %s, want %s", r.Timestamp, at)
			}
		})
	}
	if len(last) < 4 {
		t.Errorf("the keys went to %d partitions, want several of both topics", len(last))
	}
}

// TestSendWaits: for a broker, and for a topic.
func TestSendWaits(t *testing.T) {
	t.Parallel()
	record := []Record{{Topic: "new", Key: []byte("k"), Value: []byte("v"), TimestampMicros: 1_600_000_000_000_000}}
	away := open(t, Config{Brokers: []string{"127.0.0.1:1"}, CloseTimeout: 100 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := away.Send(ctx, record); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v, want one that names the log and the time that is over", err)
	}
	if err := away.Ready(ctx); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line", err)
	}

	brokers := cluster(t)
	p := open(t, Config{Brokers: brokers})
	sent := make(chan error, 1)
	go func() { sent <- p.Send(t.Context(), record) }()
	select {
	case err := <-sent:
		t.Errorf("without the topic: got %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	admin, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := kadm.NewClient(admin).CreateTopic(t.Context(), 1, 1, nil, "new"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-sent:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the topic is there, and the record is not")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	err := Config{Linger: -1}.Validate()
	if err == nil || !strings.Contains(err.Error(), "brokers:") || !strings.Contains(err.Error(), "linger:") {
		t.Errorf("got %v, want both problems", err)
	}
}

func BenchmarkSend(b *testing.B) {
	p := open(b, Config{Brokers: cluster(b)})
	batch := make([]Record, 4096)
	for i := range batch {
		batch[i] = Record{Topic: "clicks", Key: fmt.Appendf(nil, "key-%d", i), Value: make([]byte, 220), TimestampMicros: 1_600_000_000_000_000}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Send(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(batch))/b.Elapsed().Seconds(), "records/s")
}
