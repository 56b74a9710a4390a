package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/ledgerpg"
)

// beginDay is begin for a job over one day of the archive. Problems of the configuration and of the
// date come together.
func (a *app) beginDay(cmd *cobra.Command, date string, require ...string) (*config.Config, *slog.Logger, time.Time, error) {
	cfg, logger, err := a.begin(cmd, append([]string{"archive"}, require...)...)
	day, dateErr := time.Parse(time.DateOnly, date)
	if dateErr != nil {
		problem := config.Problem{Key: "date", Source: "flag --date", Value: date, Expected: "a day like 2026-11-01"}
		var problems config.Problems
		if err == nil || errors.As(err, &problems) {
			err = append(config.Problems{problem}, problems...)
		}
	}
	if err == nil {
		err = archiveExists(cfg.Archive)
	}
	return cfg, logger, day, err
}

// archiveExists fails for a folder that is not there: opening an archive to write it creates the
// folder, but a job that reads must not take a misspelt one for an empty archive.
func archiveExists(archive string) error {
	u, err := url.Parse(archive)
	if err != nil || u.Scheme != "file" {
		return nil //nolint:nilerr // the configuration has checked the URL; a bucket is found out about when it is listed
	}
	info, err := os.Stat(u.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("archive %s: there is no such folder", archive)
	case err != nil:
		return fmt.Errorf("archive %s: %w", archive, err)
	case !info.IsDir():
		return fmt.Errorf("archive %s: not a folder", archive)
	}
	return nil
}

// openLedger opens the ledger that is configured, which the caller closes.
func openLedger(ctx context.Context, cfg *config.Config) (*ledgerpg.Ledger, error) {
	dsn, err := cfg.LedgerURL()
	if err != nil {
		return nil, err
	}
	ledger, err := ledgerpg.Open(ctx, dsn)
	return ledger, sayMigrate(err)
}

func sayMigrate(err error) error {
	if errors.Is(err, ledgerpg.ErrNotMigrated) {
		return fmt.Errorf("%w: `clickledger migrate` does that", err)
	}
	return err
}

// memoryLimit is DuckDB's limit as DuckDB reads it.
func memoryLimit(limit config.Bytes) string { return fmt.Sprintf("%dB", int64(limit)) }
