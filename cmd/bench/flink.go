package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/clickledger/clickledger/internal/bench"
	"github.com/clickledger/clickledger/internal/devflink"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas/policy"
)

// flinkDirVariable names the folder of a cluster that stays up after the measurement.
const flinkDirVariable = "CLICKLEDGER_BENCH_FLINK_DIR"

// flinkSample is a reading of the clocks while the stream runs on Flink.
type flinkSample struct {
	at     time.Time
	judged int64
	cpu    map[string]time.Duration // by process
}

// runFlink measures the stream on a Flink cluster of this machine, the transforms in this process, and
// prints its rate and the CPU of each process from when a tenth is judged until nine tenths are.
func runFlink(ctx context.Context, s *settings) (_ result, err error) {
	runtime.GOMAXPROCS(s.Threads)
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cluster := devflink.Config{Dir: os.Getenv(flinkDirVariable), Logger: logger}
	isKept := cluster.Dir != ""
	if !isKept {
		cluster.Dir = filepath.Join(s.Dir, "flink")
	}
	if err := devflink.Up(ctx, cluster); err != nil {
		return result{}, err
	}
	if !isKept {
		defer func() { err = errors.Join(err, devflink.Down(context.WithoutCancel(ctx), cluster)) }()
	}
	var samples []flinkSample
	deps := stream.Deps{Logger: logger, Progress: func(st stream.Stats) {
		if sample, err := sampleFlink(ctx, cluster, st.Judged()); err == nil {
			samples = append(samples, sample)
		}
	}}
	cfg := stream.Config{Log: s.URL, Policy: policy.Default(), RunID: nameFlink, UntilEnd: true, Flink: stream.FlinkConfig{
		REST: cluster.RESTURL(), JobService: cluster.JobService(), Name: "bench", Parallelism: 2}}
	var st stream.FlinkResult
	used, err := s.measured(nameFlink, func() (err error) {
		st, err = stream.RunOnFlink(ctx, cfg, deps)
		return err
	})
	if err != nil {
		return result{}, err
	}
	totals := bench.Totals{Records: st.Records, Billable: st.Billable, Duplicates: st.Duplicates, Invalid: st.Invalid,
		DeadLetters: st.DeadLetters, SpendMicros: st.SpendMicros}
	figures := bench.NewFigures(nameFlink, "stream pipeline on Flink from a tenth judged until nine tenths, CPU of the worker and of the cluster together",
		used, st.Rows, totals)
	err = steady(samples, st.Judged(), &figures)
	return result{Figures: figures}, err
}

func sampleFlink(ctx context.Context, cluster devflink.Config, judged int64) (flinkSample, error) {
	sample := flinkSample{at: time.Now(), judged: judged, cpu: map[string]time.Duration{}}
	worker, err := bench.CPU()
	if err != nil {
		return sample, err
	}
	sample.cpu["go worker"] = worker
	state, err := devflink.Status(ctx, cluster)
	for _, p := range state.Processes {
		sample.cpu[p.Name] = processCPU(p.PID)
	}
	return sample, err
}

// processCPU is the processor time that a process has used, 0 where the system does not say.
func processCPU(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// User and system time, in hundredths of a second, behind the name in brackets.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	var ticks int
	for _, field := range fields[11:13] {
		n, _ := strconv.Atoi(string(field))
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// steady puts the figures of the steady part in the place of those of the whole, which is mostly the
// start, and prints what each process took.
func steady(samples []flinkSample, total int64, f *bench.Figures) error {
	var first, last *flinkSample
	for i := range samples {
		switch s := &samples[i]; {
		case s.judged < total/10:
		case first == nil:
			first = s
		case s.judged <= total*9/10:
			last = s
		}
	}
	if first == nil || last == nil {
		return errors.New("the log is too short to see a steady part: give more --clicks")
	}
	n := float64(last.judged - first.judged)
	var together time.Duration
	fmt.Fprint(os.Stderr, "bench: stream-flink: CPU us a click:")
	for _, name := range []string{"go worker", devflink.TaskManager, devflink.JobManager, devflink.JobServer} {
		cpu := last.cpu[name] - first.cpu[name]
		together += cpu
		fmt.Fprintf(os.Stderr, " %s %.2f", name, cpu.Seconds()*1e6/n)
	}
	fmt.Fprintln(os.Stderr)
	f.WallSeconds, f.CPUSeconds = last.at.Sub(first.at).Seconds(), together.Seconds()
	f.ClicksPerSecond, f.CPUMicrosPerClick, f.Cores = n/f.WallSeconds, f.CPUSeconds*1e6/n, f.CPUSeconds/f.WallSeconds
	return nil
}
