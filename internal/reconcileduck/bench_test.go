package reconcileduck

import (
	"cmp"
	"os"
	"strconv"
	"testing"
	"time"
)

// BenchmarkCompare compares layers of many rows each, of which one in a thousand differs, and says
// how many rows of both it reads a second. CLICKLEDGER_BENCH_ROWS is the number a layer.
func BenchmarkCompare(b *testing.B) {
	rows, err := strconv.Atoi(cmp.Or(os.Getenv("CLICKLEDGER_BENCH_ROWS"), "1000000"))
	if err != nil {
		b.Fatal(err)
	}
	in := fixture(b, nil, rows)
	var spent time.Duration
	for b.Loop() {
		begun := time.Now()
		result, err := Compare(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		spent += time.Since(begun)
		if want := int64((rows + 999) / 1000); result.Discrepancies != want {
			b.Fatalf("%d discrepancies, want %d", result.Discrepancies, want)
		}
	}
	b.ReportMetric(2*float64(rows)*float64(b.N)/spent.Seconds(), "rows/s")
	b.ReportMetric(peakMiB(b), "peak-MiB")
}
