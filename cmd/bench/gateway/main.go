// Command gateway measures the tracking gateway against nginx, in one run and on the same cores: the
// gateway with its write-ahead log on a disk and every click synced to it before the 302, nginx with a
// bare 302. The load is vegeta's, as a library. Gateway, broker and nginx are processes of their own, so
// that the CPU of each is known.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// The budget: at this part of nginx's rate or above it, the 99th percentile is below the limit.
	budgetRatio     = 1.0 / 3
	budgetP99Millis = 10.0
	// The search for the highest steady rate goes up from the budget's in these parts of nginx's rate,
	// or down if that is too high.
	searchStep  = 1.0 / 30
	searchTries = 6

	// generatorGC keeps the generator's own collections out of what it measures.
	generatorGC      = 500
	generatorBallast = 32 << 20
)

// searchClients are how many clients of wrk wait for their answers, in the search for the highest rate.
var searchClients = []int{8, 16, 32, 64, 96, 128, 160, 192, 256}

// settings are the flags.
type settings struct {
	seconds, steady, rounds, workers int
	rates                            string
	dir, nginx, wrk, out             string
}

// report is what a run found. Times are of the clients; CPU is a process's own, for each answer.
type report struct {
	CPUs    int     `json:"cpus"`
	Workers int     `json:"workers"`
	Nginx   figures `json:"nginx"`
	Gateway figures `json:"gateway"`
	// GatewaySteady are the attacks of the search, in their order; SteadyRate is the highest offered
	// rate at which the 99th percentile was below 10 ms and nothing failed, 0 if there was none.
	GatewaySteady   []figures `json:"gateway_steady"`
	SteadyRate      int       `json:"steady_rate"`
	RateRatio       float64   `json:"rate_ratio"`
	SteadyRatio     float64   `json:"steady_ratio"`
	ClicksPerSync   float64   `json:"clicks_per_sync"`
	SyncMillis      float64   `json:"sync_millis_mean"`
	ShippedToBroker int64     `json:"shipped_to_broker"`
}

func main() {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	var s settings
	flag.IntVar(&s.seconds, "seconds", 10, "length of each attack")
	flag.IntVar(&s.rounds, "rounds", 3, "attacks on each, in turns; the median by rate counts")
	flag.IntVar(&s.workers, "workers", 64, "clients that wait for their answer before they ask again")
	flag.IntVar(&s.steady, "steady", 15, "seconds of each attack at a steady rate")
	flag.StringVar(&s.rates, "rates", "", "steady rates, with commas, instead of the search for the highest that keeps to the limit")
	flag.StringVar(&s.dir, "dir", "", "work folder, on the disk to measure (default: a new one in bin)")
	flag.StringVar(&s.nginx, "nginx", "nginx", "the nginx program")
	flag.StringVar(&s.wrk, "wrk", "wrk", "the load generator wrk; where there is none, vegeta takes its part")
	flag.StringVar(&s.out, "out", "bench-gateway.json", "where the figures go")
	flag.Parse()
	debug.SetGCPercent(generatorGC)
	ballast := make([]byte, generatorBallast)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s)
	stop()
	runtime.KeepAlive(ballast)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-gateway:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) (err error) {
	nginx, err := exec.LookPath(s.nginx)
	if err != nil {
		return errors.New("nginx is not installed: it is the package nginx (apt-get install nginx-light, brew install nginx), or name the program with -nginx")
	}
	if s.dir == "" {
		if err := os.MkdirAll("bin", 0o755); err != nil {
			return err
		}
		if s.dir, err = os.MkdirTemp("bin", "bench-gateway-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	if s.wrk, err = exec.LookPath(s.wrk); err != nil {
		s.wrk = ""
		fmt.Fprintln(os.Stderr, "bench-gateway: wrk is not installed; vegeta, which takes its place, needs a core for itself")
	}
	targets, stop, err := startTargets(ctx, s, nginx)
	defer stop()
	if err != nil {
		return err
	}
	r := report{CPUs: runtime.NumCPU(), Workers: s.workers}
	if err := measure(ctx, s, targets, &r); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.out, append(text, '\n'), 0o644); err != nil {
		return err
	}
	r.write()
	return nil
}

func measure(ctx context.Context, s settings, t targets, r *report) error {
	length := time.Duration(s.seconds) * time.Second
	closed := func(to target, clients int, length time.Duration) (figures, error) {
		if s.wrk == "" {
			return to.attack(clients, 0, length)
		}
		return wrk{s.wrk, s.dir}.attack(ctx, to, clients, length)
	}
	var nginx, gateway []figures
	for round := range s.rounds + 1 {
		// The first round warms up: connections, caches, the broker's topic.
		each := length
		if round == 0 {
			each = min(length, 3*time.Second)
		}
		var both [2]figures
		for i, to := range []target{t.nginx, t.gateway} {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			if both[i], err = closed(to, s.workers, each); err != nil {
				return err
			}
		}
		if round > 0 {
			nginx, gateway = append(nginx, both[0]), append(gateway, both[1])
			fmt.Fprintf(os.Stderr, "round %d: nginx %.0f/s, gateway %.0f/s, p99 %.2f ms\n", round, both[0].Rate, both[1].Rate, both[1].P99Millis)
		}
	}
	r.Nginx, r.Gateway = median(nginx), median(gateway)
	r.RateRatio = r.Gateway.Rate / r.Nginx.Rate
	if s.wrk == "" || s.rates != "" {
		if err := search(ctx, s, t, r); err != nil {
			return err
		}
	} else {
		for _, clients := range searchClients {
			f, err := closed(t.gateway, clients, time.Duration(s.steady)*time.Second)
			if err != nil {
				return err
			}
			r.take(f)
		}
	}
	r.SteadyRatio = float64(r.SteadyRate) / r.Nginx.Rate
	return t.synced(r)
}

// search attacks the gateway at steady rates: from the budget's upwards until one is too high, or
// downwards until one is not.
func search(ctx context.Context, s settings, t targets, r *report) error {
	at := func(rate int) (bool, error) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		f, err := t.gateway.attack(s.workers, rate, time.Duration(s.steady)*time.Second)
		if err != nil {
			return false, err
		}
		return r.take(f), nil
	}
	if s.rates != "" {
		for text := range strings.SplitSeq(s.rates, ",") {
			rate, err := strconv.Atoi(text)
			if err != nil || rate < 1 {
				return fmt.Errorf("-rates: %q is not a rate", text)
			}
			if _, err := at(rate); err != nil {
				return err
			}
		}
		return nil
	}
	step, ratio := searchStep, budgetRatio
	for try := range searchTries {
		kept, err := at(int(math.Ceil(ratio * r.Nginx.Rate)))
		if err != nil {
			return err
		}
		if try == 0 && !kept {
			step = -searchStep
		} else if kept != (step > 0) {
			return nil
		}
		ratio += step
	}
	return nil
}

// take notes a steady attack, and reports whether it kept to the limit.
func (r *report) take(f figures) bool {
	r.GatewaySteady = append(r.GatewaySteady, f)
	fmt.Fprintf(os.Stderr, "steady %.0f/s: p99 %.2f ms, %.2f from the sending; cores: gateway %.2f, generator %.2f, others %.2f\n", f.Rate,
		f.P99Millis, f.SentP99Millis, f.CPUMicros*f.Rate/1e6, f.GeneratorCores, f.OtherCores)
	kept := f.P99Millis < budgetP99Millis && f.Failed == 0
	if kept {
		r.SteadyRate = max(r.SteadyRate, int(f.Rate))
	}
	return kept
}

func (r *report) write() {
	fmt.Printf("%d CPUs, %d clients; the load generator takes its part of them\n\n", r.CPUs, r.Workers)
	fmt.Printf("%-28s %9s %8s %8s %8s %8s %9s %8s %7s %7s %7s %7s\n", "", "answers/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms",
		"sent p99", "lag p99", "CPU us", "gen.", "others", "failed")
	row := func(name string, f figures) {
		fmt.Printf("%-28s %9.0f %8.2f %8.2f %8.2f %8.2f %9.2f %8.2f %7.1f %7.2f %7.2f %7d\n", name, f.Rate, f.P50Millis, f.P99Millis,
			f.P999Millis, f.MaxMillis, f.SentP99Millis, f.LagP99Millis, f.CPUMicros, f.GeneratorCores, f.OtherCores, f.Failed)
	}
	row("nginx, bare 302", r.Nginx)
	row("gateway, synced 302", r.Gateway)
	for _, f := range r.GatewaySteady {
		name := fmt.Sprintf("gateway, %d/s offered", f.Offered)
		if f.Offered == 0 {
			name = fmt.Sprintf("gateway, %d clients", f.Clients)
		}
		row(name, f)
	}
	fmt.Print("\nCPU us: the server's for each answer; gen., others: cores of the generator, and of all but it, server and broker\n",
		"latencies at an offered rate begin when the request was due; sent: when it was sent; lag: how late that was\n")
	fmt.Printf("\ngateway : nginx %.2f; %.1f clicks a sync of %.2f ms on average; %d records in the broker\n",
		r.RateRatio, r.ClicksPerSync, r.SyncMillis, r.ShippedToBroker)
	verdict := "kept"
	if r.SteadyRatio < budgetRatio {
		verdict = "not kept"
	}
	fmt.Printf("highest steady rate with p99 below %.0f ms: %d/s, %.2f of nginx; the budget of 1/3 is %s\n", budgetP99Millis, r.SteadyRate,
		r.SteadyRatio, verdict)
}

// interrupt ends a process that run started and waits for it.
func interrupt(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-done
	}
}
