package reconcileduck

import (
	"syscall"
	"testing"
	"time"
)

func usage(b *testing.B) syscall.Rusage {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u
}

// peakMiB is the most memory that the process has had, where the system counts it in KiB.
func peakMiB(b *testing.B) float64 {
	b.Helper()
	u := usage(b)
	return float64(u.Maxrss) / 1024
}

// cpuTime is the user and system time of the process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	u := usage(b)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
