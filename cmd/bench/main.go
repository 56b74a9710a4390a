// Command bench measures in one run what the same job costs in four ways, each in a process of its
// own: a bare Go loop, the stream pipeline on prism off a broker, the batch pipeline from Parquet,
// and DuckDB's SQL over the same files. It prints the figures with their ratios, writes bench.json,
// and fails where the totals of the four differ. docs/benchmarks.md says more.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	s := settings{Settings: bench.Settings{Partitions: 4}}
	var out, only string
	var asJSON bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "bench",
		Short: "measure CPU per click of the bare loop, the stream, the batch and plain SQL",
		Args:  cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.Clicks < 1 || s.Ads < 1 || s.Users < 1 || s.EventRate <= 0 || s.Threads < 1 || s.Advertisers < 1 {
				return fmt.Errorf("--clicks, --ads, --users, --event-rate, --advertisers and --threads must be above zero")
			}
			s.SpanSeconds = float64(s.Clicks) / s.EventRate
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			var names []string
			if only != "" {
				names = strings.Split(only, ",")
			}
			report, err := runAll(ctx, s, names)
			if err != nil {
				return err
			}
			doc, err := json.MarshalIndent(report, "", "  ")
			if err != nil {
				return err
			}
			doc = append(doc, '\n')
			if err := os.WriteFile(out, doc, 0o644); err != nil {
				return fmt.Errorf("write figures: %w", err)
			}
			if asJSON {
				_, err = os.Stdout.Write(doc)
				return err
			}
			return report.Write(os.Stdout)
		},
	}
	f := c.Flags()
	f.Uint64Var(&s.Seed, "seed", 1, "seed of the log")
	f.Int64Var(&s.Clicks, "clicks", 2_000_000, "records of the log")
	f.IntVar(&s.Ads, "ads", 200_000, "ads that are clicked")
	f.IntVar(&s.Users, "users", 500_000, "users that click")
	f.Float64Var(&s.EventRate, "event-rate", 57_870, "clicks per second of event time; with --clicks it gives the time span")
	f.IntVar(&s.Advertisers, "advertisers", 1_000_000, "advertisers of a posting to the ledger")
	f.IntVar(&s.Threads, "threads", runtime.GOMAXPROCS(0), "threads of batch and SQL, and GOMAXPROCS of the stream")
	f.StringVar(&s.Profile, "profile", "", "folder for pprof profiles of CPU and allocations of every phase")
	f.StringVar(&out, "out", "bench.json", "file for the figures")
	f.StringVar(&only, "only", "", "measure these alone: loop,stream,stream+rows,batch,sql,post; or stream-flink, which needs Java, pip and mvn")
	f.BoolVar(&asJSON, "json", false, "print the figures as JSON")
	f.DurationVar(&timeout, "timeout", 10*time.Minute, "give up after so long")
	c.AddCommand(phaseCommand(), servicesCommand())
	return c
}
