package reconcileduck

import (
	"syscall"
	"testing"
)

// peakMiB is the most memory that the process has had, where the system counts it in KiB.
func peakMiB(b *testing.B) float64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return float64(usage.Maxrss) / 1024
}
