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

func TestQueryThroughTheOwner(t *testing.T) {
	t.Parallel()
	s, storeURL := setup(t)
	remote := open(t, storeURL, Options{})
	upsert(t, s, row(0, "a", 3, 3))
	for name, store := range map[string]serving.Store{"owner": s, "client": remote} {
		if _, err := store.Query(t.Context(), "delete from csp_analytics.minutes_provisional"); !errors.Is(err, serving.ErrNotReadOnly) {
			t.Errorf("%s: got %v", name, err)
		}
		got, err := store.Query(t.Context(), "select count(*), null, 'nan'::double > 1, [1, 2], -5::hugeint from csp_analytics.minutes_provisional where raw_clicks = $1", 3)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := [][]any{{int64(1), nil, true, "[1,2]", "-5"}}; !reflect.DeepEqual(got.Rows, want) {
			t.Errorf("%s: got %#v, want %#v", name, got.Rows, want)
		}
	}
	wantRows(t, s, serving.Current, row(0, "a", 3, 3))
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
