package auditduck

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

const benchClicks, benchAds = 2_000_000, 200_000

// writeBench writes a day of clicks: 200,000 ads by a square law, 5 % copies, 500,000 users, a few
// attackers, one click in ten over IPv6.
func writeBench(b *testing.B, path string) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := parquet.NewGenericWriter[schemas.ArchiveClick](f, parquet.Compression(&parquet.Zstd))
	rng := rand.New(rand.NewPCG(1, 1))
	batch := make([]schemas.ArchiveClick, 0, 10_000)
	for i := range benchClicks {
		at := day + int64(i)*dayMillis/benchClicks
		u := rng.Float64()
		ad := int(u * u * benchAds)
		id := i
		if i > 1000 && rng.IntN(20) == 0 {
			id -= rng.IntN(1000)
		}
		user := rng.IntN(500_000)
		if rng.IntN(200) == 0 {
			user, ad = rng.IntN(3), 7
		}
		ip := fmt.Sprintf("10.%d.%d.%d", user>>16, user>>8&255, user&255)
		if user%10 == 0 {
			ip = fmt.Sprintf("2001:db8::%x:%x", user>>16, user&65535)
		}
		batch = append(batch, schemas.ArchiveClick{
			Offset: int64(i), ReceivedAt: at*1000 + rng.Int64N(1e6), EventTime: at, ClickID: fmt.Sprintf("01890b5c-%024x", id),
			AdID: fmt.Sprintf("ad-%08d", ad), AdvertiserID: fmt.Sprintf("adv-%05d", ad%5000), CampaignID: fmt.Sprintf("camp-%06d", ad%20000),
			UserID: fmt.Sprintf("user-%d", user), CostMicros: int64(ad%100) * 10_000, IPAddress: ip,
			UserAgent:  fmt.Sprintf("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/%d.0 Safari/537.36", user%400),
			DeviceType: []string{"mobile", "desktop"}[user%2], CountryCode: []string{"DE", "US", "FR", "GB"}[user%4],
			Timestamp: at, CostPerClick: float64(ad%100) / 100,
		})
		if len(batch) == cap(batch) || i == benchClicks-1 {
			if _, err := w.Write(batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDay runs the whole job of a day in SQL: 2 M clicks on 200,000 ads.
func BenchmarkDay(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "clicks.parquet")
	writeBench(b, path)
	in := Input{ClickFiles: []string{path}, DayStartMillis: day, DayEndMillis: day + dayMillis, Policy: policy.Default(), TempDir: dir}
	run := func(name string, job func() error) {
		b.Run(name, func(b *testing.B) {
			cpu := cpuTime(b)
			for b.Loop() {
				if err := job(); err != nil {
					b.Fatal(err)
				}
			}
			clicks := float64(b.N) * benchClicks
			b.ReportMetric(clicks/b.Elapsed().Seconds(), "clicks/s")
			b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/clicks, "cpu-us/click")
		})
	}
	run("totals", func() error {
		t, err := Audit(b.Context(), in)
		b.Logf("%d billable, %d duplicate, %d invalid", t.BillableClicks, t.DuplicateClicks, t.InvalidClicks)
		return err
	})
	run("minutes", func() error { return Minutes(b.Context(), in, filepath.Join(dir, "minutes.parquet")) })
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
