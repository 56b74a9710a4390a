package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/dashboard"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/jobs/api"
	"github.com/clickledger/clickledger/jobs/api/archived"
	"github.com/clickledger/clickledger/jobs/standalone"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// secretFile holds the secret of tokens in a stack's folder, where none is configured.
const secretFile = "api.secret"

// prepareAPI sees to it that tokens can be made and checked beside a stack in the folder: without a
// secret or keys in the configuration it makes a secret, once. The settings are for the stack's
// configuration file.
func prepareAPI(cfg *config.Config, dir string) (settings map[string]string, err error) {
	settings = map[string]string{"api.listen": cfg.API.Listen, "api.audience": cfg.API.Audience}
	if cfg.API.TokenSecret != "" || cfg.API.JWKS != "" {
		return settings, nil // whoever set them knows them
	}
	path := cfg.API.TokenSecretFile
	if path == "" {
		path = filepath.Join(dir, secretFile)
		secret := make([]byte, bearer.SecretBytesMin)
		rand.Read(secret) // never fails
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("dir: %w", err)
		}
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case errors.Is(err, fs.ErrExist): // tokens that were made before stay good
		case err != nil:
			return nil, fmt.Errorf("make the secret of tokens: %w", err)
		default:
			_, err = file.WriteString(hex.EncodeToString(secret) + "\n")
			if err = errors.Join(err, file.Close()); err != nil {
				return nil, fmt.Errorf("make the secret of tokens: %w", err)
			}
		}
		cfg.API.TokenSecretFile = path
	}
	if settings["api.token_secret_file"], err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("api.token_secret_file: %w", err)
	}
	return settings, nil
}

// startAPI serves API and page on the stack, until stop is called. ready gets the address. Clicks are
// taken without it too, so what goes wrong later, such as a port that is taken, is logged only.
func startAPI(ctx context.Context, cfg *config.Config, stack *standalone.Stack, logger *slog.Logger, ready func(net.Addr)) (stop func(), err error) {
	tokens, err := openTokens(ctx, cfg, logger)
	if err != nil {
		return nil, err
	}
	reading := analystConfig(cfg)
	reading.Archive = cmp.Or(stack.Archive, reading.Archive)
	archive, err := archived.Open(ctx, archived.Config{Config: reading, Logger: logger})
	if err != nil {
		return nil, err
	}
	book, err := ledgerpg.OpenReader(ctx, stack.LedgerDSN)
	if err != nil {
		archive.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := api.Run(ctx, apiConfig(cfg), api.Deps{Store: stack.Store, SQL: sqlduck.SQL, Tokens: tokens, Ledger: book,
			Archive: archive, Statements: &archived.Statements{Config: reading, Book: book}, Page: dashboard.Handler(),
			Logger: logger, Listening: ready})
		if err != nil {
			logger.Error("the dashboard is not served: see --api-listen", "error", err)
		}
	}()
	return func() {
		cancel()
		<-ended
		book.Close()
		archive.Close()
	}, nil
}
