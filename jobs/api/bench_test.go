package api

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/internal/servingduck"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

const (
	envBenchRows   = "CLICKLEDGER_BENCH_ROWS" // default 10,000,000
	benchClients   = 10
	benchDays      = 7
	benchMinutes   = benchDays * 1440
	benchEach      = 40 // requests of one kind by each client
	benchAdvertise = 200
)

// benchRows fills a store: so many rows over a week, of 200 advertisers with 20 ads each, in the order in
// which the stream writes them.
const benchRows = `insert into csp_analytics.minutes_provisional
select make_timestamp(($1::bigint + i * $2::bigint // $3::bigint * 60) * 1000000), printf('adv_%03d', i % 200), printf('cmp_%d', (i // 200) % 4),
	printf('ad_%d_%d', i % 200, (i // 200) % 20), 'mobile', 'DE', 12, 1, 1, 10, 1500000, 1
from range($3::bigint) as r(i)`

// BenchmarkAPI measures requests of ten clients at once on 10 million rows: ms_p50 and ms_p99 of each
// kind of request, over HTTP, with a token that is checked each time.
func BenchmarkAPI(b *testing.B) {
	rows := int64(10_000_000)
	if text := os.Getenv(envBenchRows); text != "" {
		var err error
		if rows, err = strconv.ParseInt(text, 10, 64); err != nil {
			b.Fatal(err)
		}
	}
	path := filepath.Join(b.TempDir(), "serving.duckdb")
	store, err := servingduck.Open(b.Context(), "duckdb://"+path, servingduck.Options{MustOwn: true})
	if err != nil {
		b.Fatal(err)
	}
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("duckdb", path)
	if err != nil {
		b.Fatal(err)
	}
	_, err = db.ExecContext(b.Context(), benchRows, daySecond, benchMinutes, rows)
	if err := errors.Join(err, db.Close()); err != nil {
		b.Fatal(err)
	}
	if store, err = servingduck.Open(b.Context(), "duckdb://"+path, servingduck.Options{MustOwn: true}); err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	settle(b, store)
	tokens, err := bearer.Open(b.Context(), bearer.Config{Secret: secret, Audience: "clickledger", Now: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	h, err := NewHandler(Config{RatePerSecond: 1_000_000}, Deps{Store: store, SQL: sqlduck.SQL, Tokens: tokens})
	if err != nil {
		b.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	for _, kind := range []struct {
		name, path, granularity, group string
		minutes                        int64
	}{
		{"hour_by_minute", "analytics", "1m", "none", 60}, {"hour_by_minute_and_ad", "analytics", "1m", "ad", 60},
		{"day_by_5_minutes", "analytics", "5m", "none", 1440}, {"week_by_hour", "analytics", "1h", "none", benchMinutes},
		{"top_ads_of_an_hour", "top", "", "", 60}, {"top_ads_of_a_day", "top", "", "", 1440},
	} {
		b.Run(kind.name, func(b *testing.B) {
			r := &rig{url: srv.URL}
			for b.Loop() {
				took := clients(func(client, i int) {
					end := benchMinutes - int64(client*7+i)%(benchMinutes-kind.minutes+1)
					pairs := []string{"advertiser_id", fmt.Sprintf("adv_%03d", (client*31+i*7)%benchAdvertise), "start_time", at(end - kind.minutes), "end_time", at(end)}
					if kind.granularity != "" {
						pairs = append(pairs, "granularity", kind.granularity, "group_by", kind.group, "limit", "10000")
					} else {
						pairs = append(pairs, "by", "ad")
					}
					if got := r.ask(b, query("/api/v1/advertisers/"+kind.path, pairs...), token(b, "*")); got.status != 200 {
						b.Errorf("got %d %s", got.status, got.body)
					}
				})
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms_p50")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms_p99")
			}
		})
	}
}

// settle waits until the store has laid out its rows by advertiser, but for the newest.
func settle(b *testing.B, store *servingduck.Store) {
	b.Helper()
	for {
		left, err := store.Query(b.Context(), `select count(*)
from csp_analytics.minutes_provisional
where click_minute >= coalesce((select max(until_minute) from csp_analytics.clustered), '1970-01-01'::timestamp)
	and click_minute <= (select max(click_minute) - interval 15 minutes from csp_analytics.minutes_provisional)`)
		if err != nil {
			b.Fatal(err)
		}
		if n, _ := left.Rows[0][0].(int64); n < 250_000 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// clients runs the clients' requests, and returns how long each took, in order.
func clients(request func(client, i int)) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var group sync.WaitGroup
	for client := range benchClients {
		group.Go(func() {
			for i := range benchEach {
				began := time.Now()
				request(client, i)
				d := time.Since(began)
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	slices.Sort(took)
	return took
}
