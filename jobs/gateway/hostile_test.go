package gateway

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/signedurl"
	"github.com/clickledger/clickledger/schemas"
)

func testKeys(t *testing.T, id string, secret byte) *signedurl.Keys {
	t.Helper()
	k, err := signedurl.ParseKeys(id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(secret), 32))))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signedQuery(t *testing.T, k *signedurl.Keys, path, query string, expires time.Time) string {
	t.Helper()
	u, err := k.Sign(&url.URL{Path: path, RawQuery: query}, expires)
	if err != nil {
		t.Fatal(err)
	}
	return u.RawQuery
}

// reply is what a client got.
type reply struct {
	code   int
	header http.Header
	body   string
	rest   string // what came behind it
}

func read(conn net.Conn) (reply, error) {
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)                                 // what came before the hang-up
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // the connection may be kept
	rest, _ := io.ReadAll(reader)
	return reply{resp.StatusCode, resp.Header, string(body), string(rest)}, nil
}

// raw sends bytes as they are and returns the answer.
func raw(t *testing.T, addr, request string) reply {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, request) }() // the gateway may hang up in the middle
	got, err := read(conn)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return got
}

// TestHostileClient: each attempt is refused with its status, none reaches the log, and an honest
// click after all of them is served.
func TestHostileClient(t *testing.T) {
	t.Parallel()
	keys := testKeys(t, "k1", 'a')
	f := &failing{}
	base, stop := running(t, Config{Keys: keys, ReadHeaderTimeout: 2 * time.Second}, Deps{Producer: f})
	addr := strings.TrimPrefix(base, "http://")
	soon := time.Now().Add(time.Hour)
	good := signedQuery(t, keys, clicksPath, lessonQuery, soon)
	swap := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, with, 1)
	}
	sign := func(query string) string { return signedQuery(t, keys, clicksPath, query, soon) }
	line := func(query string) string { return "GET /api/v1/clicks?" + query + " HTTP/1.1\r\nHost: g\r\n" }
	attempts := []struct {
		name, request string
		want          int
	}{
		{"forged price", line(swap("cost_per_click=0.45", "cost_per_click=0.01")) + "\r\n", 403},
		{"forged advertiser", line(swap("adv_88f7e6d5", "adv_victim00")) + "\r\n", 403},
		{"a price more", line(good+"&cost_per_click=0.01") + "\r\n", 400},
		{"a price in front", line("cost_per_click=0.01&"+good) + "\r\n", 400},
		{"a price under another spelling", line("cost%5Fper_click=0.01&"+good) + "\r\n", 400},
		{"unsigned", line(lessonQuery) + "\r\n", 403},
		{"bad signature", line(swap("signature=", "signature=x")) + "\r\n", 403},
		{"expired", line(signedQuery(t, keys, clicksPath, lessonQuery, time.Now().Add(-time.Second))) + "\r\n", 403},
		{"unknown key", line(signedQuery(t, testKeys(t, "k2", 'a'), clicksPath, lessonQuery, soon)) + "\r\n", 403},
		{"another's secret", line(signedQuery(t, testKeys(t, "k1", 'b'), clicksPath, lessonQuery, soon)) + "\r\n", 403},
		{"signed for impressions", line(signedQuery(t, keys, impressionsPath, lessonQuery, soon)) + "\r\n", 403},
		{"open redirect", line(swap("www.advertisersite.com", "evil.example")) + "\r\n", 403},
		{"signed, to a script", line(sign("click_id=c&redirect_url=javascript:alert(1)")) + "\r\n", 400},
		{"signed, with CRLF in the target", line(sign("click_id=c&redirect_url=https://a.example/%0d%0aX-Evil:1")) + "\r\n", 400},
		{"CRLF in the request line", "GET /api/v1/clicks?x\rX-Evil:1 HTTP/1.1\r\nHost: g\r\n\r\n", 400},
		{"CRLF in a header's name", line(good) + "X\rY: 1\r\n\r\n", 400},
		{"two lengths", line(good) + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400},
		{"no host", "GET /api/v1/clicks?" + good + " HTTP/1.1\r\n\r\n", 400},
		{"another method", "POST /api/v1/clicks?" + good + " HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n", 405},
		{"9 KB URL", line(good+"&x="+strings.Repeat("x", 9<<10)) + "\r\n", 414},
		{"1 MB URL", line(good+"&x="+strings.Repeat("x", 1<<20)) + "\r\n", 414},
		{"1 MB URL without an end", "GET /api/v1/clicks?" + strings.Repeat("x", 1<<20), 414},
		{"1 MB header", line(good) + "X: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", 431},
		{"many headers", line(good) + strings.Repeat("X-Y: zzzzzzzzzzzzzzzzzzzz\r\n", 40<<10) + "\r\n", 431},
		{"slow in the URL", "GET /api/v1/cli", 408},
		{"slow in the headers", line(good) + "X: ", 408},
		{"slow in a body", line(good) + "Content-Length: 10\r\n\r\nxxx", 408},
		{"slow in a chunk", line(good) + "Transfer-Encoding: chunked\r\n\r\n5\r\nxx", 408},
		{"slow in another method's body", "POST /api/v1/clicks?" + good + " HTTP/1.1\r\nHost: g\r\nContent-Length: 10\r\n\r\nxxx", 405},
		{"a broken chunk", line(good) + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		{"a long body", line(good) + "Content-Length: 1048576\r\n\r\n", 413},
		{"a long body in chunks", line(good) + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("400\r\n"+strings.Repeat("x", 1024)+"\r\n", 9), 413},
	}
	t.Run("attempts", func(t *testing.T) {
		for _, tc := range attempts {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				resp := raw(t, addr, tc.request)
				if resp.code != tc.want {
					t.Errorf("got %d, want %d", resp.code, tc.want)
				}
				for _, header := range []string{"Location", "X-Evil", "Set-Cookie"} {
					if v := resp.header.Get(header); v != "" {
						t.Errorf("got %s %q", header, v)
					}
				}
				if strings.Contains(resp.body, "X-Evil") || len(resp.body) > 200 {
					t.Errorf("got the body %q", resp.body)
				}
				if resp.rest != "" {
					t.Errorf("a second answer to one request: %q", resp.rest)
				}
			})
		}
	})
	resp := raw(t, addr, line(good)+"Connection: close\r\nContent-Length: 4\r\n\r\nbody")
	if resp.code != http.StatusFound || resp.header.Get("Location") != "https://www.advertisersite.com/landing" {
		t.Errorf("an honest click: got %d to %q", resp.code, resp.header.Get("Location"))
	}
	if got := stop(); got.Redirected != 1 || got.Shipped != 1 || got.Unavailable != 0 {
		t.Errorf("got %+v, want one honest click", got)
	}
	if len(f.sent) != 1 || string(f.sent[0].Key) != "clk_abc123xyz456" {
		t.Fatalf("the log has %d records, want the honest one", len(f.sent))
	}
	var c schemas.RawClick
	if err := c.Unmarshal(f.sent[0].Value); err != nil {
		t.Fatal(err)
	}
	// What is billed is price, advertiser, campaign, ad and click of the URL as it was signed.
	if c.CostPerClick != 0.45 || string(c.AdvertiserID) != "adv_88f7e6d5" || string(c.CampaignID) != "cmp_77b6a5d4" ||
		string(c.AdID) != "ad_99a2c3d4" || string(c.ClickID) != "clk_abc123xyz456" {
		t.Errorf("the log has %+v", c)
	}
}

// TestSlowClients: a crowd that drips its requests neither keeps others waiting nor stays.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	base, stop := running(t, Config{ReadHeaderTimeout: 500 * time.Millisecond, ConnectionsMax: 400}, Deps{Producer: &failing{}})
	addr := strings.TrimPrefix(base, "http://")
	var held, closed int
	var conns []net.Conn
	for range 150 { // a quarter of 400 is one client's
		conn, err := net.Dial("tcp", addr)
		if err != nil { // closed before it was open
			closed++
			continue
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET /api/v1/clicks?x=")
		conns = append(conns, conn)
	}
	time.Sleep(300 * time.Millisecond)
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if got, err := read(conn); err == nil && got.code == http.StatusRequestTimeout {
			held++
		} else {
			closed++
		}
	}
	if held < 50 || held > 100 || closed != 150-held {
		t.Errorf("%d waited and got 408, %d were closed at once; want up to 100 and the rest", held, closed)
	}
	resp := raw(t, addr, "GET /api/v1/clicks?"+lessonQuery+" HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
	if resp.code != http.StatusFound {
		t.Errorf("after them: got %d, want 302", resp.code)
	}
	if got := stop(); got.Redirected != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestClientOf(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for _, tc := range []struct {
		name, peer string
		forwarded  []string
		want       string
		behind     bool
	}{
		{"no proxy", "198.51.100.7:1", nil, "198.51.100.7", false},
		{"a liar", "198.51.100.7:1", []string{"203.0.113.1"}, "198.51.100.7", false},
		{"behind a proxy", "10.0.0.1:1", []string{"203.0.113.1"}, "203.0.113.1", true},
		{"behind two", "10.0.0.1:1", []string{"203.0.113.1, 10.0.0.9"}, "203.0.113.1", true},
		{"behind two, a line each", "10.0.0.1:1", []string{"203.0.113.1", "10.0.0.9"}, "203.0.113.1", true},
		{"a liar behind a proxy", "10.0.0.1:1", []string{"192.0.2.1, 203.0.113.1"}, "203.0.113.1", true},
		{"nonsense before a proxy's word", "10.0.0.1:1", []string{"x, 203.0.113.1"}, "203.0.113.1", true},
		{"nonsense from a proxy", "10.0.0.1:1", []string{"x"}, "10.0.0.1", true},
		{"a proxy itself", "10.0.0.1:1", nil, "10.0.0.1", true},
		{"IPv6", "[2001:db8::1]:1", []string{"2001:4860::5"}, "2001:4860::5", true},
		{"mapped", "[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.1"}, "203.0.113.1", true},
		{"with a port", "10.0.0.1:1", []string{"203.0.113.1:4711"}, "203.0.113.1", true},
		{"IPv6 with a port", "10.0.0.1:1", []string{"[2001:4860::5]:4711, 10.0.0.9:80"}, "2001:4860::5", true},
		{"empty elements", "10.0.0.1:1", []string{"192.0.2.1, 203.0.113.1, ,", ""}, "203.0.113.1", true},
		{"nothing but empty elements", "10.0.0.1:1", []string{" , "}, "10.0.0.1", true},
		{"a long chain", "10.0.0.1:1", []string{"203.0.113.1" + strings.Repeat(",10.0.0.2", 50)}, "10.0.0.2", true},
	} {
		got := clientOf(&http.Request{RemoteAddr: tc.peer, Header: http.Header{forwardedFor: tc.forwarded}}, trusted)
		if got.addr.String() != tc.want || got.behind != tc.behind {
			t.Errorf("%s: got %s, %t, want %s, %t", tc.name, got.addr, got.behind, tc.want, tc.behind)
		}
	}
	if got := clientOf(&http.Request{RemoteAddr: "@"}, trusted); got.addr.IsValid() {
		t.Errorf("got %v", got)
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	l := newLimiter(5, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	count := func(addr string, now time.Time) (allowed int) {
		for range 100 {
			if l.allow(netip.MustParseAddr(addr), now) {
				allowed++
			}
		}
		return allowed
	}
	now := clockTime
	for _, tc := range []struct {
		addr  string
		after time.Duration
		want  int
	}{
		{"198.51.100.7", 0, 10}, {"198.51.100.7", 0, 0}, {"198.51.100.8", 0, 10}, {"198.51.100.7", time.Second, 5},
		{"2001:db8::1", 0, 10}, {"2001:db8::2", 0, 0}, {"2001:db8:0:1::1", 0, 10}, {"10.1.2.3", 0, 100},
	} {
		now = now.Add(tc.after)
		if got := count(tc.addr, now); got != tc.want {
			t.Errorf("%s after %s: got %d, want %d", tc.addr, tc.after, got, tc.want)
		}
	}
	for i := range 1 << 18 { // a flood of addresses is forgotten again
		l.allow(netip.AddrFrom4([4]byte{172, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	for i := range l.shards {
		if n := len(l.shards[i].newer) + len(l.shards[i].older); n > 2*limiterClientsMax {
			t.Errorf("shard %d remembers %d clients", i, n)
		}
	}
	if !(*limiter)(nil).allow(netip.Addr{}, now) {
		t.Error("no limit, and refused")
	}
}

func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	m := &memory{}
	h := newTestHandler(t, Config{ClientRate: 2}, m)
	codes := map[int]int{}
	for range 10 {
		w := get(h, lessonQuery, nil)
		codes[w.Code]++
		if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") != "1" {
			t.Error("429 without Retry-After")
		}
	}
	if codes[302] != 4 || codes[429] != 6 || len(m.records) != 4 {
		t.Errorf("got %v and %d records", codes, len(m.records))
	}
}

// countries knows one address.
type countries struct{}

func (countries) Country(a netip.Addr) string {
	return map[string]string{"198.51.100.7": "DE", "203.0.113.1": "FR"}[a.String()]
}
func (countries) Version() string { return "test 2026-11-01" }

func TestAddressAndCountry(t *testing.T) {
	t.Parallel()
	const query = "click_id=c&redirect_url=https://a.example/"
	behind := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's clients
	for _, tc := range []struct {
		name, query     string
		cfg             Config
		header          http.Header
		address, nation string
	}{
		{"from the URL", query + "&ip_address=198.51.100.7", Config{}, nil, "198.51.100.7", "DE"},
		{"the URL's is ignored", query + "&ip_address=198.51.100.7", Config{IgnoreIPParameter: true}, nil, "192.0.2.1", ""},
		{"from the socket", query, Config{}, nil, "192.0.2.1", ""},
		{"a liar", query, Config{CountryHeader: "X-Country"}, http.Header{forwardedFor: {"203.0.113.1"}, "X-Country": {"US"}}, "192.0.2.1", ""},
		{"from a proxy", query, Config{TrustedProxies: behind}, http.Header{forwardedFor: {"203.0.113.1"}}, "203.0.113.1", "FR"},
		{"a proxy's country", query, Config{TrustedProxies: behind, CountryHeader: "X-Country"}, http.Header{forwardedFor: {"203.0.113.1"}, "X-Country": {"us"}}, "203.0.113.1", "US"},
		{"a bad address", query + "&ip_address=x", Config{}, nil, "x", ""},
	} {
		m := &memory{}
		h := newTestHandlerDeps(t, tc.cfg, m, Deps{Countries: countries{}})
		if w := get(h, tc.query, tc.header); w.Code != http.StatusFound {
			t.Errorf("%s: got %d", tc.name, w.Code)
			continue
		}
		if c := m.last(t); string(c.IPAddress) != tc.address || string(c.CountryCode) != tc.nation {
			t.Errorf("%s: got %s in %q, want %s in %q", tc.name, c.IPAddress, c.CountryCode, tc.address, tc.nation)
		}
	}
}

// TestMetrics: figures, and no word about who clicked.
func TestMetrics(t *testing.T) {
	t.Parallel()
	base, _ := running(t, Config{}, Deps{Producer: &failing{}, Countries: countries{}})
	client := &http.Client{CheckRedirect: noRedirects}
	body := func(path string) string {
		resp, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	body("/api/v1/clicks?" + lessonQuery)
	body("/api/v1/clicks?redirect_url=x")
	body("/api/v1/impressions?impression_id=i")
	for _, path := range []string{clicksPath, impressionsPath, healthPath} {
		resp, err := client.Post(base+path, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		allow := resp.Header.Get("Allow")
		if resp.StatusCode != http.StatusMethodNotAllowed || allow != map[bool]string{false: "GET", true: "GET, HEAD"}[path == healthPath] {
			t.Errorf("POST %s: got %s, Allow %s", path, resp.Status, allow)
		}
	}
	for _, path := range []string{healthPath, readyPath, metricsPath} {
		resp, err := client.Head(base + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("HEAD %s: got %s", path, resp.Status)
		}
	}
	text := body("/metrics")
	for _, want := range []string{`clickledger_gateway_answers_total{code="302",route="clicks"} 1`,
		`clickledger_gateway_answers_total{code="400",route="clicks"} 1`, `clickledger_gateway_answers_total{code="200",route="impressions"} 1`,
		`clickledger_gateway_answers_total{code="405",route="clicks"} 1`, `clickledger_gateway_answers_total{code="405",route="impressions"} 1`,
		"clickledger_gateway_wal_pending_records ", "clickledger_gateway_record_seconds_count 2",
		fmt.Sprintf(`clickledger_gateway_info{country="test 2026-11-01",device=%q} 1`, deviceVersion)} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	for _, not := range []string{"192.168.1.1", "usr_55c4b3a2", "127.0.0.1"} {
		if strings.Contains(text, not) {
			t.Errorf("the metrics hold %s", not)
		}
	}
}
