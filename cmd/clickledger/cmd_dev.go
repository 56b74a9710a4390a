package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/internal/embedpg"
)

// devOptions are the flags that the commands of the group share.
type devOptions struct {
	dir      string
	portBase int
	only     []string
}

func newDevCommand(a *app) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "dev",
		Short: "Run the real services on this machine, without Docker",
		Long: `Runs Kafka, ClickHouse, an S3 gateway, Redis and PostgreSQL on 127.0.0.1, for
development and tests, and a Flink cluster if it is named. They are fetched once,
by the package managers, in pinned versions and held to pinned checksums. They go
on running until "dev down"; data, logs and the records of the processes are in
one folder.

The same services in Docker, on the same ports: scripts/compose.yaml.`,
		Example: `  clickledger dev up
  clickledger dev status
  clickledger dev down`,
	},
		newDevUpCommand(a),
		newDevStatusCommand(a),
		newDevDownCommand(a),
		newDevEnvCommand(a),
		newDevRecordCommand(),
		newDevPostgresCommand(a),
	)
}

// addDev defines the flags that name the folder, the ports and the services.
func addDev(cmd *cobra.Command, opts *devOptions) {
	cmd.Flags().StringVar(&opts.dir, "dir", "", "folder of the services' data, logs and process records (default: clickledger/dev in the user's state folder)")
	cmd.Flags().IntVar(&opts.portBase, "port-base", devservices.DefaultPortBase, "first of the ports; another one gives a second set of services, with another --dir")
	cmd.Flags().StringSliceVar(&opts.only, "only", nil, "names of `services`, separated by commas: kafka, clickhouse, s3, redis, postgres, flink (default: all but flink)")
}

// openDev returns the services and those of them that are selected.
func openDev(opts devOptions) (*devservices.Stack, []devservices.Part, error) {
	usage := func(err error) error { return &config.ExitError{Code: config.ExitUsage, Err: err} }
	dir, err := devDir(opts.dir)
	if err != nil {
		return nil, nil, usage(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	stack, err := devservices.New(devservices.Config{
		Dir: dir, CacheDir: filepath.Join(cache, "clickledger"), PortBase: opts.portBase,
		Recorder: []string{self, "dev", "record", "--"}, Postgres: []string{self, "dev", "postgres"},
	}, newDevFlink(dir, filepath.Join(cache, "clickledger"), opts.portBase))
	if err != nil {
		return nil, nil, usage(err)
	}
	parts, err := stack.Select(opts.only)
	if err != nil {
		return nil, nil, usage(err)
	}
	return stack, parts, nil
}

// running adds the optional parts that run to a selection of all: what was started by name is seen and
// ended without it.
func running(ctx context.Context, opts devOptions, stack *devservices.Stack, parts []devservices.Part) []devservices.Part {
	if len(opts.only) > 0 {
		return parts
	}
	for _, part := range stack.All()[len(parts):] {
		if s := part.State(ctx); s.PID != 0 {
			parts = append(parts, part)
		}
	}
	return parts
}

// devDir is the folder as an absolute path; by default it is where a user's programs keep their state.
func devDir(dir string) (string, error) {
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no default for --dir: %w", err)
		}
		state := filepath.Join(home, ".local", "state")
		if runtime.GOOS == "darwin" {
			state = filepath.Join(home, "Library", "Application Support")
		}
		dir = filepath.Join(cmp.Or(os.Getenv("XDG_STATE_HOME"), state), "clickledger", "dev")
	}
	return filepath.Abs(dir)
}

func newDevEnvCommand(a *app) *cobra.Command {
	var opts devOptions
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the environment that other clients of the services' S3 need",
		Long: `Prints the endpoint and the credentials of the development S3 service as the
standard AWS variables, for a shell: for tools that are not ours. Our commands
take the services from clickledger.yaml in the folder, or scripts/services.yaml.`,
		Example: `  eval "$(clickledger dev env)"
  clickledger dev env --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			stack, _, err := openDev(opts)
			if err != nil {
				return err
			}
			cfg := stack.Config()
			result := struct {
				Environment []string `json:"environment"`
			}{cfg.Environment()}
			return a.result(result, func(w io.Writer) error {
				_, err := io.WriteString(w, cfg.RenderEnvironment())
				return err
			})
		},
	}
	addDev(cmd, &opts)
	return cmd
}

// newDevRecordCommand is what `dev up` starts a service by: it notes its own process, and becomes
// the service.
func newDevRecordCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "record FILE SERVICE PROGRAM [ARGUMENT]...",
		Short:   "Note this process in a file, and become a program",
		Long:    "For use by `clickledger dev up`: it notes its own process before it becomes the service.",
		Example: "  clickledger dev record -- redis.json redis /usr/bin/redis-server",
		Hidden:  true,
		Args:    cobra.MinimumNArgs(3),
		RunE:    func(_ *cobra.Command, args []string) error { return devservices.Record(args[0], args[1], args[2:]) },
	}
}

// newDevPostgresCommand holds PostgreSQL, which ends with the process that started it.
func newDevPostgresCommand(a *app) *cobra.Command {
	var dir string
	var port int
	cmd := &cobra.Command{
		Use:     "postgres",
		Short:   "Serve a private PostgreSQL until SIGTERM",
		Long:    "For use by `clickledger dev up`: PostgreSQL ends with this process, and this process with PostgreSQL.",
		Example: "  clickledger dev postgres --dir data --port 29432",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger := slog.New(slog.NewTextHandler(a.err, nil))
			server, err := embedpg.Start(cmd.Context(), embedpg.Config{Dir: dir, Port: port, Logger: logger})
			if err != nil {
				return err
			}
			select {
			case <-cmd.Context().Done():
				return server.Stop()
			case <-server.Done():
				return errors.New("postgresql ended by itself: see postgresql.log in " + dir)
			}
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder of the data")
	cmd.Flags().IntVar(&port, "port", 0, "port on 127.0.0.1 (default: a free one)")
	return cmd
}
