// Package api serves the analytics API and the dashboard page: an advertiser's numbers, out of the
// serving store, the ledger and the archive. It only reads.
//
//	GET /api/v1/session                        what the bearer's token says
//	GET /api/v1/advertisers/analytics          clicks, spend, impressions and CTR over time
//	GET /api/v1/advertisers/top                the campaigns or ads with the highest spend
//	GET /api/v1/advertisers/invalid-traffic    invalid clicks and duplicates, and rules that hit
//	GET /api/v1/advertisers/balance            the account in the ledger
//	GET /api/v1/advertisers/statement          a month's statement
//	GET /api/v1/reconciliations/latest         the last reconciliation, with its causes
//	GET /openapi.json                          this, as an OpenAPI document
//	GET /healthz, /readyz, /metrics, and / the page
//
// Everything below /api/ needs a bearer token. Its claim advertiser_id says whose numbers it opens;
// with the role admin it opens all. Errors are problems as RFC 9457 has them; a 400 lists every bad
// parameter. Answers have an ETag.
//
// Money is int64 micros; total_spend is decimal, micros rounded half to even to four places. Times are
// Unix seconds, UTC. Points are whole buckets: a range is widened to whole ones.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/internal/httpconn"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/schemas/serving"
)

// Store is what the API needs of the serving store.
type Store interface {
	Query(ctx context.Context, query string, args ...any) (*serving.Table, error)
}

// Tokens checks a bearer's token. Errors about the token wrap bearer.ErrInvalid; bearer.ErrUnavailable
// says nothing about it.
type Tokens interface {
	Verify(ctx context.Context, token string) (bearer.Claims, error)
}

// Ledger is what the API needs of the ledger.
type Ledger interface {
	Balance(ctx context.Context, advertiserID string) (ledgerpg.Balance, error)
}

// Archive is what the batch layer has found out.
type Archive interface {
	// Reconciliation returns the newest one, of the day if it is not empty (YYYY-MM-DD), as the advertiser
	// may see it; without an advertiser the whole. ErrNotFound where there is none.
	Reconciliation(ctx context.Context, day, advertiserID string) (*Reconciliation, error)
	// InvalidByRule counts an advertiser's invalid clicks by rule, over the days (YYYY-MM-DD).
	InvalidByRule(ctx context.Context, advertiserID string, days []string) (RuleCounts, error)
}

// Statements makes an advertiser's statement of a month: the document in the format (html, csv, json).
// ErrNotFound where he has no account.
type Statements interface {
	Statement(ctx context.Context, advertiserID string, month time.Time, format string) ([]byte, error)
}

// ErrNotFound says that what was asked for is not there.
var ErrNotFound = errors.New("not found")

// Deps are the API's collaborators.
type Deps struct {
	// Store is the serving store, SQL the statements of its dialect by name. Required.
	Store Store
	SQL   func(name string) string
	// Tokens is required.
	Tokens Tokens
	// Ledger, Archive and Statements may be nil: what needs them answers 404.
	Ledger     Ledger
	Archive    Archive
	Statements Statements
	// Page serves what is not the API's; default none.
	Page http.Handler
	// Now is the clock of rate limits and durations; default time.Now.
	Now func() time.Time
	// Logger gets starts, stops and failures; default none.
	Logger *slog.Logger
	// Listening is called once with the address, when requests are answered; default none.
	Listening func(addr net.Addr)
}

func (d Deps) check() error {
	var errs []error
	if d.Store == nil || d.SQL == nil {
		errs = append(errs, errors.New("api: no serving store"))
	}
	if d.Tokens == nil {
		errs = append(errs, errors.New("api: nothing to check tokens by"))
	}
	return errors.Join(errs...)
}

func (d Deps) withDefaults() Deps {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d
}

// Result counts the answers to requests of the API.
type Result struct {
	Answered int64 `json:"answered"` // 2xx and 304
	Refused  int64 `json:"refused"`  // 4xx
	Failed   int64 `json:"failed"`   // 5xx
}

// Run serves until ctx is done, then answers what is under way and returns. The error is nil after an
// orderly stop. Store and ledger are the caller's to close, after Run returned.
func Run(ctx context.Context, cfg Config, deps Deps) (Result, error) {
	h, err := NewHandler(cfg, deps)
	if err != nil {
		return Result{}, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", h.cfg.Listen)
	if err != nil {
		return Result{}, fmt.Errorf("api: listen on %s: %w", h.cfg.Listen, err)
	}
	err = serve(ctx, h, listener)
	return h.Result(), err
}

func serve(ctx context.Context, h *Handler, listener net.Listener) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: h.cfg.ReadHeaderTimeout,
		ReadTimeout:       h.cfg.ReadHeaderTimeout,
		WriteTimeout:      h.cfg.ReadHeaderTimeout + h.cfg.QueryTimeout + 10*time.Second,
		IdleTimeout:       h.cfg.IdleTimeout,
		MaxHeaderBytes:    h.cfg.HeaderBytesMax,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // peers' addresses
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(httpconn.Listen(listener, unheard)) }()
	h.deps.Logger.Info("api listens", "job", "api", "address", listener.Addr().String())
	if h.deps.Listening != nil {
		h.deps.Listening(listener.Addr())
	}
	select {
	case err := <-failed:
		return fmt.Errorf("api: serve: %w", err)
	case <-ctx.Done():
	}
	h.draining.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.DrainTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("api: requests still under way after %s: %w", h.cfg.DrainTimeout, err), srv.Close())
	}
	h.deps.Logger.Info("api stopped", "job", "api")
	return nil
}
