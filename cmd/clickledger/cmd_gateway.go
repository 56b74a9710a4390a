package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/geoip"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/signedurl"
	"github.com/clickledger/clickledger/internal/wal"
	"github.com/clickledger/clickledger/jobs/gateway"
	"github.com/clickledger/clickledger/schemas"
)

// urlKeys is the variable with the keys of signed URLs, where no file has them.
const urlKeys = "CLICK_URL_KEYS"

func newGatewayCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Serve the tracking endpoint: record each click, then redirect",
		Long: `Serves GET /api/v1/clicks: a click's parameters become one record of the topic
clicks. Once it is in the write-ahead log on the disk the browser is redirected
(302) to redirect_url; from there it is sent to Kafka, in order, also after a
crash or while Kafka is away. GET /api/v1/impressions does the same with an
impression and answers with a pixel. GET /healthz answers while the process
lives, GET /readyz while clicks can be recorded, GET /metrics with figures for
Prometheus.

With keys (gateway.url_keys_file or the variable CLICK_URL_KEYS) only URLs are
taken that clickledger url sign or your ad server signed: the signature covers
price, ids and target. Without keys the hosts that a redirect may lead to must
be named, and whoever makes a URL decides its price.

SIGHUP reads the file of keys and the file of countries again. One that cannot
be read is logged and changes nothing: what was read before stays in force.
The variable and all other settings need a restart.

Runs until Ctrl-C, then answers the requests under way, sends what is recorded
and prints the counts of its answers.`,
		Example: `  clickledger gateway --log kafka://broker:9092 --listen :8080 --url-keys-file keys.txt --wal-dir /var/lib/clickledger/wal
  clickledger gateway --log kafka://127.0.0.1:9092 --redirect-hosts shop.example,*.shop.example`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runGateway(a, cmd) },
	}
	addGroup(cmd, "gateway")
	addKafka(cmd)
	return cmd
}

func gatewayConfig(cfg config.Gateway) (gateway.Config, error) {
	c := gateway.Config{
		Listen:            cfg.Listen,
		WAL:               wal.Config{Dir: cfg.WALDir, MaxBytes: int64(cfg.WALMax)},
		Key:               schemas.ClickKey(cfg.Key),
		Salts:             cfg.Salts,
		RedirectHosts:     cfg.RedirectHosts,
		IgnoreIPParameter: cfg.IPParameter == "off",
		CountryHeader:     cfg.CountryHeader,
		Device:            cfg.Device,
		ClientRate:        cfg.ClientRate,
		MetricsListen:     cfg.MetricsListen,
		AppendTimeout:     cfg.AppendTimeout,
	}
	var err error
	if c.Keys, err = readURLKeys(cfg); err != nil {
		return c, err
	}
	for _, text := range cfg.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return c, &config.ExitError{Code: config.ExitUsage, Err: fmt.Errorf("gateway.trusted_proxies: %w", err)}
		}
		c.TrustedProxies = append(c.TrustedProxies, network.Masked())
	}
	return c, nil
}

// readURLKeys returns the keys of signed URLs, nil if there are none.
func readURLKeys(cfg config.Gateway) (keys *signedurl.Keys, err error) {
	text, set := os.LookupEnv(urlKeys)
	switch {
	case cfg.URLKeysFile != "":
		if keys, err = signedurl.ReadKeys(cfg.URLKeysFile); err != nil {
			err = fmt.Errorf("gateway.url_keys_file: %w", err)
		}
	case set:
		if keys, err = signedurl.ParseKeys(text); err != nil {
			err = fmt.Errorf("%s: %w", urlKeys, err)
		}
	}
	if err != nil {
		return nil, &config.ExitError{Code: config.ExitUsage, Err: err}
	}
	return keys, nil
}

// openCountries reads the file that tells countries; without one, the result is nil.
func openCountries(path string) (gateway.Countries, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no file is no mistake
	}
	db, err := geoip.Open(path)
	if err != nil {
		return nil, &config.ExitError{Code: config.ExitUsage, Err: fmt.Errorf("gateway.country_file: %w", err)}
	}
	return db, nil
}

// reloadOn lets SIGHUP read the gateway's files again, until stop. Without a file the signal does what it
// does to any process.
func reloadOn(cfg config.Gateway) (r gateway.Reload, stop func()) {
	if cfg.URLKeysFile == "" && cfg.CountryFile == "" {
		return r, func() {}
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	r.Asked = asked
	if cfg.URLKeysFile != "" {
		r.Keys = func() (*signedurl.Keys, error) { return readURLKeys(cfg) }
	}
	if cfg.CountryFile != "" {
		r.Countries = func() (gateway.Countries, error) { return openCountries(cfg.CountryFile) }
	}
	return r, func() { signal.Stop(asked) }
}

func runGateway(a *app, cmd *cobra.Command) (err error) {
	cfg, logger, err := a.begin(cmd, "log")
	if err != nil {
		return err
	}
	reload, stopReload := reloadOn(cfg.Gateway) // before the files are read: a change from now on is seen
	defer stopReload()
	gatewayCfg, err := gatewayConfig(cfg.Gateway)
	if err != nil {
		return err
	}
	if err := gatewayCfg.Validate(); err != nil {
		return &config.ExitError{Code: config.ExitUsage, Err: err}
	}
	brokers, err := kafkaio.ParseURL(cfg.Log)
	if err != nil {
		return err
	}
	options, err := kafkaio.ClientOptions(brokers)
	if err != nil {
		return err
	}
	countries, err := openCountries(cfg.Gateway.CountryFile)
	if err != nil {
		return err
	}
	producer, err := gatewaykafka.Open(gatewaykafka.Config{Brokers: brokers, Client: options})
	if err != nil {
		return err
	}
	gateway.OwnProcess()
	result, err := gateway.Run(cmd.Context(), gatewayCfg, gateway.Deps{Producer: producer, Countries: countries, Reload: reload,
		Logger: logger})
	if closeErr := producer.Close(); err == nil && result.Pending == 0 && !errors.Is(closeErr, context.DeadlineExceeded) {
		err = closeErr // what it still held is in the write-ahead log
	}
	if err != nil {
		return err
	}
	return a.result(result, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d redirected, %d impressions, %d refused, %d limited, %d unavailable; %d sent to Kafka, %d left for the next start\n",
			result.Redirected, result.Impressions, result.Refused, result.Limited, result.Unavailable, result.Shipped, result.Pending)
		return err
	})
}
