package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Usage is what this process used since the clock was started.
type Usage struct {
	Wall, CPU time.Duration
	// PeakBytes is the most resident memory of the process since it began.
	PeakBytes int64
}

// Clock measures one stretch of work of this process.
type Clock struct {
	start time.Time
	cpu   time.Duration
}

// Start begins to measure.
func Start() (Clock, error) {
	cpu, err := CPU()
	return Clock{start: time.Now(), cpu: cpu}, err
}

// Stop returns what was used since Start.
func (c Clock) Stop() (Usage, error) {
	wall := time.Since(c.start)
	cpu, err := CPU()
	return Usage{Wall: wall, CPU: cpu - c.cpu, PeakBytes: peakBytes()}, err
}

// CPU is the user and system time of this process so far, by all its threads.
func CPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("rusage: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// peakBytes is VmHWM; where there is no /proc, 0: rusage's own figure may be the parent's.
func peakBytes() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, found := bytes.Cut(status, []byte("VmHWM:"))
	if !found {
		return 0
	}
	fields := bytes.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
