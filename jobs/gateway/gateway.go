// Package gateway is the tracking endpoint: it records clicks and redirects browsers.
//
// GET /api/v1/clicks takes a click's parameters, appends one csp.adclick.v1.ClickEvent to the log and
// answers 302 once the log acknowledged it. What is wrong with a click's fields is judged downstream,
// where the record becomes a dead letter with its reason; the browser is redirected all the same.
//
//	302  recorded; Location is redirect_url
//	400  redirect_url is missing, is not an absolute http or https URL, or leads to a host not allowed
//	405  not a GET
//	414  the URL is longer than the limit
//	503  the log did not acknowledge in time; with Retry-After. The click may or may not be recorded:
//	     sent again with its click_id, it counts once
//
// GET /healthz answers 200 while the process lives, /readyz 200 while clicks can be recorded.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Appender writes one record to the log and returns when it is acknowledged. key and value belong to
// it from then on. An error does not mean that the record was not written.
type Appender interface {
	Append(ctx context.Context, key, value []byte, timestampMicros int64) error
}

// Deps are the gateway's collaborators.
type Deps struct {
	// Appender is the log. Required.
	Appender Appender
	// Ready returns nil if the log can be reached; default: it always can.
	Ready func(ctx context.Context) error
	// Now is the clock of received_at; default time.Now.
	Now func() time.Time
	// Logger gets starts, stops and outages; default none.
	Logger *slog.Logger
	// Listening is called once with the address, when requests are answered; default none.
	Listening func(addr net.Addr)
}

// Result counts the answers to requests for clicks.
type Result struct {
	Redirected  int64 `json:"redirected"`  // 302
	Refused     int64 `json:"refused"`     // 400, 414
	Unavailable int64 `json:"unavailable"` // 503
}

type counts struct{ redirected, refused, unavailable atomic.Int64 }

// Run serves until ctx is done, then answers what is under way and returns. The error is nil after an
// orderly stop. The appender is the caller's to close, after Run returned.
func Run(ctx context.Context, cfg Config, deps Deps) (Result, error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	if deps.Appender == nil {
		return Result{}, errors.New("gateway: no appender")
	}
	cfg = cfg.withDefaults()
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	h := newHandler(cfg, deps)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return Result{}, fmt.Errorf("gateway: listen on %s: %w", cfg.Listen, err)
	}
	err = serve(ctx, h, listener)
	return Result{
		Redirected:  h.counts.redirected.Load(),
		Refused:     h.counts.refused.Load(),
		Unavailable: h.counts.unavailable.Load(),
	}, err
}

func serve(ctx context.Context, h *handler, listener net.Listener) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: h.cfg.ReadHeaderTimeout,
		ReadTimeout:       h.cfg.ReadHeaderTimeout,
		WriteTimeout:      h.cfg.ReadHeaderTimeout + h.cfg.AppendTimeout + 5*time.Second,
		IdleTimeout:       h.cfg.IdleTimeout,
		MaxHeaderBytes:    headerBytesMax + h.cfg.URLBytesMax,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // peers' addresses
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	h.deps.Logger.Info("gateway listens", "job", "gateway", "address", listener.Addr().String())
	if h.deps.Listening != nil {
		h.deps.Listening(listener.Addr())
	}
	select {
	case err := <-failed:
		return fmt.Errorf("gateway: serve: %w", err)
	case <-ctx.Done():
	}
	h.draining.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.DrainTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("gateway: requests still under way after %s: %w", h.cfg.DrainTimeout, err),
			srv.Close())
	}
	h.deps.Logger.Info("gateway stopped", "job", "gateway")
	return nil
}
