package stream_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

const partitions = 4

// records makes a log in partitions by click_id, as the gateway writes it.
func records(t testing.TB, cfg loadgen.Config) []schemas.Record {
	t.Helper()
	g, err := loadgen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var out []schemas.Record
	var next [partitions]int64
	var it loadgen.Item
	for g.Next(&it) {
		key := it.AppendKey(nil, schemas.KeyClickID, 0)
		h := fnv.New32a()
		h.Write(key)
		p := int32(h.Sum32() % partitions)
		out = append(out, schemas.Record{Position: schemas.Position{Partition: p, Offset: next[p]},
			TimestampMicros: it.ReceivedAtMicros / 1000 * 1000, Key: key, Value: it.AppendValue(nil)})
		next[p]++
	}
	return out
}

func produce(t testing.TB, url string, recs []schemas.Record) {
	t.Helper()
	produceTo(t, url, schemas.TopicClicks, recs)
}

func produceTo(t testing.TB, url, topic string, recs []schemas.Record) {
	t.Helper()
	brokers, err := kafkaio.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	p, err := kafkaio.OpenProducer(t.Context(), brokers, kafkaio.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out := make([]kafkaio.OutRecord, 0, len(recs))
	for i := range recs {
		out = append(out, kafkaio.OutRecord{Topic: topic, Partition: recs[i].Partition, Key: recs[i].Key,
			Value: recs[i].Value, TimestampMicros: recs[i].TimestampMicros})
	}
	if err := p.ProduceAll(t.Context(), out); err != nil {
		t.Fatal(err)
	}
}

func startBroker(t testing.TB) string {
	t.Helper()
	srv, err := embedkafka.Start(t.Context(), embedkafka.Config{Dir: t.TempDir(), Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return srv.URL()
}

func openServing(t testing.TB) *servingduck.Store {
	t.Helper()
	store, err := servingduck.Open(t.Context(), "duckdb://"+filepath.Join(t.TempDir(), "serving.duckdb"), servingduck.Options{MustOwn: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// TestStreamEqualsOracle runs a log whose clicks are all on time through the stream: rows and
// verdicts are the oracle's, to the click and to the micro.
func TestStreamEqualsOracle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	start := time.Date(2026, 3, 1, 23, 58, 0, 0, time.UTC).UnixMilli()
	cfg := loadgen.DefaultConfig(seed, 30_000, start, 100)
	cfg.Shares.Late, cfg.Shares.VeryLate, cfg.Shares.DuplicateOld = 0, 0, 0
	recs := records(t, cfg)
	url := startBroker(t)
	produce(t, url, recs)
	serving := openServing(t)
	p := policy.Default()

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	st, err := stream.Run(ctx, stream.Config{Log: url, Policy: p, RunID: t.Name(), UntilEnd: true}, stream.Deps{Serving: serving})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	want := oracle.Judge(recs, p)
	totals := want.Totals(oracle.All)
	t.Logf("stream %+v", st)
	if st.Records != totals.Records || st.Billable != totals.Billable || st.Duplicates != totals.Duplicates ||
		st.Invalid != totals.Invalid || st.DeadLetters != totals.DeadLetters {
		t.Errorf("seed %d: got %+v, want %+v", seed, st, totals)
	}
	compareRows(t, seed, serving, want.Rows(oracle.All))
}

func compareRows(t *testing.T, seed uint64, store serving.Store, want []schemas.MinuteRow) {
	t.Helper()
	i, bad := 0, 0
	for got, err := range store.Rows(t.Context(), serving.Provisional, serving.Range{FromMillis: 0, ToMillis: 1 << 45}) {
		if err != nil {
			t.Fatal(err)
		}
		got.Version, got.IsFinal = 0, false
		if i >= len(want) || got != want[i] {
			if bad++; bad < 5 {
				t.Errorf("seed %d: row %d: got %+v, want %s", seed, i, got, fmt.Sprintf("%+v", want[min(i, len(want)-1)]))
			}
		}
		i++
	}
	if i != len(want) {
		t.Errorf("seed %d: got %d rows, want %d", seed, i, len(want))
	}
}
