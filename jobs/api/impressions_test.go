package api

import (
	"context"
	"database/sql"
	"reflect"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // holds the impressions

	"github.com/clickledger/clickledger/schemas/serving"
)

// withImpressions is a store whose impressions are in a database of their own, with the columns of
// ad_impressions_hourly.
type withImpressions struct {
	Store

	db *sql.DB
}

const createImpressions = `create schema csp_analytics;
create table csp_analytics.ad_impressions_hourly (impression_minute timestamp, ad_id varchar, advertiser_id varchar,
	campaign_id varchar, device_type varchar, country_code varchar, raw_impressions uinteger, unique_impressions uinteger, version ubigint)`

func (s withImpressions) Query(ctx context.Context, query string, args ...any) (*serving.Table, error) {
	if !strings.Contains(query, "ad_impressions_hourly") {
		return s.Store.Query(ctx, query, args...)
	}
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	t := &serving.Table{Columns: columns}
	for rows.Next() {
		row, targets := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			targets[i] = &row[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, row)
	}
	return t, rows.Err()
}

// TestImpressions joins clicks and impressions: minutes with clicks alone, with impressions alone, and
// with both; over pages too.
func TestImpressions(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{createImpressions, `insert into csp_analytics.ad_impressions_hourly values
		(make_timestamp($1 * 1000), 'ad_1', 'adv_1', 'cmp_1', 'mobile', 'DE', 250, 200, 1),
		(make_timestamp($1 * 1000), 'ad_1', 'adv_1', 'cmp_1', 'desktop', 'DE', 40, 40, 1),
		(make_timestamp($1 * 1000), 'ad_7', 'adv_1', 'cmp_1', 'mobile', 'DE', 9, 9, 1),
		(make_timestamp($1 * 1000 + 180000000), 'ad_1', 'adv_1', 'cmp_1', 'mobile', 'DE', 5, 5, 1),
		(make_timestamp($1 * 1000), 'ad_1', 'adv_2', 'cmp_1', 'mobile', 'DE', 1000, 1000, 1)`} {
		args := []any{day}
		if !strings.Contains(statement, "$1") {
			args = nil
		}
		if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	r := setup(t, rows(), func(_ *Config, d *Deps) { d.Store = withImpressions{d.Store, db} })
	want := []string{"0 ad_1 14 2.10 240 0.058333 4 2 provisional", "0 ad_2 1 0.15 0 - 2 1 provisional", "0 ad_7 0 0.00 9 0 0 0 provisional",
		"1 ad_1 2 0.30 0 - 2 1 provisional", "3 ad_1 0 0.00 5 0 0 0 provisional", "7 ad_1 3 0.45 0 - 2 1 provisional"}
	for _, limit := range []string{"1", "2", "4", "100"} {
		var got []string
		pairs := []string{"granularity", "1m", "start_time", at(0), "end_time", at(10), "limit", limit}
		for page := read[series](t, r, analyticsOf(pairs...), token(t, "adv_1")); ; {
			got = append(got, page.lines()...)
			if page.NextCursor == "" {
				break
			}
			page = read[series](t, r, analyticsOf(append(pairs, "cursor", page.NextCursor)...), token(t, "adv_1"))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("limit %s: got %q, want %q", limit, got, want)
		}
	}
	top := r.get(t, query("/api/v1/advertisers/top", "advertiser_id", "adv_1", "start_time", at(0), "end_time", at(10), "by", "campaign"), token(t, "adv_1"))
	if !strings.Contains(string(top.body), `"id":"cmp_1","clicks":19,"total_spend":2.85,"impressions":254,"ctr":0.074803`) {
		t.Errorf("top: got %s", top.body)
	}
}
