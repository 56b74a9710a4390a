package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/jobs/gateway"
	"github.com/clickledger/clickledger/schemas"
)

func newGatewayCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Serve the tracking endpoint: record each click in the log, then redirect",
		Long: `Serves GET /api/v1/clicks: a click's parameters become one record of the topic
clicks, and once the log has acknowledged it the browser is redirected (302) to
redirect_url. GET /healthz answers while the process lives, GET /readyz while
clicks can be recorded.

Runs until Ctrl-C, then answers the requests under way and prints the counts of
its answers.`,
		Example: `  clickledger gateway --log kafka://127.0.0.1:9092
  clickledger gateway --log kafka://broker:9092 --listen :8080 --redirect-hosts '*.shop.example'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runGateway(a, cmd) },
	}
	addGroup(cmd, "gateway")
	addKafka(cmd)
	return cmd
}

func gatewayConfig(cfg config.Gateway) gateway.Config {
	return gateway.Config{
		Listen:        cfg.Listen,
		Key:           schemas.ClickKey(cfg.Key),
		Salts:         cfg.Salts,
		RedirectHosts: cfg.RedirectHosts,
		CountryHeader: cfg.CountryHeader,
		AppendTimeout: cfg.AppendTimeout,
	}
}

func runGateway(a *app, cmd *cobra.Command) (err error) {
	cfg, logger, err := a.begin(cmd, "log")
	if err != nil {
		return err
	}
	brokers, err := kafkaio.ParseURL(cfg.Log)
	if err != nil {
		return err
	}
	options, err := kafkaio.ClientOptions(brokers)
	if err != nil {
		return err
	}
	producer, err := gatewaykafka.Open(cmd.Context(), gatewaykafka.Config{Brokers: brokers, Client: options})
	if err != nil {
		return err
	}
	result, err := gateway.Run(cmd.Context(), gatewayConfig(cfg.Gateway), gateway.Deps{
		Appender: producer, Ready: producer.Ready, Logger: logger,
	})
	if closeErr := producer.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return a.result(result, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d redirected, %d refused, %d unavailable\n",
			result.Redirected, result.Refused, result.Unavailable)
		return err
	})
}
