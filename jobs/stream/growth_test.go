package stream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// TestPartitionIsAdded adds a partition to the topic while the stream runs: its clicks are judged and
// published without a restart by hand, and nothing of the others changes.
func TestPartitionIsAdded(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	// The log ends now, so that its watermark moves on by itself.
	cfg := loadgen.DefaultConfig(seed, 4_000, time.Now().Add(-40*time.Second).UnixMilli(), 100)
	cfg.Shares.Late, cfg.Shares.VeryLate, cfg.Shares.DuplicateOld = 0, 0, 0
	recs := records(t, cfg)
	url := startBroker(t)
	produce(t, url, recs)
	store := openServing(t)
	p := policy.Default()

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := stream.Run(ctx, stream.Config{Log: url, Policy: p, RunID: t.Name()}, stream.Deps{Serving: store})
		ended <- err
	}()
	await(t, "the first rows", func() bool { return clicksOf(t, store) == int64(len(recs)-deadOf(recs, p)) })

	brokers, err := kafkaio.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if res, err := kadm.NewClient(client).CreatePartitions(t.Context(), 1, schemas.TopicClicks); err != nil || res.Error() != nil {
		t.Fatalf("add a partition: %v, %v", err, res.Error())
	}
	more := make([]schemas.Record, 500)
	for i := range more {
		now := time.Now()
		click := schemas.RawClick{ClickID: fmt.Append(nil, "added ", i), AdID: []byte("ad"), AdvertiserID: []byte("adv"), CampaignID: []byte("cmp"),
			CostPerClick: 0.5, Timestamp: now.UnixMilli(), ReceivedAt: now.UnixMicro()}
		more[i] = schemas.Record{Position: schemas.Position{Partition: partitions, Offset: int64(i)}, TimestampMicros: now.UnixMilli() * 1000,
			Key: click.ClickID, Value: click.AppendTo(nil)}
	}
	produce(t, url, more)
	recs = append(recs, more...)
	want := oracle.Judge(recs, p)
	await(t, "the rows of the added partition", func() bool { return clicksOf(t, store) == int64(len(recs)-deadOf(recs, p)) })
	cancel()
	if err := <-ended; err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	compareRows(t, seed, store, want.Rows(oracle.All))
}

func deadOf(recs []schemas.Record, p *policy.Policy) int {
	return int(oracle.Judge(recs, p).Totals(oracle.All).DeadLetters)
}

// clicksOf is the number of clicks in the provisional rows.
func clicksOf(t *testing.T, store serving.Store) (n int64) {
	t.Helper()
	for row, err := range store.Rows(t.Context(), serving.Provisional, serving.Range{FromMillis: 0, ToMillis: 1 << 45}) {
		if err != nil {
			t.Fatal(err)
		}
		n += row.RawClicks
	}
	return n
}

// await asks until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s did not come", what)
		}
	}
}
