package servingduck

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// benchRows are n rows from a minute on, ads to a minute.
func benchRows(fromMinute int64, n, ads int, version uint64) []schemas.MinuteRow {
	rows := make([]schemas.MinuteRow, n)
	for i := range rows {
		ad := i % ads
		rows[i] = schemas.MinuteRow{
			MinuteKey: schemas.MinuteKey{
				MinuteMillis: (fromMinute + int64(i/ads)) * schemas.MinuteMillis,
				AdvertiserID: fmt.Sprintf("adv-%05d", ad%5000), CampaignID: fmt.Sprintf("campaign-%06d", ad%20000),
				AdID: fmt.Sprintf("ad-%08d", ad), DeviceType: "mobile", CountryCode: "DE",
			},
			RawClicks: 5, UniqueClicks: 4, DuplicateClicks: 1, SpendMicros: 1_234_567, Version: version,
		}
	}
	return rows
}

// BenchmarkUpsert replaces and adds 100,000 rows a time in a table of 2 M: the first half are
// minutes that were published before, as the newest minutes of a stream are.
func BenchmarkUpsert(b *testing.B) {
	const ads, table, batch = 20_000, 2_000_000, 100_000
	path := filepath.Join(b.TempDir(), "serving.duckdb")
	s, err := Open(b.Context(), "duckdb://"+path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	minute := int64(29_000_000)
	for range table / batch {
		if err := s.Upsert(b.Context(), benchRows(minute, batch, ads, 1), serving.Progress{PolicyHash: "p"}); err != nil {
			b.Fatal(err)
		}
		minute += batch / ads
	}
	version, n, slowest := uint64(1), 0, time.Duration(0)
	for b.Loop() {
		version++
		minute -= batch / ads / 2
		rows := benchRows(minute, batch, ads, version)
		minute += batch / ads
		start := time.Now()
		if err := s.Upsert(b.Context(), rows, serving.Progress{PolicyHash: "p"}); err != nil {
			b.Fatal(err)
		}
		slowest = max(slowest, time.Since(start))
		n += batch
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(slowest.Seconds()*1000, "ms-max")
	if info, err := os.Stat(path); err == nil {
		b.ReportMetric(float64(info.Size())/1e6, "MB")
	}
}

// BenchmarkRows reads back 1 M rows in key order.
func BenchmarkRows(b *testing.B) {
	s, err := Open(b.Context(), "duckdb://"+filepath.Join(b.TempDir(), "serving.duckdb"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.Upsert(b.Context(), benchRows(0, 1_000_000, 20_000, 1), serving.Progress{}); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		for _, err := range s.Rows(b.Context(), serving.Current, serving.Range{FromMillis: 0, ToMillis: 1 << 50}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
