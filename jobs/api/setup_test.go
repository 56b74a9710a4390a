package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

const minute = schemas.MinuteMillis

// day is the start of the day of all rows, in milliseconds; daySecond in seconds.
var (
	day       = time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC).UnixMilli()
	daySecond = day / 1000
	now       = time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC)
	secret    = []byte("a secret of thirty-two bytes, long")
)

// rig is the API on a real DuckDB store.
type rig struct {
	handler *Handler
	store   *servingduck.Store
	clock   *atomic.Int64 // Unix milliseconds
	url     string
}

// setup opens a store with rows, and the API on it; change may change its parts.
func setup(t *testing.T, rows []schemas.MinuteRow, change ...func(*Config, *Deps)) *rig {
	t.Helper()
	store, err := servingduck.Open(t.Context(), "duckdb://"+filepath.Join(t.TempDir(), "serving.duckdb"), servingduck.Options{MustOwn: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if len(rows) > 0 {
		if err := store.Upsert(t.Context(), rows, serving.Progress{PolicyHash: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{store: store, clock: &atomic.Int64{}}
	r.clock.Store(now.UnixMilli())
	clock := func() time.Time { return time.UnixMilli(r.clock.Load()) }
	tokens, err := bearer.Open(t.Context(), bearer.Config{Secret: secret, Audience: "clickledger", Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{RatePerSecond: 1000}
	deps := Deps{Store: store, SQL: sqlduck.SQL, Tokens: tokens, Now: clock, Ledger: books{}, Archive: results{}, Statements: books{}}
	for _, c := range change {
		c(&cfg, &deps)
	}
	if r.handler, err = NewHandler(cfg, deps); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(r.handler)
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

// books is a ledger that knows adv_1 alone.
type books struct{}

func (books) Balance(_ context.Context, id string) (ledgerpg.Balance, error) {
	if id != "adv_1" {
		return ledgerpg.Balance{}, ledgerpg.ErrUnknown
	}
	return ledgerpg.Balance{AdvertiserID: id, Name: "One", BalanceDecimal4: -123456, ChargedMicros: 22345600, PaidMicros: 10000000,
		CreditLimitMicros: 1000000000, Currency: "USD"}, nil
}

func (books) Statement(_ context.Context, id string, month time.Time, format string) ([]byte, error) {
	if id != "adv_1" {
		return nil, ErrNotFound
	}
	if format == "json" {
		return []byte(`{"month":"` + month.Format("2006-01") + `"}`), nil
	}
	return []byte(format + " of " + month.Format("2006-01")), nil
}

// results is an archive with one reconciled day.
type results struct{}

func (results) Reconciliation(_ context.Context, day, id string) (*Reconciliation, error) {
	if day != "" && day != "2026-11-10" {
		return nil, ErrNotFound
	}
	r := &Reconciliation{Date: "2026-11-10", AdvertiserID: id, Cut: now, Causes: []Cause{{"late_in_stream", 3, 450}}, DifferenceClicks: 3,
		DifferenceMicros: 450, Gate: []Check{{"conservation", true}}}
	if id == "" {
		r.Whole(Layer{10, 1500}, Layer{13, 1950})
	}
	return r, nil
}

func (results) InvalidByRule(_ context.Context, _ string, days []string) (RuleCounts, error) {
	return RuleCounts{State: RulesReady, Days: days, Rules: []RuleCount{{"listed_ip", 2, 300}}}, nil
}

// row is a row of the day with so many billable clicks at 150,001 micros, one duplicate and two invalid ones.
func row(minuteOfDay int64, advertiser, campaign, ad string, clicks int64) schemas.MinuteRow {
	return schemas.MinuteRow{
		MinuteKey: schemas.MinuteKey{MinuteMillis: day + minuteOfDay*minute, AdvertiserID: advertiser, CampaignID: campaign,
			AdID: ad, DeviceType: "mobile", CountryCode: "DE"},
		RawClicks: clicks + 3, DuplicateClicks: 1, InvalidClicks: 2, UniqueClicks: clicks, SpendMicros: clicks * 150_001, Version: 1,
	}
}

// token is one for the advertiser, or for all with "*".
func token(t testing.TB, advertiser string) string {
	t.Helper()
	g := bearer.Grant{Subject: "user of " + advertiser, AdvertiserID: advertiser, Audience: "clickledger", IssuedAt: now, ValidFor: time.Hour}
	if advertiser == "*" {
		g.AdvertiserID, g.IsAdmin = "", true
	}
	text, err := bearer.Sign(secret, g)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// reply is what came back.
type reply struct {
	request *http.Request
	status  int
	header  http.Header
	body    []byte
}

// get sends a request with a token, and headers as pairs of name and value. Its answer is checked
// against the OpenAPI document.
func (r *rig) get(t testing.TB, path, token string, headers ...string) reply {
	t.Helper()
	got := r.ask(t, path, token, headers...)
	conforms(t, got.request, &http.Response{StatusCode: got.status, Header: got.header}, got.body)
	return got
}

// ask sends a request.
func (r *rig) ask(t testing.TB, path, token string, headers ...string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{request, answer.StatusCode, answer.Header, body}
}

// read decodes the answer of a request that must succeed.
func read[T any](t testing.TB, r *rig, path, token string) T {
	t.Helper()
	got := r.get(t, path, token)
	if got.status != http.StatusOK {
		t.Fatalf("%s: got %d, %s", path, got.status, got.body)
	}
	var doc T
	if err := json.Unmarshal(got.body, &doc); err != nil {
		t.Fatalf("%s: %v in %s", path, err, got.body)
	}
	return doc
}

// query is a path with parameters, as pairs of name and value.
func query(path string, pairs ...string) string {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return path + "?" + values.Encode()
}
