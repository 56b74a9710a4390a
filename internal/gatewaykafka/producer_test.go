package gatewaykafka

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func cluster(t testing.TB) []string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, schemas.TopicClicks))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func open(t testing.TB, cfg Config) *Producer {
	t.Helper()
	p, err := Open(context.Background(), cfg)
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

func TestAppendIsInTheLog(t *testing.T) {
	t.Parallel()
	brokers := cluster(t)
	p := open(t, Config{Brokers: brokers})
	const appends = 500
	at := time.UnixMilli(1_600_000_000_123) // years ago: times are the caller's
	var group sync.WaitGroup
	for i := range appends {
		group.Go(func() {
			id := fmt.Appendf(nil, "id-%d", i)
			if err := p.Append(t.Context(), id, append([]byte("value of "), id...), at.UnixMicro()+456); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	consumer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(schemas.TopicClicks))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	partition := map[string]int32{}
	for len(partition) < appends {
		fetches := consumer.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key := string(r.Key)
			if _, twice := partition[key]; twice {
				t.Errorf("%s is in the log twice", key)
			}
			partition[key] = r.Partition
			if got, want := string(r.Value), "value of "+key; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if !r.Timestamp.Equal(at) {
				t.Errorf("got time %s, want %s", r.Timestamp, at)
			}
		})
	}
	used := map[int32]bool{}
	for _, n := range partition {
		used[n] = true
	}
	if len(used) != 3 {
		t.Errorf("the keys went to %d partitions, want 3", len(used))
	}
}

func TestErrorsNameTheLog(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{Brokers: []string{"127.0.0.1:1"}, ConnectTimeout: 200 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "kafka://127.0.0.1:1") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line that names the log", err)
	}
	if err := (Config{Linger: -1}).Validate(); err == nil ||
		!strings.Contains(err.Error(), "brokers:") || !strings.Contains(err.Error(), "linger:") {
		t.Errorf("got %v, want both problems", err)
	}
	p := open(t, Config{Brokers: cluster(t), Topic: "nosuch", CloseTimeout: 100 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Append(ctx, []byte("k"), []byte("v"), 1); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("got %v, want an error that names the topic", err)
	}
}

// TestBufferIsBounded: with the broker's answers missing, appends beyond the buffer fail at once.
func TestBufferIsBounded(t *testing.T) {
	t.Parallel()
	p := open(t, Config{Brokers: cluster(t), BufferedMax: 2, Linger: time.Minute, CloseTimeout: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	failed := make(chan error, 3)
	for range 3 {
		group.Go(func() { failed <- p.Append(ctx, []byte("k"), []byte("v"), 1) })
	}
	if err := <-failed; err == nil || ctx.Err() != nil {
		t.Errorf("got %v, want one append to be refused", err)
	}
	cancel()
	group.Wait()
}

func BenchmarkAppend(b *testing.B) {
	p := open(b, Config{Brokers: cluster(b)})
	value := make([]byte, 220)
	b.SetParallelism(64)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := p.Append(context.Background(), []byte("key"), value, 1_600_000_000_000_000); err != nil {
				b.Fatal(err)
			}
		}
	})
}
