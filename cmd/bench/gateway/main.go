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
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	seconds, rounds, workers int
	rate                     float64
	dir, nginx, out          string
}

// report is what a run found. Times are of the clients; CPU is a process's own, for each answer.
type report struct {
	CPUs            int     `json:"cpus"`
	Workers         int     `json:"workers"`
	Nginx           figures `json:"nginx"`
	Gateway         figures `json:"gateway"`
	GatewaySteady   figures `json:"gateway_steady"`
	RateRatio       float64 `json:"rate_ratio"`
	ClicksPerSync   float64 `json:"clicks_per_sync"`
	SyncMillis      float64 `json:"sync_millis_mean"`
	ShippedToBroker int64   `json:"shipped_to_broker"`
}

func main() {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	var s settings
	flag.IntVar(&s.seconds, "seconds", 10, "length of each attack")
	flag.IntVar(&s.rounds, "rounds", 3, "attacks on each, in turns; the median by rate counts")
	flag.IntVar(&s.workers, "workers", 32, "clients that wait for their answer before they ask again")
	flag.Float64Var(&s.rate, "rate", 0.8, "part of the highest rate at which the steady attack runs")
	flag.StringVar(&s.dir, "dir", "", "work folder, on the disk to measure (default: a new one in bin)")
	flag.StringVar(&s.nginx, "nginx", "nginx", "the nginx program")
	flag.StringVar(&s.out, "out", "bench-gateway.json", "where the figures go")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, s)
	stop()
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
	attack := func(to target, rate int, length time.Duration) (figures, error) {
		if err := ctx.Err(); err != nil {
			return figures{}, err
		}
		return to.attack(s.workers, rate, length)
	}
	length := time.Duration(s.seconds) * time.Second
	var nginx, gateway []figures
	for round := range s.rounds + 1 {
		// The first round warms up: connections, caches, the broker's topic.
		each := length
		if round == 0 {
			each = min(length, 3*time.Second)
		}
		n, err := attack(t.nginx, 0, each)
		if err != nil {
			return err
		}
		g, err := attack(t.gateway, 0, each)
		if err != nil {
			return err
		}
		if round > 0 {
			nginx, gateway = append(nginx, n), append(gateway, g)
			fmt.Fprintf(os.Stderr, "round %d: nginx %.0f/s, gateway %.0f/s, p99 %.2f ms\n", round, n.Rate, g.Rate, g.P99Millis)
		}
	}
	r.Nginx, r.Gateway = median(nginx), median(gateway)
	r.RateRatio = r.Gateway.Rate / r.Nginx.Rate
	var err error
	if r.GatewaySteady, err = attack(t.gateway, int(s.rate*r.Gateway.Rate), length); err != nil {
		return err
	}
	return t.synced(r)
}

func (r *report) write() {
	fmt.Printf("%d CPUs, %d clients; the load generator takes its part of them\n\n", r.CPUs, r.Workers)
	fmt.Printf("%-26s %9s %9s %9s %9s %9s %12s %9s\n", "", "answers/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "CPU us each", "failed")
	for _, row := range []struct {
		name string
		f    figures
	}{{"nginx, bare 302", r.Nginx}, {"gateway, synced 302", r.Gateway}, {"gateway, at a steady rate", r.GatewaySteady}} {
		f := row.f
		fmt.Printf("%-26s %9.0f %9.2f %9.2f %9.2f %9.2f %12.1f %9d\n", row.name, f.Rate, f.P50Millis, f.P99Millis, f.P999Millis,
			f.MaxMillis, f.CPUMicros, f.Failed)
	}
	fmt.Printf("\ngateway : nginx %.2f; %.1f clicks a sync of %.2f ms on average; %d records in the broker\n",
		r.RateRatio, r.ClicksPerSync, r.SyncMillis, r.ShippedToBroker)
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
