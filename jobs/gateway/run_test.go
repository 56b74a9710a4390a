package gateway

import (
	"context"
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
	"github.com/clickledger/clickledger/schemas"
)

// broker starts a real broker of its own and returns it with a producer.
func broker(t *testing.T) (*embedkafka.Server, *gatewaykafka.Producer) {
	t.Helper()
	srv := start(t, embedkafka.Config{Dir: t.TempDir(), Partitions: 3})
	producer, err := gatewaykafka.Open(t.Context(), gatewaykafka.Config{
		Brokers: []string{srv.Addr()}, CloseTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := producer.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv, producer
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

// records reads everything that is in the topic.
func records(t *testing.T, srv *embedkafka.Server) []schemas.Record {
	t.Helper()
	client, err := kafkaio.Connect(t.Context(), []string{srv.Addr()}, kafkaio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var all []schemas.Record
	for partition := range int32(3) {
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
			for _, r := range recs {
				r.Key, r.Value = append([]byte{}, r.Key...), append([]byte{}, r.Value...)
				all = append(all, r)
			}
		}
	}
	return all
}

// running starts a gateway on a free port and returns its base URL, and a function that stops it.
func running(t *testing.T, cfg Config, deps Deps) (string, func() Result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	listening, done := make(chan net.Addr, 1), make(chan struct{})
	deps.Listening = func(addr net.Addr) { listening <- addr }
	cfg.Listen = "127.0.0.1:0"
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
	base, stop := running(t, Config{}, Deps{Appender: producer, Ready: producer.Ready})
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
	if got := stop(); got != (Result{Redirected: workers * each}) {
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

// TestBrokerAway takes a real broker away and brings it back.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := start(t, embedkafka.Config{Dir: dir, Partitions: 3})
	_, portText, err := net.SplitHostPort(srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	producer, err := gatewaykafka.Open(t.Context(), gatewaykafka.Config{Brokers: []string{srv.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := producer.Close(); err != nil {
			t.Error(err)
		}
	})
	base, stop := running(t, Config{AppendTimeout: 300 * time.Millisecond},
		Deps{Appender: producer, Ready: producer.Ready})
	client := &http.Client{CheckRedirect: noRedirects}
	defer client.CloseIdleConnections()
	status := func(path string) (int, http.Header) {
		resp, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode, resp.Header
	}
	for path, want := range map[string]int{"/api/v1/clicks?" + lessonQuery: 302, "/healthz": 200, "/readyz": 200} {
		if got, _ := status(path); got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	got, header := status("/api/v1/clicks?" + lessonQuery)
	if got != http.StatusServiceUnavailable || header.Get("Retry-After") != "1" ||
		header.Get("Location") != "" || header.Get("Set-Cookie") != "" {
		t.Errorf("got %d with %v, want 503 with Retry-After alone", got, header)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503} {
		if got, _ := status(path); got != want {
			t.Errorf("without a broker, %s: got %d, want %d", path, got, want)
		}
	}
	start(t, embedkafka.Config{Dir: dir, Port: port, Partitions: 3})
	refused := int64(1)
	for got, _ := status("/api/v1/clicks?" + lessonQuery); got != 302; refused++ {
		if refused > 100 {
			t.Fatal("the broker is back, and clicks are refused all the same")
		}
		got, _ = status("/api/v1/clicks?" + lessonQuery)
	}
	if got := stop(); got != (Result{Redirected: 2, Unavailable: refused}) {
		t.Errorf("got %+v", got)
	}
}

// slow acknowledges when it is told to.
type slow struct{ entered, release chan struct{} }

func (s slow) Append(ctx context.Context, _, _ []byte, _ int64) error {
	close(s.entered)
	select {
	case <-s.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestStopAnswersWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	s := slow{make(chan struct{}), make(chan struct{})}
	base, stop := running(t, Config{}, Deps{Appender: s})
	answered := make(chan int, 1)
	go func() {
		resp, err := (&http.Client{CheckRedirect: noRedirects}).Get(base + "/api/v1/clicks?" + lessonQuery)
		if err != nil {
			answered <- 0
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	<-s.entered
	stopped := make(chan Result, 1)
	go func() { stopped <- stop() }()
	close(s.release)
	if got := <-answered; got != http.StatusFound {
		t.Errorf("got %d, want 302", got)
	}
	if got := <-stopped; got.Redirected != 1 {
		t.Errorf("got %+v", got)
	}
}
