package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
)

const lessonQuery = "ad_id=ad_99a2c3d4&advertiser_id=adv_88f7e6d5&campaign_id=cmp_77b6a5d4&click_id=clk_abc123xyz456" +
	"&user_id=usr_55c4b3a2&cost_per_click=0.45&ip_address=192.168.1.1&timestamp=1782236500" +
	"&redirect_url=https://www.advertisersite.com/landing"

var (
	discard = slog.New(slog.DiscardHandler)

	clockTime = time.UnixMicro(1782236500_123_456)
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

func newTestHandler(t *testing.T, cfg Config, appender Appender) *handler {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return newHandler(cfg.withDefaults(), Deps{
		Appender: appender, Now: func() time.Time { return clockTime }, Logger: discard})
}

func get(h http.Handler, query string, header http.Header) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/clicks?"+query, nil)
	r.Header = header
	if header == nil {
		r.Header = http.Header{}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// TestLessonRequest sends the lesson's request and compares answer and record with the lesson's.
func TestLessonRequest(t *testing.T) {
	t.Parallel()
	srv, producer := broker(t)
	h := newTestHandler(t, Config{CountryHeader: "cloudfront-viewer-country"}, producer)
	const agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Mobile/15E148"
	resp := get(h, lessonQuery, http.Header{
		"User-Agent": {agent}, "Referer": {"https://news.example/\xff"}, "Cloudfront-Viewer-Country": {"de"}})
	if resp.StatusCode != http.StatusFound {
		t.Fatalf("got %d, want 302", resp.StatusCode)
	}
	want := http.Header{
		"Location":       {"https://www.advertisersite.com/landing"},
		"Cache-Control":  {"no-cache, no-store, must-revalidate"},
		"Set-Cookie":     {"csp_tracking_id=usr_55c4b3a2; Path=/; Secure; HttpOnly; SameSite=Strict"},
		"Content-Length": {"0"},
	}
	if !reflect.DeepEqual(resp.Header, want) {
		t.Errorf("got headers %v, want %v", resp.Header, want)
	}
	recs := records(t, srv)
	if len(recs) != 1 {
		t.Fatalf("got %d records, want 1", len(recs))
	}
	if got, want := string(recs[0].Key), "clk_abc123xyz456"; got != want {
		t.Errorf("got key %q, want %q", got, want)
	}
	if got, want := recs[0].TimestampMicros, clockTime.UnixMilli()*1000; got != want {
		t.Errorf("got record time %d, want %d", got, want)
	}
	var click schemas.RawClick
	if err := click.Unmarshal(recs[0].Value); err != nil {
		t.Fatal(err)
	}
	b := func(s string) []byte { return []byte(s) }
	if want := (schemas.RawClick{
		ClickID: b("clk_abc123xyz456"), AdID: b("ad_99a2c3d4"), AdvertiserID: b("adv_88f7e6d5"),
		CampaignID: b("cmp_77b6a5d4"), UserID: b("usr_55c4b3a2"), CostPerClick: 0.45, IPAddress: b("192.168.1.1"),
		UserAgent: b(agent), Timestamp: 1782236500, Referrer: b("https://news.example/\uFFFD"),
		ReceivedAt: clockTime.UnixMicro(), CountryCode: b("DE"), DeviceType: b("mobile"),
	}); !reflect.DeepEqual(click, want) {
		t.Errorf("got %+v, want %+v", click, want)
	}
}

// memory keeps what is appended, for tests of what the handler writes.
type memory struct {
	mu     sync.Mutex
	keys   []string
	clicks []schemas.RawClick
	err    error
}

func (m *memory) Append(_ context.Context, key, value []byte, _ int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	var c schemas.RawClick
	_ = c.Unmarshal(value) // what cannot be read is looked at by its length only
	m.keys, m.clicks = append(m.keys, string(key)), append(m.clicks, c)
	return nil
}

func (m *memory) last(t *testing.T) schemas.RawClick {
	t.Helper()
	if len(m.clicks) == 0 {
		t.Fatal("nothing was appended")
	}
	return m.clicks[len(m.clicks)-1]
}

// TestBadClicksAreRecorded: what is wrong with a click is for the record's readers to say.
func TestBadClicksAreRecorded(t *testing.T) {
	t.Parallel()
	const redirect = "&redirect_url=https%3A%2F%2Fa.example%2F"
	for _, query := range []string{
		"x=1", "click_id=&ad_id=a", "click_id=%ff", "click_id=a%00", "cost_per_click=-1", "cost_per_click=x",
		"ip_address=999.1.1.1", "timestamp=x", "timestamp=99999999999999999999", "click_id=" + strings.Repeat("c", 300),
	} {
		m := &memory{}
		if resp := get(newTestHandler(t, Config{}, m), query+redirect, nil); resp.StatusCode != http.StatusFound {
			t.Errorf("%s: got %d, want 302", query, resp.StatusCode)
		}
		if len(m.clicks) != 1 {
			t.Errorf("%s: got %d records, want 1", query, len(m.clicks))
		}
	}
	m := &memory{}
	resp := get(newTestHandler(t, Config{Key: schemas.KeyAdSalt, Salts: 1}, m), "ad_id=ad_1"+redirect, nil)
	if c := m.last(t); !math.IsNaN(c.CostPerClick) || c.Timestamp != 0 || string(c.IPAddress) != "192.0.2.1" ||
		len(c.CountryCode) != 0 || len(c.DeviceType) != 0 || m.keys[0] != "ad_1_0" {
		t.Errorf("got %+v with key %q", c, m.keys[0])
	}
	if cookie := resp.Header["Set-Cookie"]; cookie != nil {
		t.Errorf("a click without a user_id sets the cookie %q", cookie)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	m := &memory{}
	h := newTestHandler(t, Config{RedirectHosts: []string{"a.example"}, URLBytesMax: 512}, m)
	for name, tc := range map[string]struct {
		query string
		want  int
	}{
		"no redirect_url":   {"click_id=a", http.StatusBadRequest},
		"script":            {"redirect_url=javascript:alert(1)", http.StatusBadRequest},
		"no scheme":         {"redirect_url=//evil.example", http.StatusBadRequest},
		"header injection":  {"redirect_url=https%3A%2F%2Fa.example%2F%0d%0aX-Evil:1", http.StatusBadRequest},
		"host not in list":  {"redirect_url=https%3A%2F%2Fevil.example%2F", http.StatusBadRequest},
		"URL over the line": {strings.Repeat("x", 600), http.StatusRequestURITooLong},
	} {
		resp := get(h, tc.query, nil)
		if resp.StatusCode != tc.want {
			t.Errorf("%s: got %d, want %d", name, resp.StatusCode, tc.want)
		}
		for _, header := range []string{"Location", "X-Evil", "Set-Cookie"} {
			if v := resp.Header.Get(header); v != "" {
				t.Errorf("%s: got %s %q", name, header, v)
			}
		}
	}
	for method, want := range map[string]int{http.MethodHead: 405, http.MethodPost: 405} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/api/v1/clicks?"+lessonQuery, nil))
		if w.Code != want || w.Header().Get("Allow") != "GET" {
			t.Errorf("%s: got %d, want %d", method, w.Code, want)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/click", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("another path: got %d, want 404", w.Code)
	}
	if len(m.clicks) != 0 {
		t.Errorf("%d refused clicks were recorded", len(m.clicks))
	}
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

func TestUnavailableIsNotPermanent(t *testing.T) {
	t.Parallel()
	m := &memory{err: errors.New("away")}
	h := newTestHandler(t, Config{}, m)
	if got := get(h, lessonQuery, nil).StatusCode; got != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", got)
	}
	m.err = nil
	if got := get(h, lessonQuery, nil).StatusCode; got != http.StatusFound {
		t.Errorf("got %d, want 302", got)
	}
}

func TestValidateNamesEveryKey(t *testing.T) {
	t.Parallel()
	err := Config{Listen: "x", Key: "y", Salts: -1, URLBytesMax: 1, RedirectHosts: []string{"a/b", "*."},
		CountryHeader: "a b", DrainTimeout: -1}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"listen", "key", "salts", "url_bytes_max", "redirect_hosts[0]", "redirect_hosts[1]",
		"country_header", "drain_timeout"} {
		if !strings.Contains(err.Error(), "gateway."+key+":") {
			t.Errorf("%q does not name %s", err, key)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the zero configuration: %v", err)
	}
}

func TestHeaderText(t *testing.T) {
	t.Parallel()
	if got := headerText([]string{strings.Repeat("é", headerTextMax)}); len(got) > headerTextMax || got[len(got)-1] != 0xa9 {
		t.Errorf("got %d bytes", len(got))
	}
	if got := headerText(nil); got != nil {
		t.Errorf("got %q", got)
	}
	for value, want := range map[string]string{"de": "DE", "DEU": "", "1x": "", "": ""} {
		if got := string(countryCode([]string{value})); got != want {
			t.Errorf("country %q: got %q, want %q", value, got, want)
		}
	}
}
