// Command clickledger turns a stream of ad clicks into a dashboard and a bill that agree. Every
// service and job is a subcommand; `clickledger help` lists them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/clickledger/clickledger/internal/flinkrunner"
)

func main() {
	if flinkrunner.IsWorker() {
		flinkrunner.Work() // a TaskManager has started this process to run transforms
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the job cleanly. From then on signals do what they do to any process,
	// so that a second Ctrl-C kills.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], streams{out: os.Stdout, err: os.Stderr, environ: os.Environ()}))
}
