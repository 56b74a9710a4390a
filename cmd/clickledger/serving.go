package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/servingduck"
)

// openServing opens the serving store, which the caller closes. A DuckDB file belongs to one process:
// without mustOwn the store works through the process that has it.
func openServing(ctx context.Context, cfg *config.Config, logger *slog.Logger, mustOwn bool) (*servingduck.Store, error) {
	if !strings.HasPrefix(cfg.Serving, "duckdb:") {
		return nil, &config.ExitError{
			Code: config.ExitUsage,
			Err:  errors.New("serving: " + config.Redact(cfg.Serving) + " is not supported yet; expected duckdb:///file"),
		}
	}
	return servingduck.Open(ctx, cfg.Serving, servingduck.Options{Logger: logger, MustOwn: mustOwn})
}
