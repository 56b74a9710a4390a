package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/flinkrunner"
)

// defaultPool is where Beam's own pools listen too.
const defaultPool = "127.0.0.1:50000"

func newWorkerCommand(a *app) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "worker",
		Short: "Run transforms for a Flink cluster",
		Long: `Keeps workers on the hosts of a Flink cluster whose TaskManagers do not start them.
The environment process needs no such command: there a TaskManager starts this
program by itself.`,
		Example: `  clickledger worker pool`,
	}, newWorkerPoolCommand(a))
}

// poolResult is the result of worker pool.
type poolResult struct {
	Listen string `json:"listen"`
}

func newWorkerPoolCommand(a *app) *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "Keep workers for the TaskManagers of this host: --flink-environment external",
		Long: `Starts a worker in this process whenever a TaskManager asks for one. It is for hosts
whose TaskManagers must not start programs; one pool runs beside each, and
flink.worker_pool is its address as they see it. The pool has to be the same build
as the program that submits jobs.

Whoever reaches the address can have transforms run here, with this process's
secrets: it must not be open to strangers.

Passwords of the places are taken from this process's environment, or from the files
that the job's configuration names. One pool serves jobs of one kafka.user.

Runs until Ctrl-C.`,
		Example: `  clickledger worker pool
  clickledger worker pool --listen 127.0.0.1:50100
  clickledger stream --runner flink --flink-environment external --flink-worker-pool 127.0.0.1:50100`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, logger, err := a.begin(cmd)
			if err != nil {
				return err
			}
			return runWorkerPool(cmd.Context(), a, listen, logger)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", defaultPool, "`address` at which TaskManagers ask for workers")
	return cmd
}

func runWorkerPool(ctx context.Context, a *app, listen string, logger *slog.Logger) error {
	if err := flinkrunner.CheckAddress(listen); err != nil {
		return &config.ExitError{Code: config.ExitUsage, Err: fmt.Errorf("listen: %w", err)}
	}
	if err := flinkrunner.ServeWorkers(ctx, listen, logger); err != nil {
		return err
	}
	return a.result(poolResult{listen}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, "the pool has ended")
		return err
	})
}
