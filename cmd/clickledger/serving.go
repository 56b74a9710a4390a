package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/clickledger/clickledger/internal/clickhouseio"
	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/schemas/serving"
)

// openServing opens the serving store, which the caller closes: ClickHouse or a DuckDB file, by the
// URL. A DuckDB file belongs to one process: without mustOwn the store works through the process that
// has it.
func openServing(ctx context.Context, cfg *config.Config, logger *slog.Logger, mustOwn bool) (serving.Store, error) {
	place, err := cfg.ServingURL()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(place, "clickhouse:") {
		store, err := servingduck.Open(ctx, place, servingduck.Options{Logger: logger, MustOwn: mustOwn})
		if err != nil {
			return nil, err
		}
		return store, nil
	}
	store, err := clickhouseio.Open(ctx, place, clickhouseio.Options{Logger: logger})
	if errors.Is(err, clickhouseio.ErrNotMigrated) {
		err = fmt.Errorf("%w: `clickledger migrate` does that", err)
	}
	if err != nil {
		return nil, err
	}
	return store, nil
}

// migrateServing brings the store's tables up to date.
func migrateServing(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	place, err := cfg.ServingURL()
	if err != nil {
		return err
	}
	if strings.HasPrefix(place, "clickhouse:") {
		return clickhouseio.Migrate(ctx, place, clickhouseio.Options{Logger: logger})
	}
	store, err := openServing(ctx, cfg, logger, false) // which creates what is missing
	if err != nil {
		return err
	}
	return store.Close()
}
