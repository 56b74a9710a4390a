package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/dashboard"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/jobs/api"
	"github.com/clickledger/clickledger/jobs/api/archived"
	sqlclickhouse "github.com/clickledger/clickledger/sql/clickhouse"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

func newAPICommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "api",
		Short: "Serve the analytics API and the dashboard page",
		Long: `Serves an advertiser's numbers out of the serving store: clicks, spend, impressions
and CTR over time (GET /api/v1/advertisers/analytics), top campaigns and ads,
invalid traffic; with --ledger balance and statement, with --archive the rules
that invalid clicks hit, and the last reconciliation. GET /openapi.json describes
it all, GET / is the dashboard page.

Callers present a JSON Web Token: by HS256 with the secret of api.token_secret_file
or CLICKLEDGER_API_TOKEN_SECRET, by RS256 or ES256 with a key of --api-jwks. The
claim advertiser_id names the advertiser that a token opens; with the claim role of
the value admin it opens all. 'clickledger token' makes tokens for development.

It only reads. Runs until Ctrl-C, then answers the requests under way. Put a proxy
with TLS in front where it is to be reached from elsewhere.`,
		Example: `  clickledger api --config clickledger.yaml
  clickledger api --serving clickhouse://ch:9000/csp_analytics --api-jwks https://id.example/.well-known/jwks.json
  curl -H "Authorization: Bearer $(clickledger token --config clickledger.yaml --admin)" http://127.0.0.1:8090/api/v1/session`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAPI(a, cmd) },
	}
	addGroup(cmd, "api")
	addSettings(cmd, "serving_password_file", "ledger_password_file", "batch.memory_limit", "batch.threads", "batch.temp_dir")
	addS3(cmd)
	return cmd
}

func runAPI(a *app, cmd *cobra.Command) (err error) {
	cfg, logger, err := a.begin(cmd, "serving")
	if err != nil {
		return err
	}
	tokens, err := openTokens(cmd.Context(), cfg, logger)
	if err != nil {
		return err
	}
	store, err := openServing(cmd.Context(), cfg, logger, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	deps := api.Deps{Store: store, SQL: dialect(cfg), Tokens: tokens, Page: dashboard.Handler(), Logger: logger}
	done, err := openBooks(cmd.Context(), cfg, logger, &deps)
	defer done()
	if err != nil {
		return err
	}
	result, err := api.Run(cmd.Context(), apiConfig(cfg), deps)
	if err != nil {
		return err
	}
	return a.result(result, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d answered, %d refused, %d failed\n", result.Answered, result.Refused, result.Failed)
		return err
	})
}

func apiConfig(cfg *config.Config) api.Config {
	return api.Config{Listen: cfg.API.Listen, RatePerSecond: cfg.API.Rate, QueryTimeout: cfg.API.QueryTimeout,
		Currency: cfg.LedgerCurrency}
}

// openTokens prepares to check tokens.
func openTokens(ctx context.Context, cfg *config.Config, logger *slog.Logger) (*bearer.Verifier, error) {
	secret, err := cfg.APISecret()
	if err != nil {
		return nil, err
	}
	if len(secret) == 0 && cfg.API.JWKS == "" {
		return nil, &config.ExitError{Code: config.ExitUsage, Err: errors.New(
			"nothing to check tokens by: set api.token_secret_file, CLICKLEDGER_API_TOKEN_SECRET or api.jwks")}
	}
	tokens, err := bearer.Open(ctx, bearer.Config{Secret: secret, JWKS: cfg.API.JWKS, Audience: cfg.API.Audience,
		Issuer: cfg.API.Issuer, Logger: logger})
	if err != nil {
		return nil, &config.ExitError{Code: config.ExitUsage, Err: err}
	}
	return tokens, nil
}

// dialect has the statements in the SQL of the serving store.
func dialect(cfg *config.Config) func(name string) string {
	if !strings.HasPrefix(cfg.Serving, "clickhouse:") {
		return sqlduck.SQL
	}
	database := sqlclickhouse.DefaultDatabase
	if _, path, ok := strings.Cut(strings.TrimPrefix(cfg.Serving, "clickhouse://"), "/"); ok {
		if name, _, _ := strings.Cut(path, "?"); name != "" {
			database = name
		}
	}
	return func(name string) string { return sqlclickhouse.SQL(name, database) }
}

// openBooks opens ledger and archive where they are configured. done closes them.
func openBooks(ctx context.Context, cfg *config.Config, logger *slog.Logger, deps *api.Deps) (done func(), err error) {
	var closers []func()
	done = func() {
		for _, c := range closers {
			c()
		}
	}
	if cfg.Archive != "" {
		if err := archiveExists(cfg.Archive); err != nil {
			return done, err
		}
		archive, err := archived.Open(ctx, archived.Config{Config: analystConfig(cfg), Logger: logger})
		if err != nil {
			return done, err
		}
		closers = append(closers, archive.Close)
		deps.Archive = archive
	}
	dsn, err := cfg.APILedgerURL()
	if err != nil {
		return done, err
	}
	if dsn != "" {
		book, err := ledgerpg.OpenReader(ctx, dsn)
		if err != nil {
			return done, sayMigrate(err)
		}
		closers = append(closers, book.Close)
		deps.Ledger, deps.Statements = book, &archived.Statements{Config: analystConfig(cfg), Book: book}
	}
	return done, nil
}
