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
	var spent, cpu time.Duration
	for b.Loop() {
		begun, used := time.Now(), cpuTime(b)
		result, err := Compare(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		spent, cpu = spent+time.Since(begun), cpu+cpuTime(b)-used
		if want := int64((rows + 999) / 1000); result.Discrepancies != want {
			b.Fatalf("%d discrepancies, want %d", result.Discrepancies, want)
		}
	}
	b.ReportMetric(2*float64(rows)*float64(b.N)/spent.Seconds(), "rows/s")
	b.ReportMetric(float64(cpu.Microseconds())/(2*float64(rows)*float64(b.N)), "us-CPU/row")
	b.ReportMetric(cpu.Seconds()/spent.Seconds(), "cores")
	b.ReportMetric(peakMiB(b), "peak-MiB")
}
