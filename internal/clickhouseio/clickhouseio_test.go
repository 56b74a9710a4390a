package clickhouseio

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/clickhousetest"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/internal/servingtest"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	sqlclick "github.com/clickledger/clickledger/sql/clickhouse"
)

// query runs a reading statement on the tables of the store; %s in it is the database.
func query(t testing.TB, s *Store, text string) [][]any {
	t.Helper()
	got, err := s.Query(t.Context(), strings.ReplaceAll(text, "%s", s.database))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return got.Rows
}

func wantQuery(t testing.TB, s *Store, text string, want ...[]any) {
	t.Helper()
	if got := query(t, s, text); !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", text, got, want)
	}
}

func TestTableOfTheLesson(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	wantQuery(t, s, "select name, type from system.columns where database = '%s' and table = 'ad_clicks_hourly' order by position",
		[]any{"click_minute", "DateTime"}, []any{"ad_id", "String"}, []any{"advertiser_id", "String"}, []any{"campaign_id", "String"},
		[]any{"device_type", "LowCardinality(String)"}, []any{"country_code", "LowCardinality(String)"},
		[]any{"raw_clicks", "UInt32"}, []any{"unique_clicks", "UInt32"}, []any{"total_spend", "Decimal(18, 4)"}, []any{"version", "UInt64"},
		[]any{"duplicate_clicks", "UInt32"}, []any{"invalid_clicks", "UInt32"}, []any{"spend_micros", "Int64"}, []any{"is_final", "Bool"})
	wantQuery(t, s, "select engine, partition_key, primary_key, sorting_key, extract(engine_full, '^[A-Za-z]+[(].*?[)]') from system.tables where database = '%s' and name = 'ad_clicks_hourly'",
		[]any{"ReplacingMergeTree", "toYYYYMM(click_minute)", "advertiser_id, click_minute",
			"advertiser_id, click_minute, campaign_id, ad_id, device_type, country_code", "ReplacingMergeTree(version)"})
}

// TestStranger reads the lesson's table as somebody does who knows the lesson and nothing of ours.
func TestStranger(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	r := servingtest.Row(0, "a", 3, 3)
	r.SpendMicros = 12_345_678_950 // half: to even
	servingtest.Upsert(t, s, servingtest.Row(0, "a", 2, 2), servingtest.Row(1, "gone", 5, 5), servingtest.Row(2, "open", 2, 2))
	servingtest.Upsert(t, s, r)
	const final = "select ad_id, raw_clicks, unique_clicks, total_spend from %s.ad_clicks_hourly final order by click_minute, ad_id"
	const argMax = `select ad_id, argMax(raw_clicks, version), argMax(unique_clicks, version), argMax(total_spend, version) from %s.ad_clicks_hourly
		group by advertiser_id, click_minute, campaign_id, ad_id, device_type, country_code order by click_minute, ad_id`
	for _, text := range []string{final, argMax} {
		wantQuery(t, s, text, []any{"a", int64(3), int64(2), "12345.679"}, []any{"gone", int64(5), int64(4), "0.0006"}, []any{"open", int64(2), int64(1), "0.0002"})
	}
	for raw := int64(7); raw < 9; raw++ { // the same version twice, as jobs do
		servingtest.Publish(t, s, 2, servingtest.Row(0, "a", raw, serving.FinalVersion))
		servingtest.Upsert(t, s, servingtest.Row(1, "late", 2, 2))
		for _, text := range []string{final, argMax} {
			wantQuery(t, s, text, []any{"a", raw, raw - 1, []string{"0.0009", "0.001"}[raw-7]}, []any{"open", int64(2), int64(1), "0.0002"})
		}
	}
}

func TestSpendIsRoundedHalfToEven(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	rows := make([]schemas.MinuteRow, 0, 4000)
	for i := range int64(cap(rows)) {
		r := servingtest.Row(i%1440, fmt.Sprint(i), 3, 3)
		switch r.SpendMicros = i * 50; {
		case i > 3990:
			r.SpendMicros = 1e17 - i
		case i > 2000:
			r.SpendMicros = random.Int64N(1e15)
		}
		rows = append(rows, r)
	}
	servingtest.Upsert(t, s, rows[:2500]...)
	servingtest.Publish(t, s, 0) // nothing is final
	for _, r := range query(t, s, "select spend_micros, toInt64(toDecimal128(total_spend, 4) * 10000) from %s.ad_clicks_hourly final") {
		if want := money.RoundHalfEvenToDecimal4(r[0].(int64)); r[1] != want {
			t.Fatalf("seed %d: provisional: %d micros are %v units, want %d", seed, r[0], r[1], want)
		}
	}
	servingtest.Publish(t, s, 1440, rows...)
	got := query(t, s, "select spend_micros, toInt64(toDecimal128(total_spend, 4) * 10000) from %s.ad_clicks_hourly final")
	if len(got) != len(rows) {
		t.Fatalf("got %d rows, want %d", len(got), len(rows))
	}
	for _, r := range got {
		if want := money.RoundHalfEvenToDecimal4(r[0].(int64)); r[1] != want {
			t.Fatalf("seed %d: final: %d micros are %v units, want %d", seed, r[0], r[1], want)
		}
	}
}

func TestRollupsWhileRowsAreReplaced(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	check := func(hours, days [][]any) {
		t.Helper()
		wantQuery(t, s, `select toDayOfMonth(click_hour, 'UTC') * 100 + toHour(click_hour, 'UTC'), ad_id, raw_clicks, unique_clicks, duplicate_clicks, spend_micros, is_final
			from %s.ad_clicks_by_hour where advertiser_id = 'adv' order by click_hour, ad_id`, hours...)
		wantQuery(t, s, `select toDayOfMonth(click_day, 'UTC'), ad_id, raw_clicks, unique_clicks, duplicate_clicks, spend_micros, is_final
			from %s.ad_clicks_by_day where advertiser_id = 'adv' and click_day >= toDateTime('2026-11-10 00:00:00', 'UTC') order by click_day, ad_id`, days...)
	}
	sums := func(at int64, ad string, raw, unique, duplicates uint64, isFinal bool) []any {
		return []any{at, ad, raw, unique, duplicates, int64(unique) * 150, isFinal}
	}
	r := servingtest.Row
	servingtest.Upsert(t, s, r(0, "a", 3, 3), r(59, "a", 5, 5), r(60, "a", 2, 2), r(1440, "a", 4, 4))
	check([][]any{sums(1000, "a", 8, 6, 2, false), sums(1001, "a", 2, 1, 1, false), sums(1100, "a", 4, 3, 1, false)},
		[][]any{sums(10, "a", 10, 7, 3, false), sums(11, "a", 4, 3, 1, false)})
	for range 3 { // replaced, and written again
		servingtest.Upsert(t, s, r(0, "a", 9, 9), r(59, "b", 2, 2), r(60, "a", 1, 1))
	}
	check([][]any{sums(1000, "a", 14, 12, 2, false), sums(1000, "b", 2, 1, 1, false), sums(1001, "a", 2, 1, 1, false), sums(1100, "a", 4, 3, 1, false)},
		[][]any{sums(10, "a", 16, 13, 3, false), sums(10, "b", 2, 1, 1, false), sums(11, "a", 4, 3, 1, false)})
	servingtest.Publish(t, s, 60, r(0, "a", 8, serving.FinalVersion), r(1, "c", 2, serving.FinalVersion))
	servingtest.Upsert(t, s, r(0, "a", 12, 12), r(0, "late", 3, 3)) // below the cut
	want := [][]any{sums(1000, "a", 8, 7, 1, true), sums(1000, "c", 2, 1, 1, true), sums(1001, "a", 2, 1, 1, false), sums(1100, "a", 4, 3, 1, false)}
	wantDays := [][]any{sums(10, "a", 10, 8, 2, false), sums(10, "c", 2, 1, 1, true), sums(11, "a", 4, 3, 1, false)}
	check(want, wantDays)
	if err := s.conn.Exec(t.Context(), "optimize table "+s.database+".ad_clicks_hourly final"); err != nil {
		t.Fatal(err)
	}
	check(want, wantDays) // merged or not
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	url := clickhousetest.Shared(t).URL()
	if s, err := Open(t.Context(), url, Options{}); !errors.Is(err, ErrNotMigrated) {
		t.Errorf("no tables: got %v, %v", s, err)
	}
	for range 2 {
		if err := Migrate(t.Context(), url, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, url, Options{})
	servingtest.Upsert(t, s, servingtest.Row(0, "a", 3, 3))
	n := int64(len(sqlclick.Migrations()))
	wantQuery(t, s, "select min(version), max(version), uniqExact(version), toInt64(count()) from %s.schema_migrations",
		[]any{int64(2), n, uint64(n - 1), n - 1})
	// A migration that was cut off after some steps goes on from there.
	if err := s.conn.Exec(t.Context(), "truncate table "+s.database+".schema_migrations"); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), url, Options{}); !errors.Is(err, ErrNotMigrated) {
		t.Errorf("some tables: got %v, %v", s, err)
	}
	if err := Migrate(t.Context(), url, Options{}); err != nil {
		t.Fatal(err)
	}
	servingtest.WantRows(t, open(t, url, Options{}), serving.Current, servingtest.Row(0, "a", 3, 3))
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	url := "clickhouse://stream:s3cret@" + address + "/csp_analytics"
	start := time.Now()
	_, err = Open(t.Context(), url, Options{})
	if err == nil {
		t.Fatal("got no error")
	}
	want := "serving store clickhouse://stream:xxxxx@" + address + "/csp_analytics: dial tcp " + address + ": connect: connection refused"
	if err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Start(t)
	server.MayEnd()
	_, err := Open(t.Context(), "clickhouse://default:s3cret@"+server.Address, Options{})
	if err == nil || !strings.Contains(err.Error(), "Authentication failed") || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestQueryValues(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	at := time.Date(2026, 11, 10, 1, 2, 3, 0, time.UTC)
	got, err := s.Query(t.Context(), `select $1, $2, $3, 1.5, null, true, toUInt64(7), toInt128(-5), [1, 2], map('a', 1),
		toDecimal64('1.5000', 4), toLowCardinality('x'), toNullable(toUInt8(3)), toDate('2026-11-10'), toFixedString('ab', 2)`, int64(3), "it's", at)
	if err != nil {
		t.Fatal(err)
	}
	want := []any{int64(3), "it's", at, 1.5, nil, true, uint64(7), "-5", "[1,2]", `{"a":1}`, "1.5", "x", int64(3),
		time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC), "ab"}
	for i, value := range got.Rows[0] {
		if !reflect.DeepEqual(value, want[i]) {
			t.Errorf("column %d, %s: got %#v, want %#v", i, got.Types[i], value, want[i])
		}
	}
	many, err := s.Query(t.Context(), "select number from system.numbers limit 250000")
	if err != nil || len(many.Rows) != serving.MaxQueryRows || !many.IsTruncated {
		t.Errorf("many rows: got %v", err)
	}
	short := open(t, "clickhouse://"+strings.TrimPrefix(s.place, "clickhouse://"), Options{QueryTimeout: time.Second})
	start := time.Now()
	if _, err := short.Query(t.Context(), "select sleepEachRow(1) from system.numbers settings max_block_size = 1"); err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("endless query: got %v after %s", err, time.Since(start))
	}
}
