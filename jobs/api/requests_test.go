package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/schemas/serving"
)

// good are requests that succeed, one for each route and variant.
func good() map[string]string {
	span := []string{"advertiser_id", "adv_1", "start_time", at(0), "end_time", at(60)}
	with := func(pairs ...string) []string { return append(append([]string{}, span...), pairs...) }
	return map[string]string{
		"session":            "/api/v1/session",
		"analytics":          query("/api/v1/advertisers/analytics", with("granularity", "1m")...),
		"analytics by none":  query("/api/v1/advertisers/analytics", with("granularity", "1h", "group_by", "none", "limit", "10000")...),
		"top":                query("/api/v1/advertisers/top", span...),
		"top ads":            query("/api/v1/advertisers/top", with("by", "ad", "limit", "3", "campaign_id", "cmp_1")...),
		"invalid traffic":    query("/api/v1/advertisers/invalid-traffic", span...),
		"balance":            query("/api/v1/advertisers/balance", "advertiser_id", "adv_1"),
		"statement":          query("/api/v1/advertisers/statement", "advertiser_id", "adv_1", "month", "2026-11"),
		"statement csv":      query("/api/v1/advertisers/statement", "advertiser_id", "adv_1", "month", "2026-11", "format", "csv"),
		"statement json":     query("/api/v1/advertisers/statement", "advertiser_id", "adv_1", "month", "2026-11", "format", "json"),
		"reconciliation":     "/api/v1/reconciliations/latest",
		"his reconciliation": query("/api/v1/reconciliations/latest", "advertiser_id", "adv_1", "date", "2026-11-10"),
	}
}

func TestAnswersConform(t *testing.T) {
	t.Parallel()
	r := setup(t, rows())
	for _, who := range []string{"adv_1", "*"} {
		for name, path := range good() {
			got := r.get(t, path, token(t, who))
			if got.status != http.StatusOK {
				t.Errorf("%s as %s: got %d, %s", name, who, got.status, got.body)
			}
			for header, want := range map[string]string{"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff",
				"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Vary": "Authorization"} {
				if got.header.Get(header) != want {
					t.Errorf("%s: %s: got %q, want %q", name, header, got.header.Get(header), want)
				}
			}
		}
	}
}

func TestETag(t *testing.T) {
	t.Parallel()
	r := setup(t, rows())
	for name, path := range good() {
		first := r.get(t, path, token(t, "adv_1"))
		tag := first.header.Get("ETag")
		for _, sent := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			if got := r.get(t, path, token(t, "adv_1"), "If-None-Match", sent); got.status != http.StatusNotModified || len(got.body) > 0 {
				t.Errorf("%s, If-None-Match %s: got %d and %d bytes", name, sent, got.status, len(got.body))
			}
		}
		if got := r.get(t, path, token(t, "adv_1"), "If-None-Match", `"other"`); got.status != http.StatusOK {
			t.Errorf("%s with another tag: got %d", name, got.status)
		}
		// Who may not see it learns nothing from its tag.
		if got := r.get(t, path, "", "If-None-Match", tag); got.status != http.StatusUnauthorized {
			t.Errorf("%s without a token: got %d", name, got.status)
		}
	}
	path := good()["analytics"]
	tag := r.get(t, path, token(t, "adv_1")).header.Get("ETag")
	changed := row(0, "adv_1", "cmp_1", "ad_1", 11)
	changed.Version = 2
	if err := r.store.Upsert(t.Context(), append(rows()[:0], changed), serving.Progress{}); err != nil {
		t.Fatal(err)
	}
	if got := r.get(t, path, token(t, "adv_1"), "If-None-Match", tag); got.status != http.StatusOK {
		t.Errorf("after a change: got %d", got.status)
	}
}

func TestWhoMaySeeWhat(t *testing.T) {
	t.Parallel()
	forged, err := bearer.Sign(bytes.Repeat([]byte("x"), 32), bearer.Grant{Subject: "s", IsAdmin: true, Audience: "clickledger",
		IssuedAt: now, ValidFor: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	r := setup(t, rows())
	for name, path := range good() {
		for _, tt := range []struct {
			who, token string
			want       int
		}{
			{"nobody", "", http.StatusUnauthorized},
			{"no token", "x.y.z", http.StatusUnauthorized},
			{"alg none", "eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4iLCJleHAiOjk5OTk5OTk5OTksImF1ZCI6ImNsaWNrbGVkZ2VyIn0.", http.StatusUnauthorized},
			{"an admin's, signed with another key", forged, http.StatusUnauthorized},
			{"another advertiser", token(t, "adv_2"), http.StatusForbidden},
			{"a token of none", token(t, ""), http.StatusForbidden},
		} {
			want := tt.want
			if strings.HasPrefix(path, "/api/v1/session") && want == http.StatusForbidden ||
				path == "/api/v1/reconciliations/latest" && tt.who == "another advertiser" {
				want = http.StatusOK // his own
			}
			got := r.get(t, path, tt.token)
			if got.status != want {
				t.Errorf("%s as %s: got %d, want %d: %s", name, tt.who, got.status, want, got.body)
			}
			if want == http.StatusUnauthorized && !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("%s as %s: no challenge", name, tt.who)
			}
			if want != http.StatusOK && (strings.Contains(string(got.body), "ad_1") || got.header.Get("ETag") != "") {
				t.Errorf("%s as %s: got %s", name, tt.who, got.body)
			}
		}
	}
	// The reconciliation of an advertiser has nothing of the others.
	if got := r.get(t, "/api/v1/reconciliations/latest", token(t, "adv_2")); !strings.Contains(string(got.body), `"advertiser_id":"adv_2"`) ||
		strings.Contains(string(got.body), `"batch"`) {
		t.Errorf("the reconciliation of adv_2: got %s", got.body)
	}
	expired := token(t, "adv_1")
	r.clock.Store(now.Add(2 * time.Hour).UnixMilli())
	if got := r.get(t, good()["balance"], expired); got.status != http.StatusUnauthorized || !strings.Contains(string(got.body), "expired") {
		t.Errorf("an expired token: got %d %s", got.status, got.body)
	}
}

func TestEveryBadParameterIsNamed(t *testing.T) {
	t.Parallel()
	r := setup(t, nil)
	long := strings.Repeat("x", 65)
	for name, tt := range map[string]struct {
		path string
		want string // the parameters, in the order of the answer
	}{
		"nothing": {"/api/v1/advertisers/analytics", "advertiser_id granularity start_time end_time"},
		"everything": {"/api/v1/advertisers/analytics?advertiser_id=" + long + "&start_time=x&end_time=-1&granularity=2m&campaign_id=" + long +
			"&ad_id=a%00b&group_by=x&limit=0&cursor=!&zzz=1&aaa=2", "advertiser_id granularity start_time end_time campaign_id ad_id group_by limit cursor aaa zzz"},
		"empty":               {"/api/v1/advertisers/analytics?advertiser_id=&start_time=&end_time=&granularity=&campaign_id=&ad_id=&group_by=&limit=&cursor=", "advertiser_id granularity start_time end_time campaign_id ad_id group_by limit cursor"},
		"an empty advertiser": {"/api/v1/reconciliations/latest?advertiser_id=", "advertiser_id"},
		"an empty campaign":   {query("/api/v1/advertisers/top", "advertiser_id", "adv_1", "start_time", "0", "end_time", "60", "campaign_id", ""), "campaign_id"},
		"twice":               {analyticsOf("granularity", "1m", "start_time", "0", "start_time", "1", "end_time", "60", "granularity", "5m"), "granularity start_time"},
		"an end before":       {analyticsOf("granularity", "1m", "start_time", "120", "end_time", "60"), "end_time"},
		"an end at":           {analyticsOf("granularity", "1m", "start_time", "60", "end_time", "60"), "end_time"},
		"too long a range":    {analyticsOf("granularity", "1d", "start_time", "0", "end_time", "34560001"), "end_time"},
		"a float":             {analyticsOf("granularity", "1m", "start_time", "1.5", "end_time", "60"), "start_time"},
		"a huge number":       {analyticsOf("granularity", "1m", "start_time", "0", "end_time", "99999999999999999999"), "end_time"},
		"a forged cursor":     {analyticsOf("granularity", "1m", "start_time", "0", "end_time", "60", "cursor", "WzEsMl0"), "cursor"},
		"a cursor of a list":  {analyticsOf("granularity", "1m", "start_time", "0", "end_time", "60", "cursor", "W10"), "cursor"},
		"bad escapes":         {"/api/v1/session?a=%zz", ""},
		"not UTF-8":           {analyticsOf("granularity", "1m", "start_time", "0", "end_time", "60", "campaign_id", "\xff"), "campaign_id"},
		"a bad month":         {query("/api/v1/advertisers/statement", "advertiser_id", "adv_1", "month", "2026-13"), "month"},
		"no month":            {query("/api/v1/advertisers/statement", "advertiser_id", "adv_1"), "month"},
		"a bad date":          {"/api/v1/reconciliations/latest?date=yesterday", "date"},
		"a year out of range": {"/api/v1/reconciliations/latest?date=9999-01-01", "date"},
		"top":                 {"/api/v1/advertisers/top?by=device&limit=101", "advertiser_id start_time end_time by limit"},
	} {
		got := r.get(t, tt.path, token(t, "*"))
		var p problem
		if err := json.Unmarshal(got.body, &p); err != nil || got.status != http.StatusBadRequest || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d, %s", name, got.status, got.body)
			continue
		}
		var names []string
		for _, e := range p.Errors {
			names = append(names, e.Parameter)
		}
		if text := strings.Join(names, " "); text != tt.want || p.Status != 400 || !strings.HasSuffix(p.Type, "bad-parameters") {
			t.Errorf("%s: got %q (%s), want %q", name, text, got.body, tt.want)
		}
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, func(c *Config, _ *Deps) { c.RatePerSecond = 2 })
	for i := range 6 {
		if got := r.get(t, "/api/v1/session", token(t, "adv_1")); got.status != http.StatusOK {
			t.Errorf("request %d: got %d", i, got.status)
		}
	}
	if got := r.get(t, "/api/v1/session", token(t, "adv_1")); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "1" {
		t.Errorf("one too many: got %d, Retry-After %q", got.status, got.header.Get("Retry-After"))
	}
	if got := r.get(t, "/api/v1/session", token(t, "adv_2")); got.status != http.StatusOK {
		t.Errorf("another subject: got %d", got.status)
	}
	r.clock.Add(500)
	if got := r.get(t, "/api/v1/session", token(t, "adv_1")); got.status != http.StatusOK {
		t.Errorf("after half a second: got %d", got.status)
	}
}

func TestOtherAnswers(t *testing.T) {
	t.Parallel()
	r := setup(t, nil)
	for _, tt := range []struct {
		name, path string
		want       int
	}{
		{"health", "/healthz", 200}, {"ready", "/readyz", 200}, {"metrics", "/metrics", 200}, {"document", "/openapi.json", 200},
		{"no route", "/api/v1/nothing", 404}, {"no route below a route", "/api/v1/session/", 404}, {"no page", "/", 404},
		{"a long URL", "/api/v1/session?x=" + strings.Repeat("x", DefaultURLBytesMax), 414},
		{"no account", "/api/v1/advertisers/balance?advertiser_id=adv_9", 404},
		{"no statement", "/api/v1/advertisers/statement?advertiser_id=adv_9&month=2026-11", 404},
		{"no reconciliation", "/api/v1/reconciliations/latest?date=2020-01-01", 404},
	} {
		if got := r.get(t, tt.path, token(t, "*")); got.status != tt.want {
			t.Errorf("%s: got %d, want %d: %.200s", tt.name, got.status, tt.want, got.body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		request, err := http.NewRequestWithContext(t.Context(), method, r.url+good()["analytics"], strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token(t, "*"))
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: got %d", method, answer.StatusCode)
		}
	}
}

// failing is a store that does not answer.
type failing struct{}

func (failing) Query(context.Context, string, ...any) (*serving.Table, error) {
	return nil, errors.New("connection refused to 10.1.2.3 by user clickledger")
}

func TestAStoreThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, func(_ *Config, d *Deps) { d.Store = failing{} })
	got := r.get(t, good()["analytics"], token(t, "adv_1"))
	if got.status != http.StatusServiceUnavailable || strings.Contains(string(got.body), "10.1.2.3") || got.header.Get("Retry-After") == "" {
		t.Errorf("got %d, %s", got.status, got.body)
	}
	if got := r.get(t, "/readyz", ""); got.status != http.StatusServiceUnavailable {
		t.Errorf("readyz: got %d", got.status)
	}
	if got, want := r.handler.Result(), (Result{Failed: 1}); !reflect.DeepEqual(got, want) {
		t.Errorf("result: got %+v, want %+v", got, want)
	}
}

// TestBalanceOfOneWhoWasNeverBilled: his account has no currency yet, the answer has that of the ledger.
func TestBalanceOfOneWhoWasNeverBilled(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, func(_ *Config, d *Deps) { d.Ledger = manyBooks{} })
	got := r.get(t, query("/api/v1/advertisers/balance", "advertiser_id", "adv_new"), token(t, "adv_new"))
	if got.status != http.StatusOK || !strings.Contains(string(got.body), `"currency":"USD","balance":"0.0000"`) {
		t.Errorf("got %d, %s", got.status, got.body)
	}
}

// noKeys cannot check any token.
type noKeys struct{}

func (noKeys) Verify(context.Context, string) (bearer.Claims, error) {
	return bearer.Claims{}, bearer.ErrUnavailable
}

// TestKeysThatCannotBeRead: that is nobody's token's fault.
func TestKeysThatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, func(_ *Config, d *Deps) { d.Tokens = noKeys{} })
	got := r.get(t, good()["analytics"], token(t, "adv_1"))
	if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || got.header.Get("WWW-Authenticate") != "" {
		t.Errorf("got %d, %s", got.status, got.body)
	}
}

func TestRunDrains(t *testing.T) {
	t.Parallel()
	r := setup(t, rows())
	ctx, stop := context.WithCancel(t.Context())
	address, ended := make(chan string, 1), make(chan error, 1)
	cfg, deps := r.handler.cfg, r.handler.deps
	cfg.Listen, cfg.ReadHeaderTimeout = "127.0.0.1:0", 200*time.Millisecond
	deps.Listening = func(a net.Addr) { address <- a.String() }
	go func() {
		_, err := Run(ctx, cfg, deps)
		ended <- err
	}()
	addr := <-address
	at := &rig{url: "http://" + addr}
	if got := at.get(t, good()["analytics"], token(t, "adv_1")); got.status != http.StatusOK {
		t.Errorf("got %d", got.status)
	}
	for name, tt := range map[string]struct {
		sent string
		want int
	}{
		"slow in the URL":     {"GET /api/v1/ses", 408},
		"slow in the headers": {"GET /api/v1/session HTTP/1.1\r\nX: ", 408},
		"a megabyte's URL":    {"GET /api/v1/session?x=" + strings.Repeat("x", 1<<20), 414},
		"a megabyte's header": {"GET /api/v1/session HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20), 431},
		"nonsense":            {"nonsense\r\n\r\n", 400},
	} {
		status, kind, p := unheardOf(t, addr, tt.sent)
		if status != tt.want || p.Status != tt.want || kind != "application/problem+json" {
			t.Errorf("%s: got %d, %s %+v, want %d", name, status, kind, p, tt.want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("end: %v", err)
	}
}

// unheardOf sends bytes as they are, and reads the problem that is answered.
func unheardOf(t *testing.T, addr, sent string) (status int, kind string, p problem) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() { _, _ = io.WriteString(conn, sent) }() // the API may hang up in the middle
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&p); err != nil {
		t.Error(err)
	}
	return answer.StatusCode, answer.Header.Get("Content-Type"), p
}
