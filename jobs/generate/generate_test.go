package generate

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/internal/wal"
	"github.com/clickledger/clickledger/jobs/gateway"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

const (
	partitions = 3
	start      = 1_795_000_000_000
)

type kafka struct {
	*embedkafka.Server
	*kafkaio.Producer
}

func broker(t testing.TB) kafka {
	t.Helper()
	srv, err := embedkafka.Start(context.Background(), embedkafka.Config{Dir: t.TempDir(), Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	producer, err := kafkaio.OpenProducer(context.Background(), []string{srv.Addr()}, kafkaio.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(producer.Close(), srv.Close()); err != nil {
			t.Error(err)
		}
	})
	return kafka{srv, producer}
}

// records reads all clicks, partition after partition.
func (k kafka) records(t testing.TB) []schemas.Record { return k.of(t, schemas.TopicClicks) }

// of reads everything that is in the topic, partition after partition.
func (k kafka) of(t testing.TB, topic string) []schemas.Record {
	t.Helper()
	client, err := kafkaio.Connect(context.Background(), []string{k.Addr()}, kafkaio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var all []schemas.Record
	for partition := range int32(partitions) {
		_, end, err := client.Offsets(context.Background(), topic, partition)
		if err != nil {
			t.Fatal(err)
		}
		reader := client.OpenPartition(topic, partition, 0)
		for reader.Offset() < end {
			recs, _, err := reader.Fetch(context.Background(), kafkaio.FetchLimits{MaxWait: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range recs {
				r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
				all = append(all, r)
			}
		}
	}
	return all
}

func TestToLog(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"by key":      {Load: loadgen.DefaultConfig(1, 25_000, start, 500)},
		"round robin": {Load: loadgen.DefaultConfig(1, 25_000, start, 500), RoundRobin: partitions},
		"ad salt":     {Load: loadgen.DefaultConfig(1, 25_000, start, 500), Key: schemas.KeyAdSalt, Salts: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := broker(t)
			var last int64
			r, err := Run(t.Context(), cfg, Deps{Producer: k, Progress: func(_ string, done, _ int64) { last = done }})
			if err != nil {
				t.Fatal(err)
			}
			if r.Records != cfg.Load.Clicks || r.LogRecords != r.Records || last != r.Records {
				t.Errorf("got %+v, progress %d", r, last)
			}
			compare(t, cfg, k.records(t))
		})
	}
}

// compare checks that the log holds exactly what the generator yields, each partition in order.
func compare(t *testing.T, cfg Config, got []schemas.Record) {
	t.Helper()
	cfg = cfg.withDefaults()
	gen, err := loadgen.New(cfg.Load)
	if err != nil {
		t.Fatal(err)
	}
	byKey := map[string]int32{}
	next := map[int32][]schemas.Record{}
	for _, r := range got {
		next[r.Partition] = append(next[r.Partition], r)
	}
	var it loadgen.Item
	for n := 0; gen.Next(&it); n++ {
		key, value := it.AppendKey(nil, cfg.Key, cfg.Salts), it.AppendValue(nil)
		partition, known := byKey[string(key)]
		if cfg.RoundRobin > 0 {
			partition, known = int32(n%cfg.RoundRobin), true
		}
		if !known {
			partition = int32(slices.IndexFunc([]int32{0, 1, 2}, func(p int32) bool {
				return len(next[p]) > 0 && bytes.Equal(next[p][0].Value, value)
			}))
			byKey[string(key)] = partition
		}
		if partition < 0 || len(next[partition]) == 0 {
			t.Fatalf("record %d is not in the log", n)
		}
		r := next[partition][0]
		next[partition] = next[partition][1:]
		if !bytes.Equal(r.Key, key) || !bytes.Equal(r.Value, value) ||
			r.TimestampMicros != it.ReceivedAtMicros-it.ReceivedAtMicros%1000 {
			t.Fatalf("record %d: got %+v, want key %q, value %q", n, r, key, value)
		}
	}
	for p, rest := range next {
		if len(rest) != 0 {
			t.Errorf("partition %d: %d more records than generated", p, len(rest))
		}
	}
}

// startGateway runs a gateway over the broker until the test ends.
func startGateway(t testing.TB, k kafka) string {
	t.Helper()
	producer, err := gatewaykafka.Open(gatewaykafka.Config{Brokers: []string{k.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	listening, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		_, err := gateway.Run(ctx, gateway.Config{Listen: "127.0.0.1:0", CountryHeader: DefaultCountryHeader,
			WAL: wal.Config{Dir: dir}, RedirectHosts: []string{"*.example"},
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
			gateway.Deps{Producer: producer, Listening: func(a net.Addr) { listening <- a }})
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, producer.Close()); err != nil {
			t.Error(err)
		}
	})
	select {
	case addr := <-listening:
		return "http://" + addr.String()
	case err := <-done:
		t.Fatal(err)
		return ""
	}
}

// TestThroughGateway drives every kind of click through a real gateway into a real log, and compares
// each record there with the generator's.
func TestThroughGateway(t *testing.T) {
	t.Parallel()
	k := broker(t)
	load := loadgen.DefaultConfig(21, 6_000, 0, 3_000)
	load.Shares.BadCost, load.Shares.Missing, load.Shares.Overlong = 0.01, 0.01, 0.01
	cfg := Config{Load: load, Gateway: startGateway(t, k), BrokenToLog: true, Pace: true, Concurrency: 16}
	began := time.Now().UnixMilli()
	r, err := Run(t.Context(), cfg, Deps{Producer: k})
	if err != nil {
		t.Fatal(err)
	}
	if r.Records != load.Clicks || r.Redirected+r.LogRecords != r.Records || r.Refused+r.Skipped+r.Retries != 0 ||
		r.Answers["302"] != r.Redirected || r.LogRecords == 0 {
		t.Errorf("got %+v", r)
	}
	if r.FirstMillis < began || r.LastMillis-r.FirstMillis < 1_900 {
		t.Errorf("from %d to %d, want two seconds from %d on", r.FirstMillis, r.LastMillis, began)
	}
	cfg.Load.StartMillis = began
	want := expected(t, cfg.Load)
	decoder := schemas.NewDecoder(policy.Default())
	got := map[string]int{}
	reasons := map[schemas.Reason]int{}
	for _, rec := range k.records(t) {
		click, reason := decoder.Decode(rec)
		reasons[reason]++
		got[essence(&click, reason)]++
	}
	if !maps.Equal(got, want) {
		for e, n := range want {
			if got[e] != n {
				t.Errorf("got %d, want %d of %s", got[e], n, e)
			}
		}
		for e, n := range got {
			if want[e] == 0 {
				t.Errorf("got %d, want none of %s", n, e)
			}
		}
	}
	for _, reason := range []schemas.Reason{"bad_cost", "bad_ip", "bad_id", "stale", "future", "undecodable", "oversize"} {
		if reasons[reason] == 0 {
			t.Errorf("no dead letter %s in %v", reason, reasons)
		}
	}
}

// essence is what must be the same in the log as it was generated: all but the times.
func essence(c *schemas.Click, reason schemas.Reason) string {
	if reason == schemas.ReasonUndecodable || reason == schemas.ReasonOversize {
		return string(reason)
	}
	cost := c.CostPerClick
	if math.IsNaN(cost) || math.IsInf(cost, 0) {
		cost = -1 // either is written as something that is no price
	}
	return strings.Join([]string{string(reason), c.ClickID, c.AdID, c.AdvertiserID, c.CampaignID, c.UserID, c.IPAddress,
		c.UserAgent, c.Referrer, c.DeviceType, c.CountryCode, time.Duration(cost * 1e6).String()}, "|")
}

func expected(t *testing.T, load loadgen.Config) map[string]int {
	t.Helper()
	gen, err := loadgen.New(load)
	if err != nil {
		t.Fatal(err)
	}
	decoder := schemas.NewDecoder(policy.Default())
	want := map[string]int{}
	var it loadgen.Item
	for gen.Next(&it) {
		click, reason := decoder.Decode(schemas.Record{TimestampMicros: it.ReceivedAtMicros, Value: it.AppendValue(nil)})
		want[essence(&click, reason)]++
	}
	return want
}

// TestSendsAgainUntilRedirected: a gateway that is away for a while loses nothing.
func TestSendsAgainUntilRedirected(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	failures := map[string]int{}
	var broken atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			return
		}
		id := r.URL.Query().Get("click_id")
		mu.Lock()
		failures[id]++
		n := failures[id]
		mu.Unlock()
		switch {
		case n == 1 && id[len(id)-1]%3 == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n == 1 && id[len(id)-1]%3 == 1:
			broken.Add(1)
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			w.Header().Set("Location", r.URL.Query().Get("redirect_url"))
			w.WriteHeader(http.StatusFound)
		}
	}))
	defer srv.Close()
	cfg := Config{Load: loadgen.DefaultConfig(2, 300, 0, 1e6), Gateway: srv.URL, Concurrency: 8}
	cfg.Load.Shares, cfg.Load.Attackers = loadgen.Shares{}, loadgen.Attackers{}
	r, err := Run(t.Context(), cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	// A GET on a kept connection that breaks is sent again by net/http itself, and no answer "none".
	if r.Redirected != 300 || r.Retries == 0 || r.Answers["503"] == 0 || broken.Load() == 0 ||
		r.Requests != 300+r.Retries {
		t.Errorf("got %+v", r)
	}
}

func TestRefusedClicksAreAnError(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer srv.Close()
	cfg := Config{Load: loadgen.DefaultConfig(2, 50, 0, 1e6), Gateway: srv.URL}
	r, err := Run(t.Context(), cfg, Deps{})
	if !errors.Is(err, ErrRefused) || r.Refused == 0 || r.Retries != 0 || r.Refused+r.Skipped != 50 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	cfg := Config{Load: loadgen.DefaultConfig(2, 50, 0, 1e6), Gateway: "http://127.0.0.1:1"}
	if _, err := Run(t.Context(), cfg, Deps{}); err == nil || !strings.Contains(err.Error(), cfg.Gateway) {
		t.Errorf("got %v, want an error that names the gateway", err)
	}
	cfg.Gateway = ""
	cause := errors.New("away")
	if _, err := Run(t.Context(), cfg, Deps{Producer: broken{cause}}); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
	if _, err := Run(t.Context(), cfg, Deps{}); err == nil {
		t.Error("no error without a log")
	}
}

type broken struct{ err error }

func (b broken) ProduceAll(context.Context, []kafkaio.OutRecord) error { return b.err }

// TestEnds: a run ends at its limit in time and when it is told to, whatever is left.
func TestEnds(t *testing.T) {
	t.Parallel()
	k := broker(t)
	cfg := Config{Load: loadgen.DefaultConfig(2, 1_000, 0, 1), Pace: true, DurationMax: 50 * time.Millisecond}
	if _, err := Run(t.Context(), cfg, Deps{Producer: k}); err == nil || !strings.Contains(err.Error(), "not done within 50ms") {
		t.Errorf("got %v", err)
	}
	cfg.DurationMax, cfg.Gateway = 0, startGateway(t, k)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, cfg, Deps{Producer: k}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestValidateNamesEveryKey(t *testing.T) {
	t.Parallel()
	err := Config{Gateway: "ftp://x", Key: "z", Salts: -1, RoundRobin: -1, Concurrency: -1, Attempts: -1,
		RequestTimeout: -1, DurationMax: -1}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	if err := (Config{BrokenToLog: true, AudienceToLog: true}).Validate(); err == nil || !strings.Contains(err.Error(), "broken_to_log") || !strings.Contains(err.Error(), "audience_to_log") {
		t.Errorf("without a gateway: got %v", err)
	}
	for _, key := range []string{"gateway", "key", "salts", "round_robin", "concurrency", "attempts", "request_timeout",
		"duration_max"} {
		if !strings.Contains(err.Error(), "generate."+key+":") {
			t.Errorf("%q does not name %s", err, key)
		}
	}
}

func BenchmarkThroughGateway(b *testing.B) {
	k := broker(b)
	cfg := Config{Load: loadgen.DefaultConfig(1, int64(b.N), 0, 1e6), Gateway: startGateway(b, k), BrokenToLog: true}
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := Run(context.Background(), cfg, Deps{Producer: k}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "clicks/s")
}

func BenchmarkToLog(b *testing.B) {
	k := broker(b)
	cfg := Config{Load: loadgen.DefaultConfig(1, int64(b.N), start, 10_000)}
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := Run(context.Background(), cfg, Deps{Producer: k}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "clicks/s")
}
