package gateway

import (
	"context"
	"errors"
	"image/gif"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/wal"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/impressionpb"
)

const lessonQuery = "ad_id=ad_99a2c3d4&advertiser_id=adv_88f7e6d5&campaign_id=cmp_77b6a5d4&click_id=clk_abc123xyz456" +
	"&user_id=usr_55c4b3a2&cost_per_click=0.45&ip_address=192.168.1.1&timestamp=1782236500" +
	"&redirect_url=https://www.advertisersite.com/landing"

var (
	discard = slog.New(slog.DiscardHandler)

	clockTime = time.UnixMicro(1782236500_123_456)
)

// anyHost lets redirects lead to the hosts of the tests.
var anyHost = []string{"*.example", "a.example", "www.advertisersite.com"}

func newTestHandler(t *testing.T, cfg Config, log appender) *handler {
	t.Helper()
	return newTestHandlerDeps(t, cfg, log, Deps{})
}

func newTestHandlerDeps(t *testing.T, cfg Config, log appender, deps Deps) *handler {
	t.Helper()
	if cfg.Keys == nil && cfg.RedirectHosts == nil {
		cfg.RedirectHosts = anyHost
	}
	cfg.WAL.Dir = "unused"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	deps.Now, deps.Logger = func() time.Time { return clockTime }, discard
	return newHandler(cfg.withDefaults(), deps, log, newMetrics(deps))
}

func get(h http.Handler, query string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/clicks?"+query, nil)
	r.Header = header
	if header == nil {
		r.Header = http.Header{}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestLessonRequest sends the lesson's request and compares answer and record with the lesson's.
func TestLessonRequest(t *testing.T) {
	t.Parallel()
	m := &memory{}
	h := newTestHandler(t, Config{CountryHeader: "cloudfront-viewer-country",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, m)
	const agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Mobile/15E148"
	resp := get(h, lessonQuery, http.Header{
		"User-Agent": {agent}, "Referer": {"https://news.example/\xff"}, "Cloudfront-Viewer-Country": {"de"}})
	if resp.Code != http.StatusFound {
		t.Fatalf("got %d, want 302", resp.Code)
	}
	want := http.Header{
		"Location":       {"https://www.advertisersite.com/landing"},
		"Cache-Control":  {"no-cache, no-store, must-revalidate"},
		"Set-Cookie":     {"csp_tracking_id=usr_55c4b3a2; Path=/; Secure; HttpOnly; SameSite=Strict"},
		"Content-Length": {"0"},
	}
	if !reflect.DeepEqual(resp.Header(), want) {
		t.Errorf("got headers %v, want %v", resp.Header(), want)
	}
	if len(m.records) != 1 {
		t.Fatalf("got %d records, want 1", len(m.records))
	}
	r := m.records[0]
	if r.Topic != schemas.TopicClicks || string(r.Key) != "clk_abc123xyz456" || r.TimestampMicros != clockTime.UnixMicro() {
		t.Errorf("got topic %s, key %q, time %d", r.Topic, r.Key, r.TimestampMicros)
	}
	b := func(s string) []byte { return []byte(s) }
	if got, want := m.last(t), (schemas.RawClick{
		ClickID: b("clk_abc123xyz456"), AdID: b("ad_99a2c3d4"), AdvertiserID: b("adv_88f7e6d5"),
		CampaignID: b("cmp_77b6a5d4"), UserID: b("usr_55c4b3a2"), CostPerClick: 0.45, IPAddress: b("192.168.1.1"),
		UserAgent: b(agent), Timestamp: 1782236500, Referrer: b("https://news.example/\uFFFD"),
		ReceivedAt: clockTime.UnixMicro(), CountryCode: b("DE"), DeviceType: b("mobile"),
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestImpression: a GIF of one pixel, and the contract's record without a cost.
func TestImpression(t *testing.T) {
	t.Parallel()
	m := &memory{}
	w := httptest.NewRecorder()
	newTestHandler(t, Config{Key: schemas.KeyAdSalt}, m).ServeHTTP(w, httptest.NewRequest(http.MethodGet,
		"/api/v1/impressions?impression_id=imp_1&ad_id=ad_1&advertiser_id=adv_1&campaign_id=cmp_1&user_id=usr_1"+
			"&cost_per_click=7&click_id=clk_1", nil))
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "image/gif" ||
		w.Header().Get("Cache-Control") != "no-cache, no-store, must-revalidate" {
		t.Errorf("got %d with %v", w.Code, w.Header())
	}
	if img, err := gif.Decode(w.Body); err != nil || img.Bounds().Dx() != 1 || img.Bounds().Dy() != 1 {
		t.Errorf("got %v, %v, want a GIF of one pixel", img, err)
	}
	if len(m.records) != 1 || m.records[0].Topic != schemas.TopicImpressions || string(m.records[0].Key) != "imp_1" {
		t.Fatalf("got %v", m.records)
	}
	got := &impressionpb.ImpressionEvent{}
	if err := proto.Unmarshal(m.records[0].Value, got); err != nil {
		t.Fatal(err)
	}
	if want := (&impressionpb.ImpressionEvent{ImpressionId: "imp_1", AdId: "ad_1", AdvertiserId: "adv_1", CampaignId: "cmp_1",
		UserId: "usr_1", IpAddress: "192.0.2.1", Timestamp: clockTime.UnixMicro(), ReceivedAt: clockTime.UnixMicro()}); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// memory keeps what is appended, for tests of what the handler writes.
type memory struct {
	mu      sync.Mutex
	records []gatewaykafka.Record
	clicks  []schemas.RawClick
	err     error
}

func (m *memory) Writable() error { return m.err }

func (m *memory) Append(_ context.Context, payload []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	r, err := parseEntry(slices.Clone(payload))
	if err != nil {
		return err
	}
	var c schemas.RawClick
	_ = c.Unmarshal(r.Value) // what cannot be read is looked at by its length only
	m.records, m.clicks = append(m.records, r), append(m.clicks, c)
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
		if resp := get(newTestHandler(t, Config{}, m), query+redirect, nil); resp.Code != http.StatusFound {
			t.Errorf("%s: got %d, want 302", query, resp.Code)
		}
		if len(m.clicks) != 1 {
			t.Errorf("%s: got %d records, want 1", query, len(m.clicks))
		}
	}
	m := &memory{}
	resp := get(newTestHandler(t, Config{Key: schemas.KeyAdSalt, Salts: 1}, m), "ad_id=ad_1"+redirect, nil)
	if c := m.last(t); !math.IsNaN(c.CostPerClick) || c.Timestamp != c.ReceivedAt || string(c.IPAddress) != "192.0.2.1" ||
		len(c.CountryCode) != 0 || len(c.DeviceType) != 0 || string(m.records[0].Key) != "ad_1_0" {
		t.Errorf("got %+v with key %q", c, m.records[0].Key)
	}
	if cookie := resp.Header()["Set-Cookie"]; cookie != nil {
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
		if resp.Code != tc.want {
			t.Errorf("%s: got %d, want %d", name, resp.Code, tc.want)
		}
		for _, header := range []string{"Location", "X-Evil", "Set-Cookie"} {
			if v := resp.Header().Get(header); v != "" {
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

func TestUnavailableIsNotPermanent(t *testing.T) {
	t.Parallel()
	m := &memory{err: errors.New("away")}
	h := newTestHandler(t, Config{}, m)
	if got := get(h, lessonQuery, nil).Code; got != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", got)
	}
	m.err = nil
	if got := get(h, lessonQuery, nil).Code; got != http.StatusFound {
		t.Errorf("got %d, want 302", got)
	}
}

func TestValidateNamesEveryKey(t *testing.T) {
	t.Parallel()
	err := Config{Listen: "x", Key: "y", Salts: -1, URLBytesMax: 1, RedirectHosts: []string{"a/b", "*."},
		CountryHeader: "a b", DrainTimeout: -1, ClientRate: -1, ConnectionsMax: -1, Device: "z", MetricsListen: "x",
		TrustedProxies: []netip.Prefix{{}}}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"listen", "key", "salts", "url_bytes_max", "redirect_hosts[0]", "redirect_hosts[1]",
		"country_header", "drain_timeout", "client_rate", "connections_max", "device", "metrics_listen", "trusted_proxies[0]", "wal"} {
		if !strings.Contains(err.Error(), "gateway."+key+":") {
			t.Errorf("%q does not name %s", err, key)
		}
	}
	if err := (Config{WAL: wal.Config{Dir: "x"}}).Validate(); err == nil || !strings.Contains(err.Error(), "gateway.redirect_hosts:") {
		t.Errorf("neither keys nor hosts: got %v", err)
	}
	if err := (Config{WAL: wal.Config{Dir: "x"}, RedirectHosts: anyHost}).Validate(); err != nil {
		t.Errorf("the least configuration: %v", err)
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
