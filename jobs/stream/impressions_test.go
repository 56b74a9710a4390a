package stream_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// TestImpressions counts impressions in two runs, the second of which goes on where the first ended. The rows
// are the oracle's, as if they were clicks without a price; nothing is said about any of them elsewhere.
func TestImpressions(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	cfg := loadgen.DefaultConfig(seed, 20_000, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli(), 100)
	cfg.Shares.Late, cfg.Shares.VeryLate, cfg.Shares.DuplicateOld = 0, 0, 0
	recs := records(t, cfg)
	url := startBroker(t)
	store := openServing(t)
	p := policy.Default()
	for i, part := range [][]schemas.Record{recs[:len(recs)/2], recs[len(recs)/2:]} {
		produceTo(t, url, schemas.TopicImpressions, part)
		st, err := stream.Run(t.Context(), stream.Config{Log: url, Topic: schemas.TopicImpressions, Policy: p, RunID: t.Name(), UntilEnd: true},
			stream.Deps{Serving: store})
		if err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
		t.Logf("%+v", st)
	}
	want := oracle.Judge(recs, p).Rows(oracle.All)
	i := 0
	for got, err := range store.Impressions().Rows(t.Context(), serving.Provisional, serving.Range{FromMillis: 0, ToMillis: 1 << 45}) {
		if err != nil {
			t.Fatal(err)
		}
		if i >= len(want) || got.MinuteKey != want[i].MinuteKey || got.RawClicks != want[i].RawClicks || got.UniqueClicks != want[i].UniqueClicks {
			t.Fatalf("row %d is %+v, want %+v", i, got, want[min(i, len(want)-1)])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d rows, want %d", i, len(want))
	}
	client, err := kafkaio.Connect(t.Context(), []string{url[len("kafka://"):]}, kafkaio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, topic := range []string{schemas.TopicDecisions, schemas.TopicDLQ} {
		for partition := range int32(partitions) {
			if first, end, err := client.Offsets(t.Context(), topic, partition); err != nil || end != first {
				t.Errorf("%s has records %d to %d, %v", topic, first, end, err)
			}
		}
	}
	if progress, err := store.LoadProgress(t.Context()); err != nil || progress.PolicyHash != "" {
		t.Errorf("the progress of clicks is %+v, %v", progress, err)
	}
}

func TestImpressionsAreForPrism(t *testing.T) {
	cfg := stream.Config{Log: "kafka://127.0.0.1:1", Topic: schemas.TopicImpressions, Policy: policy.Default(), RunID: "x", Runner: stream.Flink}
	if err := cfg.Validate(); err == nil {
		t.Error("impressions on flink are accepted")
	}
	cfg.Runner, cfg.Dedup.URL = stream.Prism, "redis://127.0.0.1:1/0"
	if err := cfg.Validate(); err == nil {
		t.Error("impressions in redis are accepted")
	}
}
