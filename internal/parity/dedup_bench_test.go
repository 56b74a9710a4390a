package parity

import (
	"syscall"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/redistest"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas/policy"
)

// BenchmarkDedup runs the whole stream over one log by state, by Redis, and by Redis with state kept
// beside it. It prints microseconds of CPU a click: of this process, the broker included, and of Redis.
func BenchmarkDedup(b *testing.B) {
	server := redistest.Start(b)
	bed := newBed(b, logPartitions, policy.Default())
	l := seeded{seed: 1, clicks: 300_000, rate: 1000}.log(b)
	bed.produce(l)
	for _, mode := range []struct {
		name  string
		dedup stream.Dedup
	}{
		{"state", stream.Dedup{}},
		{"redis", stream.Dedup{URL: server.URL}},
		{"redis and state", stream.Dedup{URL: server.URL, OnFailure: stream.DedupState}},
	} {
		b.Run(mode.name, func(b *testing.B) {
			mine, theirs := benchCPU(b), server.CPU()
			clicks := int64(0)
			for b.Loop() {
				mode.dedup.Prefix = bed.runID("bench") // nothing is known of what came before
				st, err := stream.Run(bed.ctx, stream.Config{Log: bed.url, Policy: bed.policy, RunID: bed.runID("bench"),
					UntilEnd: true, Dedup: mode.dedup}, stream.Deps{})
				if err != nil {
					b.Fatal(err)
				}
				clicks += st.Records
			}
			b.ReportMetric(float64((benchCPU(b)-mine).Microseconds())/float64(clicks), "us-here/click")
			b.ReportMetric(float64((server.CPU()-theirs).Microseconds())/float64(clicks), "us-redis/click")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(clicks), "ns/click")
		})
	}
}

func benchCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
