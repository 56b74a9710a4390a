package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/standalone"
	"github.com/clickledger/clickledger/jobs/stream"
)

func newStandaloneCommand(a *app) *cobra.Command {
	var stack standalone.StackConfig
	cmd := &cobra.Command{
		Use:   "standalone",
		Short: "Run gateway, stream, archive and dashboard on embedded parts until Ctrl-C",
		Long: `Runs an embedded Kafka-protocol broker, a private PostgreSQL and a DuckDB serving
store in --dir, with gateway, stream, archive and the dashboard working on them
in this process. 'clickledger token' with the file below makes tokens to sign in
there. Data stays in --dir; the next start goes on with it, after kill -9 too.

The file clickledger.yaml in --dir names all places, so that the batch side
works beside it: clickledger batch --config DIR/clickledger.yaml --date D, and
likewise reconcile, explain and sql.

Without keys for signed URLs and without --redirect-hosts, redirects lead to
hosts below .example only; clients on this machine are trusted proxies unless
--trusted-proxies names others. The write-ahead log is in --dir. SIGHUP reads
the files of keys and of countries again; the variable CLICK_URL_KEYS needs a
restart.

The embedded broker is meant for one machine; its authors call it a broker for
tests. Production takes a real Kafka by --log.`,
		Example: `  clickledger standalone --dir data
  clickledger standalone --dir data --listen 127.0.0.1:8088 --flush-interval 10s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runStandalone(a, cmd, stack) },
	}
	cmd.Flags().StringVar(&stack.Dir, "dir", "clickledger-data", "folder that holds everything")
	cmd.Flags().IntVar(&stack.Partitions, "partitions", 0, "partitions of the topics when they are created (default 4)")
	cmd.Flags().IntVar(&stack.KafkaPort, "kafka-port", 0, "port of the broker on 127.0.0.1 (default: a free one)")
	cmd.Flags().IntVar(&stack.LedgerPort, "ledger-port", 0, "port of PostgreSQL on 127.0.0.1 (default: a free one)")
	cmd.Flags().BoolVar(&stack.SyncWrites, "sync-writes", false, "the broker writes through to the disk before it acknowledges")
	addGroup(cmd, "gateway")
	addGroup(cmd, "api")
	addGroup(cmd, "stream")
	for _, name := range []string{"topic", "runner", "wal-dir"} { // it counts both, on prism; the log is in --dir
		_ = cmd.Flags().MarkHidden(name) // the flag is there
	}
	addGroup(cmd, "archiver")
	return cmd
}

func runStandalone(a *app, cmd *cobra.Command, stackConfig standalone.StackConfig) (err error) {
	cfg, logger, err := a.begin(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	reload, stopReload := reloadOn(cfg.Gateway) // before the files are read: a change from now on is seen
	defer stopReload()
	gatewayCfg, err := gatewayConfig(cfg.Gateway)
	if err != nil {
		return err
	}
	if gatewayCfg.Keys == nil && len(gatewayCfg.RedirectHosts) == 0 {
		logger.Info("neither url_keys_file nor redirect_hosts is set: redirects lead to hosts below .example only")
	}
	countries, err := openCountries(cfg.Gateway.CountryFile)
	if err != nil {
		return err
	}
	stackConfig.PolicyFile, stackConfig.Logger = cfg.Policy, quiet(logger)
	if stackConfig.Places.Settings, err = prepareAPI(cfg, stackConfig.Dir); err != nil {
		return err
	}
	stack, err := standalone.Open(ctx, stackConfig)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Close()) }()
	stopAPI, err := startAPI(ctx, cfg, stack, quiet(logger), func(addr net.Addr) {
		logger.Info("ready", "dashboard", "http://"+addr.String(),
			"token", os.Args[0]+" token --admin --config "+stack.Config())
	})
	if err != nil {
		return err
	}
	defer stopAPI()
	jobs := stack.Start(ctx, standalone.Config{
		Gateway: standalone.ForTrial(gatewayCfg),
		Stream:  streamConfig(cfg, false),
		Archive: archive.Config{Policy: cfg.BillingPolicy(), FlushInterval: cfg.Archiver.FlushInterval,
			MaxRecords: cfg.Archiver.MaxRecords, MaxBufferedBytes: int(cfg.Archiver.MaxBuffered)},
	}, standalone.Deps{Logger: quiet(logger), Countries: countries, Reload: reload,
		Listening: func(addr net.Addr) {
			logger.Info("ready", "gateway", "http://"+addr.String(), "config", stack.Config())
		},
		Streamed: func(s stream.Stats) { a.line.Report("judged clicks", s.Judged(), 0) },
	})
	result, err := jobs.Wait()
	if err != nil {
		return err
	}
	return a.result(result, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d redirected; %d records judged, %d archived in %d files\n",
			result.Gateway.Redirected, result.Stream.Judged(), result.Archive.Records, result.Archive.Files)
		return err
	})
}

// quiet keeps warnings and errors, where the parts' own chatter would hide what matters.
func quiet(logger *slog.Logger) *slog.Logger { return slog.New(leastWarn{logger.Handler()}) }

type leastWarn struct{ slog.Handler }

func (h leastWarn) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h leastWarn) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leastWarn{h.Handler.WithAttrs(attrs)}
}

func (h leastWarn) WithGroup(name string) slog.Handler { return leastWarn{h.Handler.WithGroup(name)} }
