package clickhouseio

import (
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/clickhousetest"
	"github.com/clickledger/clickledger/internal/servingtest"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// manyRows are n rows from a minute of the day on, ads to a minute.
func manyRows(fromMinute int64, n, ads int, version uint64) []schemas.MinuteRow {
	rows := make([]schemas.MinuteRow, n)
	for i := range rows {
		ad := i % ads
		rows[i] = schemas.MinuteRow{
			MinuteKey: schemas.MinuteKey{
				MinuteMillis: servingtest.Day + (fromMinute+int64(i/ads))*schemas.MinuteMillis,
				AdvertiserID: fmt.Sprintf("adv-%05d", ad%5000), CampaignID: fmt.Sprintf("campaign-%06d", ad%20000),
				AdID: fmt.Sprintf("ad-%08d", ad), DeviceType: "mobile", CountryCode: "DE",
			},
			RawClicks: 5, UniqueClicks: 4, DuplicateClicks: 1, SpendMicros: 1_234_567, Version: version,
		}
	}
	return rows
}

// ownCPU is the processor time that this process has used.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestMillionRows prints what a million rows take, each way.
func TestMillionRows(t *testing.T) {
	const n, ads, block = 1_000_000, 20_000, 100_000
	server := clickhousetest.Shared(t)
	url := server.URL()
	if err := Migrate(t.Context(), url, Options{}); err != nil {
		t.Fatal(err)
	}
	s := open(t, url, Options{})
	rows := manyRows(0, n, ads, 1)
	measure := func(what string, rows int, work func()) {
		t.Helper()
		start, mine, its := time.Now(), ownCPU(t), server.CPU(t)
		work()
		took := time.Since(start)
		mine, its = ownCPU(t)-mine, server.CPU(t)-its
		t.Logf("%-22s %8d rows in %7s: %7.0f rows/s; CPU a row: client %.2f µs, server %.2f µs", what, rows,
			took.Round(time.Millisecond), float64(rows)/took.Seconds(), mine.Seconds()/float64(rows)*1e6, its.Seconds()/float64(rows)*1e6)
	}
	measure("upsert by 100,000", n, func() {
		for part := range slices.Chunk(rows, block) {
			servingtest.Upsert(t, s, part...)
		}
	})
	measure("replace by 100,000", n, func() {
		for i := range rows {
			rows[i].Version++
		}
		for part := range slices.Chunk(rows, block) {
			servingtest.Upsert(t, s, part...)
		}
	})
	day := serving.Range{FromMillis: servingtest.Day, ToMillis: servingtest.Day + serving.DayMillis}
	for _, layer := range []serving.Layer{serving.Provisional, serving.Current} {
		measure("read "+string(layer), n, func() {
			if got := len(servingtest.Read(t, s, layer, day)); got != n {
				t.Errorf("%s: got %d rows, want %d", layer, got, n)
			}
		})
	}
	measure("export provisional", n, func() {
		if err := s.ExportParquet(t.Context(), serving.Provisional, day, filepath.Join(t.TempDir(), "rows.parquet")); err != nil {
			t.Fatal(err)
		}
	})
	measure("publish final", n, func() { servingtest.Publish(t, s, 1440, rows...) })
	for what, text := range map[string]string{
		"10 minutes of an advertiser":  "select click_minute, sum(unique_clicks) from %s.ad_clicks_hourly final where advertiser_id = 'adv-00042' and click_minute >= toDateTime('2026-11-10 00:10:00', 'UTC') and click_minute < toDateTime('2026-11-10 00:20:00', 'UTC') group by click_minute",
		"a day of an advertiser":       "select click_day, sum(unique_clicks) from %s.ad_clicks_by_day where advertiser_id = 'adv-00042' group by click_day",
		"the hours of all advertisers": "select click_hour, sum(unique_clicks) from %s.ad_clicks_by_hour group by click_hour",
	} {
		var took []time.Duration
		for range 20 {
			start := time.Now()
			query(t, s, text)
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		t.Logf("query, %-28s p50 %s, max %s", what, took[10].Round(time.Millisecond), took[19].Round(time.Millisecond))
	}
}
