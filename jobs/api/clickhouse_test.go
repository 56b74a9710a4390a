package api

import (
	"database/sql"
	"net/url"
	"reflect"
	"testing"

	_ "github.com/ClickHouse/clickhouse-go/v2" // inserts impressions

	"github.com/clickledger/clickledger/internal/clickhouseio"
	"github.com/clickledger/clickledger/internal/clickhousetest"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	sqlclickhouse "github.com/clickledger/clickledger/sql/clickhouse"
)

func TestMain(m *testing.M) { clickhousetest.Main(m) }

// TestClickHouse asks both stores the same, with the same rows in them.
func TestClickHouse(t *testing.T) {
	t.Parallel()
	place := clickhousetest.Shared(t).URL()
	if err := clickhouseio.Migrate(t.Context(), place, clickhouseio.Options{}); err != nil {
		t.Fatal(err)
	}
	store, err := clickhouseio.Open(t.Context(), place, clickhouseio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	u, err := url.Parse(place)
	if err != nil {
		t.Fatal(err)
	}
	database := u.Path[1:]
	duck := setup(t, rows())
	click := setup(t, nil, func(_ *Config, d *Deps) {
		d.Store, d.SQL = store, func(name string) string { return sqlclickhouse.SQL(name, database) }
	})
	if err := store.Upsert(t.Context(), rows(), serving.Progress{PolicyHash: "p"}); err != nil {
		t.Fatal(err)
	}
	final := row(0, "adv_1", "cmp_1", "ad_1", 15)
	final.IsFinal, final.Version = true, serving.FinalVersion
	for _, s := range []serving.Store{duck.store, store} {
		if err := s.PublishFinal(t.Context(), serving.FinalDay{DayMillis: day, CutMillis: day + 5*minute}, []schemas.MinuteRow{final}); err != nil {
			t.Fatal(err)
		}
	}
	paths := []string{}
	for _, path := range good() {
		paths = append(paths, path)
	}
	for _, granularity := range []string{"1m", "5m", "1h", "1d"} {
		for _, by := range []string{"ad", "campaign", "none"} {
			span := []string{"granularity", granularity, "group_by", by, "start_time", at(0), "end_time", at(2880)}
			paths = append(paths, analyticsOf(span...), analyticsOf(append(span, "campaign_id", "cmp_1")...),
				analyticsOf(append(span, "ad_id", `a'd\`)...), analyticsOf(append(span, "limit", "1", "cursor", cursor{daySecond, "ad_1"}.String())...))
		}
	}
	for _, path := range paths {
		want, got := duck.get(t, path, token(t, "adv_1")), click.get(t, path, token(t, "adv_1"))
		if got.status != want.status || string(got.body) != string(want.body) {
			t.Errorf("%s: got %d\n%s\nwant %d\n%s", path, got.status, got.body, want.status, want.body)
		}
	}

	db, err := sql.Open("clickhouse", place)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `insert into ad_impressions_hourly (impression_minute, ad_id, advertiser_id, campaign_id, device_type,
		country_code, raw_impressions, unique_impressions, version) values (toDateTime(?), 'ad_1', 'adv_1', 'cmp_1', 'mobile', 'DE', 250, 240, 1)`, daySecond+7*60)
	if err != nil {
		t.Fatal(err)
	}
	page := read[series](t, click, analyticsOf("granularity", "1m", "start_time", at(0), "end_time", at(10), "ad_id", "ad_1"), token(t, "adv_1"))
	want := []string{"0 ad_1 15 2.25 0 - 2 1 final", "7 ad_1 3 0.45 240 0.0125 2 1 provisional"}
	if got := page.lines(); !reflect.DeepEqual(got, want) {
		t.Errorf("impressions: got %q, want %q", got, want)
	}
}
