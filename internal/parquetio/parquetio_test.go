package parquetio

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	_ "github.com/duckdb/duckdb-go/v2"
)

// clicks makes n realistic clicks: skewed ads, users and addresses, random ids, growing times.
func clicks(seed uint64, n int) []schemas.ArchiveClick {
	rng := rand.New(rand.NewPCG(seed, 1))
	skewed := func(of int) int { return int(float64(of) * rng.Float64() * rng.Float64() * rng.Float64()) }
	rows := make([]schemas.ArchiveClick, n)
	at := int64(1_760_000_000_000_000)
	for i := range rows {
		at += rng.Int64N(2000)
		ad := skewed(20_000)
		cost := float64(5+ad%200) / 100
		event := at/1000 - rng.Int64N(2000)
		rows[i] = schemas.ArchiveClick{
			Partition: 3, Offset: int64(1000 + i), ReceivedAt: at, EventTime: event,
			ClickID: fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", rng.Uint32(), rng.IntN(1<<16), rng.IntN(1<<12), rng.IntN(1<<12), rng.Uint64N(1<<48)),
			AdID:    fmt.Sprintf("ad-%06d", ad), AdvertiserID: fmt.Sprintf("adv-%04d", ad%700), CampaignID: fmt.Sprintf("camp-%05d", ad%4000),
			UserID: fmt.Sprintf("user-%07d", skewed(2_000_000)), CostMicros: int64(5+ad%200) * 10_000, CostPerClick: cost,
			IPAddress:  fmt.Sprintf("%d.%d.%d.%d", 1+skewed(200), skewed(256), rng.IntN(256), 1+rng.IntN(254)),
			UserAgent:  fmt.Sprintf("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36", 80+skewed(60)),
			Referrer:   fmt.Sprintf("https://site-%03d.example/page/%d", skewed(500), skewed(40)),
			DeviceType: []string{"desktop", "mobile", "tablet"}[rng.IntN(3)], CountryCode: []string{"US", "DE", "GB", "IN", "BR"}[skewed(5)],
			Timestamp: event,
		}
	}
	return rows
}

func TestEncodeIsDeterministicAndReadsBack(t *testing.T) {
	t.Parallel()
	rows := clicks(1, 10_000)
	notes := Notes{"b": "2", "a": "1", "c": "3", "d": "4"}
	first, err := Encode(rows, notes)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		again, err := Encode(slices.Clone(rows), Notes{"d": "4", "c": "3", "b": "2", "a": "1"})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Fatal("the same rows gave other bytes")
		}
	}
	var got []schemas.ArchiveClick
	if err := ReadRows(bytes.NewReader(first), func(part []schemas.ArchiveClick) error {
		got = append(got, part...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, rows) {
		t.Fatal("the rows read are not the rows written")
	}
	f, err := ReadFooter(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := f.Note("c"); !ok || v != "3" || f.Rows != 10_000 {
		t.Fatalf("got note %q, %d rows", v, f.Rows)
	}
}

func TestFooterBounds(t *testing.T) {
	t.Parallel()
	rows := clicks(2, 300_000) // several row groups
	b, err := Encode(rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadFooter(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.file.RowGroups()); n != 3 {
		t.Fatalf("got %d row groups, want 3", n)
	}
	for column, value := range map[string]func(schemas.ArchiveClick) int64{
		"received_at": func(r schemas.ArchiveClick) int64 { return r.ReceivedAt },
		"event_time":  func(r schemas.ArchiveClick) int64 { return r.EventTime },
		"offset":      func(r schemas.ArchiveClick) int64 { return r.Offset },
		"partition":   func(r schemas.ArchiveClick) int64 { return int64(r.Partition) },
	} {
		want := Bounds{value(rows[0]), value(rows[0])}
		for _, r := range rows {
			want = Bounds{min(want.Min, value(r)), max(want.Max, value(r))}
		}
		if got, err := f.Bounds(column); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", column, got, err, want)
		}
	}
	for _, column := range []string{"absent", "click_id"} {
		if _, err := f.Bounds(column); !errors.Is(err, ErrNoBounds) {
			t.Errorf("%s: got %v", column, err)
		}
	}
	if per := float64(len(b)) / float64(len(rows)); per > 60 {
		t.Errorf("%.1f bytes a click, want at most 60", per)
	} else {
		t.Logf("%.1f bytes a click", per)
	}
}

func TestEmptyUnsortedAndMalformed(t *testing.T) {
	t.Parallel()
	b, err := Encode[schemas.ArchiveClick](nil, Notes{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadFooter(bytes.NewReader(b))
	if err != nil || f.Rows != 0 {
		t.Fatalf("got %d rows, %v", f.Rows, err)
	}
	if _, err := f.Bounds("offset"); !errors.Is(err, ErrNoBounds) {
		t.Fatalf("got %v", err)
	}
	rows := clicks(3, 10)
	rows[4].Offset = rows[3].Offset
	if _, err := Encode(rows, nil); !errors.Is(err, errOrder) {
		t.Fatalf("got %v, want an error for two rows of one offset", err)
	}
	whole, err := Encode(clicks(3, 500), nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole); n += 97 {
		if _, err := ReadFooter(bytes.NewReader(whole[:n])); err == nil {
			t.Fatalf("%d of %d bytes were read as a file", n, len(whole))
		}
	}
}

// FuzzRead: any bytes are rows or an error, never a panic.
func FuzzRead(f *testing.F) {
	whole, err := Encode(clicks(3, 20), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(_ *testing.T, b []byte) {
		if footer, err := ReadFooter(bytes.NewReader(b)); err == nil {
			_, _ = footer.Bounds("offset")
		}
	})
}

// TestDuckDBReadsTheColumns: types as in the design, values to the last digit, minima in the footer.
func TestDuckDBReadsTheColumns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	row := clicks(5, 1)[0]
	row.ReceivedAt, row.EventTime = 1_760_000_000_123_456, 1_760_000_000_789
	row.ClickID, row.Referrer = "clïck-☃", ""
	write(t, dir, "clicks", []schemas.ArchiveClick{row})
	write(t, dir, "dead", []schemas.ArchiveDeadLetter{
		{Partition: 1, Offset: 7, ReceivedAt: row.ReceivedAt, Reason: "undecodable", Key: []byte("k"), Value: []byte{0xff, 0}},
	})
	write(t, dir, "decisions", []schemas.ArchiveDecision{{LogPartition: 1, LogOffset: 2, Partition: 3, Offset: 4, ClickID: "c",
		EventTime: row.EventTime, Verdict: "invalid", Rules: "velocity_ip_ad,listed_ip", IsLate: true, WinnerPartition: 3, WinnerOffset: 4, PolicyHash: "h"}})
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	query := func(q string, args ...any) string {
		t.Helper()
		rows, err := db.QueryContext(t.Context(), q, args...)
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		defer func() { _ = rows.Close() }()
		var lines []string
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, s)
		}
		return strings.Join(lines, ", ")
	}
	describe := "select column_name || ' ' || column_type from (describe select * from read_parquet(?))" //nolint:unqueryvet // all columns are what it tests
	for name, want := range map[string]string{
		"clicks": "partition INTEGER, offset BIGINT, received_at TIMESTAMP WITH TIME ZONE, event_time TIMESTAMP WITH TIME ZONE, click_id VARCHAR, " +
			"ad_id VARCHAR, advertiser_id VARCHAR, campaign_id VARCHAR, user_id VARCHAR, cost_micros BIGINT, ip_address VARCHAR, user_agent VARCHAR, " +
			"referrer VARCHAR, device_type VARCHAR, country_code VARCHAR, timestamp BIGINT, cost_per_click DOUBLE",
		"dead": "partition INTEGER, offset BIGINT, received_at TIMESTAMP WITH TIME ZONE, reason VARCHAR, key BLOB, value BLOB",
		"decisions": "log_partition INTEGER, log_offset BIGINT, partition INTEGER, offset BIGINT, click_id VARCHAR, event_time TIMESTAMP WITH TIME ZONE, " +
			"verdict VARCHAR, rules VARCHAR, is_late BOOLEAN, winner_partition INTEGER, winner_offset BIGINT, is_conflict BOOLEAN, policy_hash VARCHAR",
	} {
		if got := query(describe, filepath.Join(dir, name)); got != want {
			t.Errorf("%s: got %s\nwant %s", name, got, want)
		}
	}
	file := filepath.Join(dir, "clicks")
	if got, want := query("select epoch_us(received_at) || ' ' || epoch_ms(event_time) || ' ' || click_id || ' ' || length(referrer) from read_parquet(?)", file),
		"1760000000123456 1760000000789 clïck-☃ 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := query("select path_in_schema || ' ' || stats_min_value || ' ' || stats_max_value from parquet_metadata(?) where path_in_schema in ('offset', 'received_at', 'event_time') order by column_id", file),
		"offset 1000 1000, received_at 2025-10-09 08:53:20.123456+00 2025-10-09 08:53:20.123456+00, event_time 2025-10-09 08:53:20.789+00 2025-10-09 08:53:20.789+00"; got != want {
		t.Errorf("footer: got %s, want %s", got, want)
	}
	if got, want := query("select logical_type from parquet_schema(?) where name in ('received_at', 'event_time')", file),
		"TimestampType(isAdjustedToUTC=1, unit=TimeUnit(MILLIS=<null>, MICROS=MicroSeconds(), NANOS=<null>)), TimestampType(isAdjustedToUTC=1, unit=TimeUnit(MILLIS=MilliSeconds(), MICROS=<null>, NANOS=<null>))"; got != want {
		t.Errorf("types: got %s, want %s", got, want)
	}
}

func write[T Row](t *testing.T, dir, name string, rows []T) {
	t.Helper()
	b, err := Encode(rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkEncode(b *testing.B) {
	rows := clicks(1, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(rows, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rows)), "ns/row")
}

// TestLookup: DuckDB knows by the Bloom filters which row groups cannot hold a click_id, and never
// passes over one that does.
func TestLookup(t *testing.T) {
	t.Parallel()
	rows := clicks(4, 2*RowGroupRows+1)
	data, err := Encode(rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "clicks.parquet")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const probe = `select count(*) filter (where bloom_filter_excludes), count(*) from parquet_bloom_probe($1, 'click_id', $2)`
	passedOver := 0
	for i := range 50 {
		var excluded, groups int
		if err := db.QueryRowContext(t.Context(), probe, path, fmt.Sprint("no-such-click-", i)).Scan(&excluded, &groups); err != nil {
			t.Fatal(err)
		}
		if groups != 3 {
			t.Fatalf("got %d row groups, want 3", groups)
		}
		passedOver += excluded
	}
	if passedOver < 45*3 {
		t.Errorf("%d of 150 row groups are passed over", passedOver)
	}
	for i := 0; i < len(rows); i += 9999 {
		var found int
		if err := db.QueryRowContext(t.Context(), `select count(*) from read_parquet($1) where click_id = $2`, path, rows[i].ClickID).Scan(&found); err != nil {
			t.Fatal(err)
		}
		if found != 1 {
			t.Errorf("%s is found %d times", rows[i].ClickID, found)
		}
	}
}
