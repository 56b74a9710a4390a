package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/wal"
	"github.com/clickledger/clickledger/schemas"
)

// broker starts a real broker of its own and returns it with a producer.
func broker(t *testing.T) (*embedkafka.Server, *gatewaykafka.Producer) {
	t.Helper()
	srv := start(t, embedkafka.Config{Dir: t.TempDir(), Partitions: 3})
	return srv, producerOf(t, srv.Addr())
}

func producerOf(t *testing.T, addr string) *gatewaykafka.Producer {
	t.Helper()
	producer, err := gatewaykafka.Open(gatewaykafka.Config{Brokers: []string{addr}, CloseTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := producer.Close(); err != nil {
			t.Error(err)
		}
	})
	return producer
}

func start(t *testing.T, cfg embedkafka.Config) *embedkafka.Server {
	t.Helper()
	srv, err := embedkafka.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv
}

// records reads everything that is in the topic of clicks.
func records(t *testing.T, srv *embedkafka.Server) []schemas.Record {
	t.Helper()
	return recordsOf(t, srv, 3)
}

func recordsOf(t *testing.T, srv *embedkafka.Server, partitions int32) (all []schemas.Record) {
	t.Helper()
	eachRecord(t, srv, partitions, func(r *schemas.Record) {
		kept := *r
		kept.Key, kept.Value = append([]byte{}, r.Key...), append([]byte{}, r.Value...)
		all = append(all, kept)
	})
	return all
}

// eachRecord calls f for the records of the topic in order; their bytes are used again.
func eachRecord(t *testing.T, srv *embedkafka.Server, partitions int32, f func(*schemas.Record)) {
	t.Helper()
	client, err := kafkaio.Connect(t.Context(), []string{srv.Addr()}, kafkaio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for partition := range partitions {
		_, end, err := client.Offsets(t.Context(), schemas.TopicClicks, partition)
		if err != nil {
			t.Fatal(err)
		}
		reader := client.OpenPartition(schemas.TopicClicks, partition, 0)
		for reader.Offset() < end {
			recs, _, err := reader.Fetch(t.Context(), kafkaio.FetchLimits{MaxWait: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			for i := range recs {
				f(&recs[i])
			}
		}
	}
}

// running starts a gateway on a free port and returns its base URL, and a function that stops it.
func running(t *testing.T, cfg Config, deps Deps) (string, func() Result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	listening, done := make(chan net.Addr, 1), make(chan struct{})
	deps.Listening = func(addr net.Addr) { listening <- addr }
	cfg.Listen = "127.0.0.1:0"
	if cfg.WAL.Dir == "" {
		cfg.WAL.Dir = t.TempDir()
	}
	if cfg.Keys == nil && cfg.RedirectHosts == nil {
		cfg.RedirectHosts = anyHost
	}
	var result Result
	var err error
	go func() {
		defer close(done)
		result, err = Run(ctx, cfg, deps)
	}()
	stop := func() Result {
		cancel()
		<-done
		if err != nil {
			t.Errorf("run: %v", err)
		}
		return result
	}
	t.Cleanup(func() { stop() })
	select {
	case addr := <-listening:
		return "http://" + addr.String(), stop
	case <-done:
		t.Fatalf("run: %v", err)
		return "", nil
	}
}

var noRedirects = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// TestEveryRedirectIsInTheLog sends clicks at once and finds each that was redirected in the log, once.
func TestEveryRedirectIsInTheLog(t *testing.T) {
	t.Parallel()
	srv, producer := broker(t)
	base, stop := running(t, Config{}, Deps{Producer: producer})
	client := &http.Client{CheckRedirect: noRedirects, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	const workers, each = 16, 60
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range each {
				resp, err := client.Get(fmt.Sprintf("%s/api/v1/clicks?click_id=c-%d-%d&redirect_url=%s", base, w, i,
					url.QueryEscape("https://a.example/")))
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusFound {
					t.Errorf("got %d, want 302", resp.StatusCode)
				}
			}
		})
	}
	group.Wait()
	client.CloseIdleConnections()
	if got := stop(); got != (Result{Redirected: workers * each, Shipped: workers * each}) {
		t.Errorf("got %+v", got)
	}
	seen := map[string]int{}
	for _, r := range records(t, srv) {
		seen[string(r.Key)]++
	}
	for w := range workers {
		for i := range each {
			if id := fmt.Sprintf("c-%d-%d", w, i); seen[id] != 1 {
				t.Errorf("%s is in the log %d times", id, seen[id])
			}
		}
	}
	if len(seen) != workers*each {
		t.Errorf("got %d click ids, want %d", len(seen), workers*each)
	}
}

// TestBrokerAway takes a real broker away and brings it back: clicks are taken all the same, and come
// to the log in their order.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := start(t, embedkafka.Config{Dir: dir, Partitions: 1})
	_, portText, err := net.SplitHostPort(srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	base, stop := running(t, Config{}, Deps{Producer: producerOf(t, srv.Addr())})
	client := &http.Client{CheckRedirect: noRedirects}
	defer client.CloseIdleConnections()
	status := func(path string) int {
		resp, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	const before, away, after = 20, 200, 20
	sent := 0
	click := func(n int) {
		for range n {
			if got := status(fmt.Sprintf("/api/v1/clicks?click_id=c-%04d&redirect_url=https://a.example/", sent)); got != http.StatusFound {
				t.Fatalf("got %d, want 302", got)
			}
			sent++
		}
	}
	click(before)
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	click(away)
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := status(path); got != http.StatusOK {
			t.Errorf("without a broker, %s: got %d, want 200", path, got)
		}
	}
	srv = start(t, embedkafka.Config{Dir: dir, Port: port, Partitions: 1})
	click(after)
	if got := stop(); got != (Result{Redirected: int64(sent), Shipped: int64(sent)}) {
		t.Errorf("got %+v, want %d redirected and shipped", got, sent)
	}
	next := 0
	for _, r := range recordsOf(t, srv, 1) {
		if want := fmt.Sprintf("c-%04d", next); string(r.Key) == want {
			next++
		} else if string(r.Key) > want {
			t.Fatalf("%s came before %s", r.Key, want)
		}
	}
	if next != sent {
		t.Errorf("the log holds %d clicks in order, want %d", next, sent)
	}
}

// TestNoBrokerAtAll: a gateway starts, takes clicks and ends without Kafka; the next one ships them.
func TestNoBrokerAtAll(t *testing.T) {
	t.Parallel()
	cfg := Config{DrainTimeout: 50 * time.Millisecond}
	cfg.WAL.Dir = t.TempDir()
	base, stop := running(t, cfg, Deps{Producer: producerOf(t, "127.0.0.1:1")})
	client := &http.Client{CheckRedirect: noRedirects}
	for i := range 5 {
		resp, err := client.Get(fmt.Sprintf("%s/api/v1/clicks?click_id=c-%d&redirect_url=https://a.example/", base, i))
		if err != nil || resp.StatusCode != http.StatusFound {
			t.Fatalf("got %v, %v", resp, err)
		}
		_ = resp.Body.Close()
	}
	client.CloseIdleConnections()
	if got := stop(); got != (Result{Redirected: 5, Pending: 5}) {
		t.Errorf("got %+v", got)
	}
	srv, producer := broker(t)
	_, stop = running(t, Config{WAL: wal.Config{Dir: cfg.WAL.Dir}}, Deps{Producer: producer})
	if got := stop(); got != (Result{Shipped: 5}) {
		t.Errorf("the next run: got %+v", got)
	}
	if got := records(t, srv); len(got) != 5 {
		t.Errorf("got %d records, want 5", len(got))
	}
}

// slow acknowledges when it is told to.
type slow struct{ entered, release chan struct{} }

func (s slow) Send(ctx context.Context, _ []gatewaykafka.Record) error {
	s.entered <- struct{}{}
	select {
	case <-s.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestStopShipsWhatIsRecorded: a gateway that is told to stop waits for Kafka's acknowledgement.
func TestStopShipsWhatIsRecorded(t *testing.T) {
	t.Parallel()
	s := slow{make(chan struct{}, 1), make(chan struct{})}
	base, stop := running(t, Config{}, Deps{Producer: s})
	client := &http.Client{CheckRedirect: noRedirects}
	resp, err := client.Get(base + "/api/v1/clicks?" + lessonQuery)
	if err != nil || resp.StatusCode != http.StatusFound {
		t.Fatalf("got %v, %v, want 302 before Kafka has it", resp, err)
	}
	_ = resp.Body.Close()
	client.CloseIdleConnections()
	<-s.entered
	stopped := make(chan Result, 1)
	go func() { stopped <- stop() }()
	select {
	case got := <-stopped:
		t.Errorf("stopped before the acknowledgement: %+v", got)
	case <-time.After(100 * time.Millisecond):
	}
	close(s.release)
	if got := <-stopped; got != (Result{Redirected: 1, Shipped: 1}) {
		t.Errorf("got %+v", got)
	}
}

// failing refuses a few times.
type failing struct {
	left int
	sent []gatewaykafka.Record
}

func (f *failing) Send(_ context.Context, records []gatewaykafka.Record) error {
	if f.left--; f.left >= 0 {
		return errors.New("fatal")
	}
	f.sent = append(f.sent, records...)
	return nil
}

// TestShipsAgainAfterAnError: whatever the producer says, nothing is left out.
func TestShipsAgainAfterAnError(t *testing.T) {
	t.Parallel()
	f := &failing{left: 2}
	base, stop := running(t, Config{}, Deps{Producer: f})
	for range 3 {
		resp, err := (&http.Client{CheckRedirect: noRedirects}).Get(base + "/api/v1/clicks?" + lessonQuery)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if got := stop(); got.Shipped != 3 || len(f.sent) != 3 {
		t.Errorf("got %+v, %d sent", got, len(f.sent))
	}
}

// TestWALFull: at its limit the gateway says so, and goes on when Kafka has taken something.
func TestWALFull(t *testing.T) {
	t.Parallel()
	s := slow{make(chan struct{}, 1000), make(chan struct{})}
	base, stop := running(t, Config{WAL: wal.Config{SegmentBytes: 2 << 10, MaxBytes: 8 << 10}}, Deps{Producer: s})
	client := &http.Client{CheckRedirect: noRedirects}
	defer client.CloseIdleConnections()
	get := func() reply {
		resp, err := client.Get(base + "/api/v1/clicks?" + lessonQuery)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return reply{code: resp.StatusCode, header: resp.Header}
	}
	taken := int64(0)
	resp := get()
	for ; resp.code == http.StatusFound && taken < 1000; resp = get() {
		taken++
	}
	if resp.code != http.StatusServiceUnavailable || resp.header.Get("Retry-After") != "1" ||
		resp.header.Get("Location") != "" || resp.header.Get("Set-Cookie") != "" {
		t.Errorf("after %d clicks: got %d with %v, want 503 with Retry-After alone", taken, resp.code, resp.header)
	}
	close(s.release)
	for tries := 0; get().code != http.StatusFound; tries++ {
		if tries > 500 {
			t.Fatal("Kafka takes records, and clicks are refused all the same")
		}
		time.Sleep(time.Millisecond)
	}
	if got := stop(); got.Redirected != taken+1 || got.Shipped != taken+1 || got.Unavailable == 0 {
		t.Errorf("got %+v after %d clicks", got, taken)
	}
}
