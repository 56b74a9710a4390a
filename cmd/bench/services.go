package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/bench"
	"github.com/clickledger/clickledger/internal/devflink"
	"github.com/clickledger/clickledger/internal/devservices"
)

// flinkParallelism is that of the stream on Flink, whose cluster has two slots.
const flinkParallelism = 2

// serviceSettings are the flags of bench services.
type serviceSettings struct {
	Program  string    `json:"-"` // clickledger
	Runner   string    `json:"runner"`
	Rates    []float64 `json:"rates"` // offered, clicks per second
	Seconds  int       `json:"seconds"`
	WarmUp   int       `json:"warm_up_seconds"`
	Ads      int       `json:"ads"`
	Users    int       `json:"users"`
	PortBase int       `json:"-"`
	Extra    []string  `json:"stream_flags,omitempty"`
}

// serviceReport is bench-services.json.
type serviceReport struct {
	Machine  bench.Machine     `json:"machine"`
	Settings serviceSettings   `json:"settings"`
	Loads    []serviceFigures  `json:"loads"`
	Stream   json.RawMessage   `json:"stream"` // what the stream said of the whole run
	Versions map[string]string `json:"versions"`
}

// serviceFigures are those of one offered rate.
type serviceFigures struct {
	OfferedPerSecond  float64            `json:"offered_clicks_per_second"`
	AchievedPerSecond float64            `json:"achieved_clicks_per_second"` // acknowledged by the log
	Fresh             freshness          `json:"acknowledged_to_visible"`
	CPU               map[string]float64 `json:"cores"`                // by process
	PeakMiB           map[string]int64   `json:"peak_mib"`             // resident, by process
	CPUMicrosPerClick map[string]float64 `json:"cpu_micros_per_click"` // by process
}

// afterProbes is for how many seconds the load goes on after the last marked click is sent.
const afterProbes = 8

func servicesCommand() *cobra.Command {
	s := serviceSettings{Program: "bin/clickledger", Runner: "prism", Rates: []float64{11_574, 57_870}, Seconds: 60, WarmUp: 15,
		Ads: 200_000, Users: 500_000, PortBase: 33_000}
	var out string
	c := &cobra.Command{
		Use:   "services",
		Short: "measure freshness and CPU of the stream on real Kafka and ClickHouse at offered rates",
		Long: `Starts Kafka and ClickHouse (and Flink for --runner flink) by "clickledger dev up" in
a folder of its own, the stream, and a generator that keeps the offered rate in
real time. Five times a second a marked click is written; how long it takes from
its acknowledgement until a query finds its row is the freshness. The clicks that
are marked begin after a warm-up at the offered rate, which goes on until the
last of them is visible.`,
		Example: `  make bench-services
  bin/bench services --rates 11574 --seconds 30
  bin/bench services --runner flink --rates 11574`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := runServices(cmd.Context(), s)
			if err != nil {
				return err
			}
			doc, err := json.MarshalIndent(report, "", "  ")
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, append(doc, '\n'), 0o644); err != nil {
				return fmt.Errorf("write figures: %w", err)
			}
			return report.write(os.Stdout)
		},
	}
	f := c.Flags()
	f.StringVar(&s.Program, "program", s.Program, "the clickledger program")
	f.StringVar(&s.Runner, "runner", s.Runner, "runner of the stream: prism or flink")
	f.Float64SliceVar(&s.Rates, "rates", s.Rates, "offered rates, clicks per second")
	f.IntVar(&s.Seconds, "seconds", s.Seconds, "seconds of each rate")
	f.IntVar(&s.WarmUp, "warm-up", s.WarmUp, "seconds of each rate before the first marked click")
	f.IntVar(&s.Ads, "ads", s.Ads, "ads that are clicked")
	f.IntVar(&s.Users, "users", s.Users, "users that click")
	f.IntVar(&s.PortBase, "port-base", s.PortBase, "first port of the services")
	f.StringArrayVar(&s.Extra, "stream-flag", nil, "a flag more for the stream")
	f.StringVar(&out, "out", "bench-services.json", "file for the figures")
	return c
}

// serviceRun is one run of bench services.
type serviceRun struct {
	serviceSettings
	dir, config string
	pids        map[string]int // of the processes that are watched
	versions    map[string]string
}

func runServices(ctx context.Context, s serviceSettings) (_ *serviceReport, err error) {
	dir, err := os.MkdirTemp("", "clickledger-bench-services-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &serviceRun{serviceSettings: s, dir: dir, pids: map[string]int{}, versions: map[string]string{}}
	defer func() {
		// Not with ctx: what was started goes down, however the run ends.
		down := exec.CommandContext(context.WithoutCancel(ctx), s.Program, "dev", "down", "--dir", filepath.Join(dir, "services"), "--port-base", strconv.Itoa(s.PortBase))
		down.Stderr = os.Stderr
		err = errors.Join(err, down.Run())
	}()
	if err := r.up(ctx); err != nil {
		return nil, err
	}
	args := []string{"stream", "--config", r.config, "--runner", s.Runner, "--json"}
	if s.Runner == "flink" {
		args = append(args, "--flink-parallelism", strconv.Itoa(flinkParallelism))
	}
	stream := exec.CommandContext(ctx, s.Program, append(args, s.Extra...)...)
	var said bytes.Buffer
	stream.Stdout, stream.Stderr = &said, os.Stderr
	stream.Cancel = func() error { return stream.Process.Signal(os.Interrupt) }
	if err := stream.Start(); err != nil {
		return nil, fmt.Errorf("start the stream: %w", err)
	}
	r.pids["stream"] = stream.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- stream.Wait() }()
	report := &serviceReport{Settings: s, Versions: r.versions, Machine: bench.Machine{Cores: runtime.NumCPU(),
		GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}}
	err = r.loads(ctx, report)
	if stopErr := stream.Process.Signal(os.Interrupt); stopErr == nil {
		err = errors.Join(err, <-ended)
	} else {
		err = errors.Join(err, fmt.Errorf("the stream ended early: %w", <-ended))
	}
	if err == nil {
		report.Stream = said.Bytes()
	}
	return report, err
}

// up starts the services and makes their tables.
func (r *serviceRun) up(ctx context.Context) error {
	only := "kafka,clickhouse"
	if r.Runner == "flink" {
		only += ",flink"
	}
	out, err := r.clickledger(ctx, "dev", "up", "--dir", filepath.Join(r.dir, "services"), "--port-base", strconv.Itoa(r.PortBase),
		"--only", only, "--json")
	if err != nil {
		return err
	}
	var up struct {
		Config   string `json:"config"`
		Services []struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			PID     int    `json:"pid"`
		} `json:"services"`
	}
	if err := json.Unmarshal(out, &up); err != nil {
		return fmt.Errorf("read dev up: %w", err)
	}
	for _, s := range up.Services {
		r.versions[s.Name] = s.Version
		if s.PID != 0 {
			r.pids[s.Name] = s.PID
		}
	}
	if r.Runner == "flink" {
		if err := r.watchFlink(ctx); err != nil {
			return err
		}
	}
	r.config = up.Config
	_, err = r.clickledger(ctx, "migrate", "--config", r.config, "--ledger", "", "--json")
	return err
}

// watchFlink watches each process of the cluster in place of the one that dev up names.
func (r *serviceRun) watchFlink(ctx context.Context) error {
	state, err := devflink.Status(ctx, devflink.Config{Dir: filepath.Join(r.dir, "services", "data", "flink"),
		RESTPort: r.PortBase + devservices.PortFlinkREST, JobPort: r.PortBase + devservices.PortFlinkJob})
	if err != nil {
		return err
	}
	delete(r.pids, "flink")
	for _, p := range state.Processes {
		r.pids[p.Name] = p.PID
	}
	return nil
}

func (r *serviceRun) clickledger(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, r.Program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w", r.Program, args[0], err)
	}
	return out, nil
}

func (r *serviceRun) loads(ctx context.Context, report *serviceReport) error {
	p, err := openProber(ctx, r.config)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.warmUp(ctx); err != nil {
		return err
	}
	for i, rate := range r.Rates {
		fmt.Fprintf(os.Stderr, "bench: %.0f clicks/s for %d s\n", rate, r.Seconds)
		figures, err := r.load(ctx, p, i, rate)
		if err != nil {
			return err
		}
		report.Loads = append(report.Loads, figures)
	}
	return nil
}

func (r *serviceRun) load(ctx context.Context, p *prober, seed int, rate float64) (serviceFigures, error) {
	f := serviceFigures{OfferedPerSecond: rate, CPU: map[string]float64{}, PeakMiB: map[string]int64{}, CPUMicrosPerClick: map[string]float64{}}
	clicks := int64(rate * float64(r.WarmUp+r.Seconds+afterProbes))
	generator := exec.CommandContext(ctx, r.Program, "generate", "--config", r.config, "--clicks", strconv.FormatInt(clicks, 10),
		"--rate", strconv.FormatFloat(rate, 'f', -1, 64), "--pace", "--ads", strconv.Itoa(r.Ads), "--users", strconv.Itoa(r.Users),
		"--seed", strconv.Itoa(seed+1), "--json")
	var said bytes.Buffer
	generator.Stdout, generator.Stderr = &said, io.Discard
	before := r.sample()
	start := time.Now()
	if err := generator.Start(); err != nil {
		return f, fmt.Errorf("start the generator: %w", err)
	}
	probing, stop := context.WithCancel(ctx)
	defer stop()
	probes := make(chan error, 1)
	go func() {
		var err error
		f.Fresh, err = p.measure(probing, time.Duration(r.WarmUp)*time.Second, time.Duration(r.Seconds)*time.Second)
		probes <- err
	}()
	err := generator.Wait()
	wall := time.Since(start)
	after := r.sample()
	if err != nil {
		stop()
	}
	if err = errors.Join(err, <-probes); err != nil {
		return f, err
	}
	f.AchievedPerSecond = float64(clicks) / wall.Seconds()
	for name, a := range after {
		used := (a.cpu - before[name].cpu).Seconds()
		f.CPU[name] = used / wall.Seconds()
		f.CPUMicrosPerClick[name] = used * 1e6 / float64(clicks)
		f.PeakMiB[name] = a.peakBytes >> 20
	}
	return f, nil
}

func (r *serviceReport) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "offered/s\tacknowledged/s\tprobes\tp50 ms\tp99 ms\tmax ms\tprocess\tcores\tus CPU/click\tpeak MiB\t\n")
	for _, f := range r.Loads {
		first := fmt.Sprintf("%.0f\t%.0f\t%d\t%d\t%d\t%d", f.OfferedPerSecond, f.AchievedPerSecond, f.Fresh.Probes,
			f.Fresh.P50Millis, f.Fresh.P99Millis, f.Fresh.MaxMillis)
		for _, name := range sortedKeys(f.CPU) {
			fmt.Fprintf(t, "%s\t%s\t%.2f\t%.2f\t%d\t\n", first, name, f.CPU[name], f.CPUMicrosPerClick[name], f.PeakMiB[name])
			first = "\t\t\t\t\t"
		}
	}
	return t.Flush()
}
