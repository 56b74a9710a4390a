// Package servingtest holds the tests of the contract of serving.Store, in one table, which every
// implementation runs: what a job relies on holds for all of them alike.
package servingtest

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // reads what was exported

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// Minute is the length of a minute.
const Minute = schemas.MinuteMillis

// Day is the start of the day of all rows.
var Day = time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC).UnixMilli()

// Backend is an implementation under test.
type Backend struct {
	// New returns an empty store and a function that closes it and opens it again.
	New func(t *testing.T) (store serving.Store, again func() serving.Store)
	// Writing returns statements in the store's SQL that Query must refuse.
	Writing func(store serving.Store) []string
}

// Run runs the contract against a backend.
func Run(t *testing.T, b Backend) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, Backend)
	}{
		{"upsert never goes back", upsertNeverGoesBack},
		{"upsert refuses", upsertRefuses},
		{"a block of many days", manyDays},
		{"progress", progress},
		{"epoch", epoch},
		{"ranges", ranges},
		{"order of keys", order},
		{"publish final", publishFinal},
		{"publish again with the same version", publishAgain},
		{"publish nothing", publishNothing},
		{"publish refuses", publishRefuses},
		{"export to parquet", exportParquet},
		{"query only reads", queryOnlyReads},
		{"rows can be left", rowsCanBeLeft},
		{"impressions", impressions},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, b)
		})
	}
}

// Row is a row of the ad at a minute of the day: raw clicks of which one is a duplicate.
func Row(minuteOfDay int64, ad string, raw int64, version uint64) schemas.MinuteRow {
	return schemas.MinuteRow{
		MinuteKey: schemas.MinuteKey{MinuteMillis: Day + minuteOfDay*Minute, AdvertiserID: "adv", CampaignID: "camp",
			AdID: ad, DeviceType: "mobile", CountryCode: "DE"},
		RawClicks: raw, DuplicateClicks: 1, UniqueClicks: raw - 1, SpendMicros: (raw - 1) * 150, Version: version,
	}
}

// Final is the row as a final one.
func Final(r schemas.MinuteRow) schemas.MinuteRow {
	r.IsFinal = true
	return r
}

// Upsert stores rows, with some progress.
func Upsert(t testing.TB, s serving.Store, rows ...schemas.MinuteRow) {
	t.Helper()
	if err := s.Upsert(t.Context(), rows, serving.Progress{PolicyHash: "p"}); err != nil {
		t.Fatal(err)
	}
}

// Read returns the rows of a layer.
func Read(t testing.TB, s serving.Store, layer serving.Layer, r serving.Range) []schemas.MinuteRow {
	t.Helper()
	var rows []schemas.MinuteRow
	for row, err := range s.Rows(t.Context(), layer, r) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// WantRows compares the rows of the day.
func WantRows(t testing.TB, s serving.Store, layer serving.Layer, want ...schemas.MinuteRow) {
	t.Helper()
	got := Read(t, s, layer, serving.Range{FromMillis: Day, ToMillis: Day + serving.DayMillis})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s rows: got  %+v\nwant %+v", layer, got, want)
	}
}

func upsertNeverGoesBack(t *testing.T, b Backend) {
	s, _ := b.New(t)
	Upsert(t, s, Row(1, "b", 5, 5), Row(0, "a", 3, 3))
	WantRows(t, s, serving.Current, Row(0, "a", 3, 3), Row(1, "b", 5, 5))
	Upsert(t, s, Row(0, "a", 2, 2), Row(1, "b", 6, 6), Row(1, "c", 2, 2)) // older, newer, new
	WantRows(t, s, serving.Current, Row(0, "a", 3, 3), Row(1, "b", 6, 6), Row(1, "c", 2, 2))
	Upsert(t, s, Row(0, "a", 4, 3)) // an equal version replaces
	WantRows(t, s, serving.Current, Row(0, "a", 4, 3), Row(1, "b", 6, 6), Row(1, "c", 2, 2))
	Upsert(t, s, Row(0, "a", 9, 9), Row(0, "a", 8, 8), Row(2, "d", 2, 1), Row(2, "d", 3, 1)) // twice in one call
	want := []schemas.MinuteRow{Row(0, "a", 9, 9), Row(1, "b", 6, 6), Row(1, "c", 2, 2), Row(2, "d", 3, 1)}
	WantRows(t, s, serving.Current, want...)
	WantRows(t, s, serving.Provisional, want...)
	WantRows(t, s, serving.Final)
	Upsert(t, s, want...) // a retry of what is there
	WantRows(t, s, serving.Current, want...)
}

func upsertRefuses(t *testing.T, b Backend) {
	s, _ := b.New(t)
	Upsert(t, s, Row(0, "a", 9, 9))
	if err := s.Upsert(t.Context(), []schemas.MinuteRow{Final(Row(0, "a", 1, 99))}, serving.Progress{}); err == nil {
		t.Error("a final row was upserted")
	}
	tooMany := Row(0, "a", 1<<32, 99)
	if err := s.Upsert(t.Context(), []schemas.MinuteRow{Row(0, "x", 2, 2), tooMany}, serving.Progress{}); err == nil {
		t.Error("a count over 32 bits was stored")
	}
	WantRows(t, s, serving.Current, Row(0, "a", 9, 9))
	if p, err := s.LoadProgress(t.Context()); err != nil || p.PolicyHash != "p" {
		t.Errorf("progress: got %+v, %v", p, err)
	}
}

func manyDays(t *testing.T, b Backend) {
	s, _ := b.New(t)
	const days = 150
	var want []schemas.MinuteRow
	for day := range int64(days) {
		want = append(want, Row(day*1440, "a", 3, 3))
	}
	Upsert(t, s, want...)
	all := serving.Range{FromMillis: Day, ToMillis: Day + days*serving.DayMillis}
	for _, layer := range []serving.Layer{serving.Current, serving.Provisional} {
		if got := Read(t, s, layer, all); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %d rows, want %d, or they differ", layer, len(got), len(want))
		}
	}
}

func progress(t *testing.T, b Backend) {
	s, again := b.New(t)
	got, err := s.LoadProgress(t.Context())
	if err != nil || !reflect.DeepEqual(got, serving.Progress{}) {
		t.Fatalf("new store: got %+v, %v", got, err)
	}
	if err := s.Upsert(t.Context(), []schemas.MinuteRow{Row(0, "a", 2, 2)}, serving.Progress{PolicyHash: "p", NextOffsets: map[int32]int64{9: 9}}); err != nil {
		t.Fatal(err)
	}
	want := serving.Progress{WatermarkMillis: Day, NextOffsets: map[int32]int64{0: 7, 3: 1 << 40}, PolicyHash: "p", PolicyFromMillis: Day - 1, StoredAtMillis: Day + 5, IsDrained: true}
	if err := s.Upsert(t.Context(), nil, want); err != nil {
		t.Fatal(err)
	}
	s = again()
	if got, err = s.LoadProgress(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	WantRows(t, s, serving.Current, Row(0, "a", 2, 2))
	want.WatermarkMillis-- // what was stored last counts, whatever it says
	if err := s.Upsert(t.Context(), nil, want); err != nil {
		t.Fatal(err)
	}
	if got, err = s.LoadProgress(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("written again: got %+v, %v; want %+v", got, err, want)
	}
}

func epoch(t *testing.T, b Backend) {
	s, _ := b.New(t)
	check := func(want uint64) {
		t.Helper()
		if got, err := s.Epoch(t.Context()); err != nil || got != want {
			t.Errorf("got %d, %v; want %d", got, err, want)
		}
	}
	check(0)
	Upsert(t, s, Row(0, "a", 3, 3), Row(1, "b", 3, 2<<serving.EpochShift|3), Row(2, "b", 3, 1<<serving.EpochShift|3))
	check(2)
	day := serving.FinalDay{DayMillis: Day, CutMillis: Day + serving.DayMillis}
	if err := s.PublishFinal(t.Context(), day, []schemas.MinuteRow{Final(Row(1, "b", 3, serving.FinalVersion))}); err != nil {
		t.Fatal(err)
	}
	check(2) // of provisional rows
}

func ranges(t *testing.T, b Backend) {
	s, _ := b.New(t)
	rows := []schemas.MinuteRow{Row(0, "a", 3, 3), Row(1, "a", 3, 3), Row(2, "a", 3, 3)}
	Upsert(t, s, rows...)
	for _, tt := range []struct {
		name     string
		from, to int64
		want     []schemas.MinuteRow
	}{
		{"all there is", -1 << 62, 1 << 62 / 1_000_000, rows},
		{"one minute", Day + Minute, Day + 2*Minute, rows[1:2]},
		{"from the middle of a minute", Day + 1, Day + 3*Minute, rows[1:]},
		{"to the middle of a minute", Day, Day + Minute + 1, rows[:2]},
		{"none", Day + Minute, Day + Minute, nil},
		{"before 1970", -1 << 62, -1, nil},
	} {
		got := Read(t, s, serving.Provisional, serving.Range{FromMillis: tt.from, ToMillis: tt.to})
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
	for _, err := range s.Rows(t.Context(), "other", serving.Range{}) {
		if err == nil {
			t.Error("unknown layer: got a row")
		}
	}
}

// order: bytes count, and empty fields, quotes and other scripts are fields like any other.
func order(t *testing.T, b Backend) {
	s, _ := b.New(t)
	var want []schemas.MinuteRow
	for _, ad := range []string{"", "'", "A", "\\", "a", "a\x7f", "b\ttab", "ß", "日本"} {
		for _, country := range []string{"", "DE", "de"} {
			r := Row(0, ad, 3, 3)
			r.CountryCode = country
			want = append(want, r)
		}
	}
	shuffled := make([]schemas.MinuteRow, 0, len(want))
	for i := range want {
		shuffled = append(shuffled, want[(i*7)%len(want)])
	}
	Upsert(t, s, shuffled...)
	WantRows(t, s, serving.Provisional, want...)
	WantRows(t, s, serving.Current, want...)
}

func exportParquet(t *testing.T, b Backend) {
	s, _ := b.New(t)
	final := Final(Row(5, "f", 9, 1<<63|1))
	Upsert(t, s, Row(0, "gone", 3, 3), Row(6, "b", 4, 4), Row(1440, "tomorrow", 2, 2))
	if err := s.PublishFinal(t.Context(), serving.FinalDay{DayMillis: Day, CutMillis: Day + 6*Minute}, []schemas.MinuteRow{final}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "it's [rows] *.parquet")
	day := serving.Range{FromMillis: Day, ToMillis: Day + serving.DayMillis}
	if err := s.ExportParquet(t.Context(), serving.Current, day, path); err != nil {
		t.Fatal(err)
	}
	if got, want := readFile(t, path), []schemas.MinuteRow{final, Row(6, "b", 4, 4)}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if err := s.ExportParquet(t.Context(), serving.Final, serving.Range{}, path); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, path); len(got) > 0 {
		t.Errorf("no rows: got %+v", got)
	}
	if err := s.ExportParquet(t.Context(), "other", serving.Range{}, path); err == nil {
		t.Error("unknown layer: got no error")
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".rows-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// readFile reads an exported file as the reconciliation does: with DuckDB, and by its names and types.
func readFile(t *testing.T, path string) (rows []schemas.MinuteRow) {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "set timezone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "rows.parquet") // DuckDB takes the name for a pattern
	copyFile(t, path, copied)
	found, err := db.QueryContext(t.Context(), `select epoch_ms(click_minute), advertiser_id, campaign_id, ad_id,
		device_type, country_code, raw_clicks, duplicate_clicks, invalid_clicks, unique_clicks, spend_micros, version, is_final,
		typeof(click_minute) || ' ' || typeof(raw_clicks) || ' ' || typeof(spend_micros) || ' ' || typeof(version) || ' ' || typeof(is_final)
		from read_parquet($1, file_row_number = true) order by file_row_number`, copied)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var r schemas.MinuteRow
		var types string
		if err := found.Scan(&r.MinuteMillis, &r.AdvertiserID, &r.CampaignID, &r.AdID, &r.DeviceType, &r.CountryCode,
			&r.RawClicks, &r.DuplicateClicks, &r.InvalidClicks, &r.UniqueClicks, &r.SpendMicros, &r.Version, &r.IsFinal, &types); err != nil {
			t.Fatal(err)
		}
		if types != "TIMESTAMP WITH TIME ZONE BIGINT BIGINT UBIGINT BOOLEAN" {
			t.Errorf("types: got %s", types)
		}
		rows = append(rows, r)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

func queryOnlyReads(t *testing.T, b Backend) {
	s, _ := b.New(t)
	Upsert(t, s, Row(0, "a", 3, 3))
	for _, query := range b.Writing(s) {
		if _, err := s.Query(t.Context(), query); !errors.Is(err, serving.ErrNotReadOnly) {
			t.Errorf("%s: got %v", query, err)
		}
	}
	for _, query := range []string{"select 1; drop table csp_analytics.minutes_provisional", "", "selct", "select nope"} {
		if _, err := s.Query(t.Context(), query); err == nil {
			t.Errorf("%s: got no error", query)
		}
	}
	explained, err := s.Query(t.Context(), "explain select 1")
	if err != nil || len(explained.Rows) == 0 {
		t.Errorf("explain: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Query(ctx, "select 1"); err == nil {
		t.Error("cancelled: got no error")
	}
	WantRows(t, s, serving.Current, Row(0, "a", 3, 3))
}

func rowsCanBeLeft(t *testing.T, b Backend) {
	s, _ := b.New(t)
	var rows []schemas.MinuteRow
	for minute := range int64(1000) {
		rows = append(rows, Row(minute, "a", 3, 3))
	}
	Upsert(t, s, rows...)
	day := serving.Range{FromMillis: Day, ToMillis: Day + serving.DayMillis}
	for range 30 { // more often than there are connections
		for row, err := range s.Rows(t.Context(), serving.Provisional, day) {
			if err != nil || row.MinuteKey != rows[0].MinuteKey {
				t.Fatalf("got %+v, %v", row, err)
			}
			break
		}
	}
	if got := Read(t, s, serving.Provisional, day); len(got) != len(rows) {
		t.Errorf("got %d rows, want %d", len(got), len(rows))
	}
}
