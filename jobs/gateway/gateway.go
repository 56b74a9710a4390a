// Package gateway is the tracking endpoint: it records clicks and impressions, and redirects browsers.
//
// GET /api/v1/clicks takes a click's parameters, writes one csp.adclick.v1.ClickEvent to a write-ahead
// log, and answers 302 once that is on the disk. GET /api/v1/impressions does the same with an
// impression, and answers with a GIF of one pixel. A shipper hands the write-ahead log over to Kafka,
// in its order, and frees what is acknowledged; what is left is shipped after a restart. So a record is
// in Kafka at least once, and copies have one click_id.
//
// What is wrong with a click's fields is judged downstream, where the record becomes a dead letter with
// its reason; the browser is redirected all the same.
//
//	302  recorded; Location is redirect_url
//	200  an impression is recorded
//	400  redirect_url is missing, is not an absolute http or https URL, or leads to a host not allowed;
//	     a parameter of a signed URL is given twice or badly encoded
//	403  keys are configured, and the URL is not signed, not as it was signed, or has expired
//	405  not a GET
//	408  the request did not end in time, its body included
//	413  the body is longer than the limit; none is used
//	414  the URL is longer than the limit
//	429  the client makes too many requests; with Retry-After
//	431  the headers are larger than the limit
//	503  the disk is full, the write-ahead log is at its limit or too slow; with Retry-After. The click
//	     may or may not be recorded: sent again with its click_id, it counts once
//
// GET /healthz answers 200 while the process lives, /readyz 200 while clicks can be recorded, /metrics
// with figures for Prometheus. Logs hold no address, no user and no URL.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/wal"
)

// Producer sends records to Kafka in their order and returns when all are acknowledged, or ctx is done.
// An error does not mean that none was written.
type Producer interface {
	Send(ctx context.Context, records []gatewaykafka.Record) error
}

// Countries finds the country of an address: two letters, or nothing.
type Countries interface {
	Country(addr netip.Addr) string
	Version() string
}

// Deps are the gateway's collaborators.
type Deps struct {
	// Producer is the way to Kafka. Required.
	Producer Producer
	// Countries finds countries; default: none are.
	Countries Countries
	// Reload says how the keys and the countries are read again; default: never.
	Reload Reload
	// Now is the clock of received_at; default time.Now.
	Now func() time.Time
	// Logger gets starts, stops and outages; default none.
	Logger *slog.Logger
	// Listening is called once with the address, when requests are answered; default none.
	Listening func(addr net.Addr)
}

// Result counts the answers to requests for clicks and impressions, and what became of the records.
type Result struct {
	Redirected  int64 `json:"redirected"`  // 302
	Impressions int64 `json:"impressions"` // 200
	Refused     int64 `json:"refused"`     // 400, 403, 405, 408, 413, 414
	Limited     int64 `json:"limited"`     // 429
	Unavailable int64 `json:"unavailable"` // 503
	// Shipped are the records that Kafka acknowledged, Pending those that wait in the write-ahead log.
	Shipped int64  `json:"shipped"`
	Pending uint64 `json:"pending"`
}

type counts struct{ redirected, impressions, refused, limited, unavailable atomic.Int64 }

// Run serves until ctx is done, then answers what is under way, ships what is recorded, and returns.
// The error is nil after an orderly stop, also if Kafka is away and records are left for the next
// start. The producer is the caller's to close, after Run returned.
func Run(ctx context.Context, cfg Config, deps Deps) (result Result, err error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	if deps.Producer == nil {
		return Result{}, errors.New("gateway: no producer")
	}
	cfg = cfg.withDefaults()
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Device == DeviceUserAgent {
		parser() // not while the first browser waits
	}
	m := newMetrics(deps)
	log, err := openLog(cfg, deps, m)
	if err != nil {
		return Result{}, fmt.Errorf("gateway: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	h := newHandler(cfg, deps, log, m)
	reloadCtx, stopReloading := context.WithCancel(ctx)
	defer stopReloading()
	go h.reloads(reloadCtx)
	s := &shipper{log: log, producer: deps.Producer, logger: deps.Logger, metrics: m}
	shipCtx, stopShipping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopShipping()
	shipped := make(chan struct{})
	go func() { defer close(shipped); s.run(shipCtx) }()

	err = serve(ctx, h)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout)
	defer cancel()
	left := s.drained(drain)
	stopShipping()
	<-shipped
	if left > 0 {
		deps.Logger.Warn("records are left in the write-ahead log for the next start", "job", "gateway", "records", left)
	}
	return Result{
		Redirected: h.counts.redirected.Load(), Impressions: h.counts.impressions.Load(),
		Refused: h.counts.refused.Load(), Limited: h.counts.limited.Load(), Unavailable: h.counts.unavailable.Load(),
		Shipped: s.shipped.Load(), Pending: left,
	}, err
}

// A collection takes 10 to 20 ms in which requests wait, on two busy cores: a hundred of them longer than
// 10 ms. What lives is some 10 MiB, the user agents' table above all; with gcPercent alone it was
// collected every 50 MiB of requests, which is more than once a second and one request of a hundred.
// The ballast is never touched, and so it takes no memory; it counts as alive, and lets the heap grow
// to some 250 MiB between two collections.
const (
	gcPercent    = 500
	ballastBytes = 32 << 20
)

var ballast atomic.Pointer[[ballastBytes]byte]

// OwnProcess sets the collector of garbage for a process that is a gateway and nothing else, unless
// the variable GOGC says how.
func OwnProcess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		ballast.Store(new([ballastBytes]byte))
	}
}

// openLog opens the write-ahead log and says what was found in it.
func openLog(cfg Config, deps Deps, m *metrics) (*wal.Log, error) {
	w := cfg.WAL
	w.Committed = m.committed
	w.Damaged = func(d wal.Damage) {
		m.damaged.Add(float64(d.Records))
		if d.Tail {
			deps.Logger.Info("the write-ahead log ended in a record that was not whole", "job", "gateway", "segment", d.Segment,
				"offset", d.Offset, "bytes", d.Bytes)
			return
		}
		deps.Logger.Error("records of the write-ahead log are lost; their segment is set aside", "job", "gateway",
			"segment", d.Segment, "offset", d.Offset, "bytes", d.Bytes, "records", d.Records)
	}
	log, found, err := wal.Open(w)
	if err != nil {
		return nil, err
	}
	m.watch(log)
	if found.Pending > 0 {
		deps.Logger.Info("shipping what the last run left in the write-ahead log", "job", "gateway", "records", found.Pending,
			"segments", found.Segments, "bytes", found.Bytes)
	}
	return log, nil
}

// serve answers requests until ctx is done and those under way are answered.
func serve(ctx context.Context, h *handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", h.cfg.Listen)
	if err != nil {
		return fmt.Errorf("gateway: listen on %s: %w", h.cfg.Listen, err)
	}
	servers := []*http.Server{newServer(h.cfg, h)}
	listeners := []net.Listener{&boundedListener{Listener: listener, max: h.cfg.ConnectionsMax, trusted: h.cfg.TrustedProxies,
		refused: h.metrics.refused.Inc, peers: map[netip.Addr]int{}}}
	if h.cfg.MetricsListen != "" {
		own, err := (&net.ListenConfig{}).Listen(ctx, "tcp", h.cfg.MetricsListen)
		if err != nil {
			return errors.Join(fmt.Errorf("gateway: listen on %s: %w", h.cfg.MetricsListen, err), listener.Close())
		}
		mux := http.NewServeMux()
		mux.Handle("GET "+metricsPath, promhttp.HandlerFor(h.metrics.registry, promhttp.HandlerOpts{}))
		servers, listeners = append(servers, newServer(h.cfg, mux)), append(listeners, own)
	}
	failed := make(chan error, len(servers))
	for i, srv := range servers {
		go func() { failed <- srv.Serve(listeners[i]) }()
	}
	h.deps.Logger.Info("gateway listens", "job", "gateway", "address", listener.Addr().String(), "device", deviceVersion,
		"signed", h.keys.Load() != nil)
	if h.deps.Listening != nil {
		h.deps.Listening(listener.Addr())
	}
	select {
	case err = <-failed:
		err = fmt.Errorf("gateway: serve: %w", err)
	case <-ctx.Done():
	}
	h.draining.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.DrainTimeout)
	defer cancel()
	for _, srv := range servers {
		if e := srv.Shutdown(drain); e != nil {
			err = errors.Join(err, fmt.Errorf("gateway: requests still under way after %s: %w", h.cfg.DrainTimeout, e), srv.Close())
		}
	}
	if err == nil {
		h.deps.Logger.Info("gateway stopped", "job", "gateway")
	}
	return err
}

func newServer(cfg Config, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout,
		ReadTimeout:       cfg.ReadHeaderTimeout,
		WriteTimeout:      cfg.ReadHeaderTimeout + cfg.AppendTimeout + 5*time.Second,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    headerBytesMax + cfg.URLBytesMax,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // peers' addresses
	}
}
