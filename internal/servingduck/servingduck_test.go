package servingduck

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

var day = time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC).UnixMilli()

const minute = schemas.MinuteMillis

func setup(t *testing.T) (*Store, string) {
	t.Helper()
	storeURL := "duckdb://" + filepath.Join(t.TempDir(), "serving.duckdb")
	s := open(t, storeURL, Options{MustOwn: true})
	return s, storeURL
}

func open(t *testing.T, storeURL string, opts Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), storeURL, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// row is a row of the ad at a minute of the day: raw clicks of which one is a duplicate.
func row(minuteOfDay int64, ad string, raw int64, version uint64) schemas.MinuteRow {
	return schemas.MinuteRow{
		MinuteKey: schemas.MinuteKey{MinuteMillis: day + minuteOfDay*minute, AdvertiserID: "adv", CampaignID: "camp",
			AdID: ad, DeviceType: "mobile", CountryCode: "DE"},
		RawClicks: raw, DuplicateClicks: 1, UniqueClicks: raw - 1, SpendMicros: (raw - 1) * 150, Version: version,
	}
}

func final(r schemas.MinuteRow) schemas.MinuteRow {
	r.IsFinal = true
	return r
}

func upsert(t *testing.T, s serving.Store, rows ...schemas.MinuteRow) {
	t.Helper()
	if err := s.Upsert(t.Context(), rows, serving.Progress{PolicyHash: "p"}); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s serving.Store, layer serving.Layer) []schemas.MinuteRow {
	t.Helper()
	var rows []schemas.MinuteRow
	for r, err := range s.Rows(t.Context(), layer, serving.Range{FromMillis: day, ToMillis: day + serving.DayMillis}) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

func wantRows(t *testing.T, s serving.Store, layer serving.Layer, want ...schemas.MinuteRow) {
	t.Helper()
	if got := read(t, s, layer); !reflect.DeepEqual(got, want) {
		t.Errorf("%s rows: got  %+v\nwant %+v", layer, got, want)
	}
}

func TestUpsertNeverGoesBack(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	upsert(t, s, row(1, "b", 5, 5), row(0, "a", 3, 3))
	wantRows(t, s, serving.Current, row(0, "a", 3, 3), row(1, "b", 5, 5))
	upsert(t, s, row(0, "a", 2, 2), row(1, "b", 6, 6), row(1, "c", 2, 2)) // older, newer, new
	wantRows(t, s, serving.Current, row(0, "a", 3, 3), row(1, "b", 6, 6), row(1, "c", 2, 2))
	upsert(t, s, row(0, "a", 4, 3)) // an equal version replaces
	wantRows(t, s, serving.Current, row(0, "a", 4, 3), row(1, "b", 6, 6), row(1, "c", 2, 2))
	upsert(t, s, row(0, "a", 9, 9), row(0, "a", 8, 8), row(2, "d", 2, 1), row(2, "d", 3, 1)) // twice in one call
	wantRows(t, s, serving.Current, row(0, "a", 9, 9), row(1, "b", 6, 6), row(1, "c", 2, 2), row(2, "d", 3, 1))
	if err := s.Upsert(t.Context(), []schemas.MinuteRow{final(row(0, "a", 1, 99))}, serving.Progress{}); err == nil {
		t.Error("a final row was upserted")
	}
	tooMany := row(0, "a", 1<<32, 99)
	if err := s.Upsert(t.Context(), []schemas.MinuteRow{row(0, "x", 2, 2), tooMany}, serving.Progress{}); err == nil {
		t.Error("a count over 32 bits was stored")
	}
	wantRows(t, s, serving.Current, row(0, "a", 9, 9), row(1, "b", 6, 6), row(1, "c", 2, 2), row(2, "d", 3, 1))
}

func TestProgressIsStoredWithTheRows(t *testing.T) {
	t.Parallel()
	s, storeURL := setup(t)
	got, err := s.LoadProgress(t.Context())
	if err != nil || !reflect.DeepEqual(got, serving.Progress{}) {
		t.Fatalf("new store: got %+v, %v", got, err)
	}
	want := serving.Progress{WatermarkMillis: day, NextOffsets: map[int32]int64{0: 7, 3: 1 << 40}, PolicyHash: "p", IsDrained: true}
	if err := s.Upsert(t.Context(), []schemas.MinuteRow{row(0, "a", 2, 2)}, serving.Progress{PolicyHash: "p", NextOffsets: map[int32]int64{9: 9}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Upsert(t.Context(), nil, want); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, storeURL, Options{})
	if got, err = s.LoadProgress(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	wantRows(t, s, serving.Current, row(0, "a", 2, 2))
}

func TestPublishFinal(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	provisional := []schemas.MinuteRow{row(0, "a", 3, 3), row(0, "gone", 2, 2), row(5, "a", 4, 4)}
	upsert(t, s, provisional...)
	publish := func(cutMinute int64, rows ...schemas.MinuteRow) {
		t.Helper()
		if err := s.PublishFinal(t.Context(), serving.FinalDay{DayMillis: day, CutMillis: day + cutMinute*minute}, rows); err != nil {
			t.Fatal(err)
		}
	}
	publish(5, row(0, "a", 9, 100), row(1, "new", 2, 100))
	// Below the cut final rows alone; a key that the batch does not have is gone. The cut itself is provisional.
	wantRows(t, s, serving.Current, final(row(0, "a", 9, 100)), final(row(1, "new", 2, 100)), row(5, "a", 4, 4))
	wantRows(t, s, serving.Provisional, provisional...)

	upsert(t, s, row(0, "a", 5, 200), row(0, "late", 2, 2)) // a late pane does not touch what is final
	wantRows(t, s, serving.Current, final(row(0, "a", 9, 100)), final(row(1, "new", 2, 100)), row(5, "a", 4, 4))

	publish(6, row(0, "a", 10, 101), row(5, "a", 4, 101)) // again, further: replaces, not adds
	wantRows(t, s, serving.Current, final(row(0, "a", 10, 101)), final(row(5, "a", 4, 101)))
	publish(1, row(0, "a", 11, 102)) // a lower cut leaves the rest as it is
	wantRows(t, s, serving.Current, final(row(0, "a", 11, 102)), final(row(5, "a", 4, 101)))
	wantRows(t, s, serving.Final, final(row(0, "a", 11, 102)), final(row(5, "a", 4, 101)))
	wantRows(t, s, serving.Provisional, row(0, "a", 5, 200), row(0, "gone", 2, 2), row(0, "late", 2, 2), row(5, "a", 4, 4))
}

func TestPublishFinalRefuses(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	upsert(t, s, row(0, "a", 3, 3))
	tests := []struct {
		name string
		day  serving.FinalDay
		rows []schemas.MinuteRow
	}{
		{"not a day", serving.FinalDay{DayMillis: day + minute, CutMillis: day + 2*minute}, nil},
		{"not a whole minute", serving.FinalDay{DayMillis: day, CutMillis: day + 1}, nil},
		{"cut after the day", serving.FinalDay{DayMillis: day, CutMillis: day + serving.DayMillis + minute}, nil},
		{"row at the cut", serving.FinalDay{DayMillis: day, CutMillis: day + minute}, []schemas.MinuteRow{row(0, "a", 1, 1), row(1, "a", 1, 1)}},
		{"row before the day", serving.FinalDay{DayMillis: day, CutMillis: day + minute}, []schemas.MinuteRow{row(-1, "a", 1, 1)}},
		{"key twice", serving.FinalDay{DayMillis: day, CutMillis: day + minute}, []schemas.MinuteRow{row(0, "a", 1, 1), row(0, "a", 1, 2)}},
	}
	for _, tt := range tests {
		if err := s.PublishFinal(t.Context(), tt.day, tt.rows); err == nil {
			t.Errorf("%s: got no error", tt.name)
		}
		wantRows(t, s, serving.Current, row(0, "a", 3, 3)) // nothing half-written
	}
}

func TestTableOfTheLesson(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	r := row(0, "a", 3, 3)
	r.SpendMicros = 12_345_678_950 // half: to even
	upsert(t, s, r)
	r = row(1, "a", 3, 3)
	r.SpendMicros = 250
	upsert(t, s, r)
	got, err := s.Query(t.Context(), "select * from csp_analytics.ad_clicks_hourly where advertiser_id = $1 and click_minute >= $2 order by all", "adv", time.UnixMilli(day).UTC()) //nolint:unqueryvet // which columns there are is what is tested
	if err != nil {
		t.Fatal(err)
	}
	want := &serving.Table{
		Columns: []string{"click_minute", "ad_id", "advertiser_id", "campaign_id", "device_type", "country_code", "raw_clicks",
			"unique_clicks", "total_spend", "version", "duplicate_clicks", "invalid_clicks", "spend_micros", "is_final"},
		Types: []string{"TIMESTAMP", "VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR", "UINTEGER",
			"UINTEGER", "DECIMAL(18,4)", "UBIGINT", "UINTEGER", "UINTEGER", "BIGINT", "BOOLEAN"},
		Rows: [][]any{
			{time.UnixMilli(day).UTC(), "a", "adv", "camp", "mobile", "DE", int64(3), int64(2), "12345.679", uint64(3), int64(1), int64(0), int64(12_345_678_950), false},
			{time.UnixMilli(day + minute).UTC(), "a", "adv", "camp", "mobile", "DE", int64(3), int64(2), "0.0002", uint64(3), int64(1), int64(0), int64(250), false},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestQueryOnlyReads(t *testing.T) {
	t.Parallel()
	s, storeURL := setup(t)
	remote := open(t, storeURL, Options{})
	upsert(t, s, row(0, "a", 3, 3))
	for name, store := range map[string]serving.Store{"owner": s, "client": remote} {
		for _, query := range []string{
			"delete from csp_analytics.minutes_provisional",
			"drop table csp_analytics.minutes_provisional",
			"create table x (a int)",
			"copy (select 1) to '/dev/null'",
			"set threads = 1",
			"begin transaction",
		} {
			if _, err := store.Query(t.Context(), query); !errors.Is(err, serving.ErrNotReadOnly) {
				t.Errorf("%s: %s: got %v", name, query, err)
			}
		}
		for _, query := range []string{"select 1; drop table csp_analytics.minutes_provisional", "", "selct", "select nope"} {
			if _, err := store.Query(t.Context(), query); err == nil {
				t.Errorf("%s: %s: got no error", name, query)
			}
		}
		got, err := store.Query(t.Context(), "select count(*), null, 'nan'::double > 1, [1, 2], -5::hugeint from csp_analytics.minutes_provisional where raw_clicks = $1", 3)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := [][]any{{int64(1), nil, true, "[1,2]", "-5"}}; !reflect.DeepEqual(got.Rows, want) {
			t.Errorf("%s: got %#v, want %#v", name, got.Rows, want)
		}
		explained, err := store.Query(t.Context(), "explain select 1")
		if err != nil || len(explained.Rows) == 0 {
			t.Errorf("%s: explain: got %v", name, err)
		}
	}
	wantRows(t, s, serving.Current, row(0, "a", 3, 3))
}

func TestExportParquet(t *testing.T) {
	t.Parallel()
	s, _ := setup(t)
	upsert(t, s, row(0, "a", 3, 3), row(1, "b", 4, 4), row(1440, "tomorrow", 2, 2))
	path := filepath.Join(t.TempDir(), "rows.parquet")
	if err := s.ExportParquet(t.Context(), serving.Current, serving.Range{FromMillis: day, ToMillis: day + serving.DayMillis}, path); err != nil {
		t.Fatal(err)
	}
	var got []schemas.MinuteRow
	for r, err := range readRows(t.Context(), path) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if want := []schemas.MinuteRow{row(0, "a", 3, 3), row(1, "b", 4, 4)}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if err := s.ExportParquet(t.Context(), "other", serving.Range{}, path); err == nil {
		t.Error("unknown layer: got no error")
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".rows-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "file:///x", "duckdb://host/x", "duckdb://", "duckdb:///nowhere/at/all/x.duckdb"} {
		if s, err := Open(t.Context(), bad, Options{Wait: 50 * time.Millisecond}); err == nil {
			t.Errorf("%q: got no error", bad)
			s.Close()
		}
	}
	s, storeURL := setup(t)
	if _, err := Open(t.Context(), storeURL, Options{MustOwn: true, Wait: 50 * time.Millisecond}); !errors.Is(err, ErrOwned) {
		t.Errorf("owned file: got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if again, err := Open(ctx, storeURL, Options{}); err == nil { // a cancelled Open must not leave the lock behind
		again.Close()
	}
	open(t, storeURL, Options{MustOwn: true})
}
