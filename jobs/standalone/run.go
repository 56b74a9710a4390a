package standalone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/gateway"
	"github.com/clickledger/clickledger/jobs/stream"
)

// Config configures the jobs that run on the stack. The places are the stack's.
type Config struct {
	Gateway gateway.Config
	Stream  stream.Config
	Archive archive.Config
}

// ForTrial lets a gateway on this machine take the clicks of generate, and nothing that leads to the
// real world: redirects lead to hosts below example, a name that nobody can own, and clients on this
// machine count as trusted proxies, whose country header is believed and whose rate has no limit. What
// is configured stays as it is.
func ForTrial(c gateway.Config) gateway.Config {
	if c.Keys == nil && len(c.RedirectHosts) == 0 {
		c.RedirectHosts = []string{"*.example"}
	}
	if len(c.TrustedProxies) == 0 {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	return c
}

// Deps are what the jobs work with.
type Deps struct {
	Logger *slog.Logger
	// Countries tells the gateway countries. May be nil.
	Countries gateway.Countries
	// Reload says how keys and countries are read again. The zero value: never.
	Reload gateway.Reload
	// Listening is called with the gateway's address once it answers. May be nil.
	Listening func(net.Addr)
	// Streamed is called about once a second. May be nil.
	Streamed func(stream.Stats)
}

// Result is what the jobs did.
type Result struct {
	Gateway gateway.Result `json:"gateway"`
	Stream  stream.Stats   `json:"stream"`
	// Impressions is what the stream has counted of them.
	Impressions stream.Stats     `json:"impressions"`
	Archive     archive.Progress `json:"archive"`
}

// Jobs are the running jobs.
type Jobs struct {
	stack *Stack
	cfg   Config
	deps  Deps
	group *errgroup.Group

	stopGateway context.CancelFunc
	drain       chan struct{}
	drainOnce   sync.Once
	stopStream  context.CancelFunc
	stopArchive context.CancelFunc
	failed      context.Context

	gatewayDone, streamDone, archiveDone chan struct{}
	result                               Result
}

// Start starts gateway, stream and archiver. If one fails, all stop.
func (s *Stack) Start(ctx context.Context, cfg Config, deps Deps) *Jobs {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	j := &Jobs{stack: s, cfg: cfg, deps: deps, drain: make(chan struct{}),
		gatewayDone: make(chan struct{}), streamDone: make(chan struct{}), archiveDone: make(chan struct{})}
	j.group, j.failed = errgroup.WithContext(ctx)
	gatewayCtx, stopGateway := context.WithCancel(j.failed)
	streamCtx, stopStream := context.WithCancel(j.failed)
	archiveCtx, stopArchive := context.WithCancel(j.failed)
	j.stopGateway, j.stopStream, j.stopArchive = stopGateway, stopStream, stopArchive
	j.group.Go(func() error { defer close(j.gatewayDone); return named("gateway", j.runGateway(gatewayCtx)) })
	j.group.Go(func() error { defer close(j.streamDone); return named("stream", j.runStream(streamCtx)) })
	j.group.Go(func() error { defer close(j.archiveDone); return named("archive", j.runArchive(archiveCtx)) })
	return j
}

func named(job string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("%s: %w", job, err)
}

func (j *Jobs) runGateway(ctx context.Context) (err error) {
	options, err := kafkaio.ClientOptions(j.stack.brokers())
	if err != nil {
		return err
	}
	producer, err := gatewaykafka.Open(gatewaykafka.Config{Brokers: j.stack.brokers(), Client: options})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	cfg := j.cfg.Gateway
	cfg.WAL.Dir = filepath.Join(j.stack.Dir, "gateway")
	j.result.Gateway, err = gateway.Run(ctx, cfg, gateway.Deps{Producer: producer, Countries: j.deps.Countries,
		Reload: j.deps.Reload, Logger: j.deps.Logger, Listening: j.deps.Listening})
	return err
}

// runStream counts clicks and impressions.
func (j *Jobs) runStream(ctx context.Context) error {
	cfg := j.cfg.Stream
	cfg.Log = j.stack.Log
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		j.result.Stream, err = stream.Run(ctx, cfg, stream.Deps{Serving: j.stack.Store, Logger: j.deps.Logger,
			Progress: j.deps.Streamed, Drain: j.drain})
		return err
	})
	both.Go(func() (err error) {
		j.result.Impressions, err = stream.Run(ctx, cfg.OfImpressions(), stream.Deps{Serving: j.stack.Store, Logger: j.deps.Logger, Drain: j.drain})
		return err
	})
	return both.Wait()
}

func (j *Jobs) runArchive(ctx context.Context) (err error) {
	cfg := j.cfg.Archive
	cfg.Log, cfg.Archive = j.stack.Log, j.stack.Archive
	j.result.Archive, err = archive.Run(ctx, cfg, archive.Deps{Logger: j.deps.Logger})
	return err
}

// Wait waits until the jobs have ended: by the end of the context that they were started with, by
// Drain, or because one failed.
func (j *Jobs) Wait() (Result, error) {
	err := j.group.Wait()
	return j.result, err
}

// Drain ends the jobs one after the other, so that nothing is left between them: the gateway takes
// no more clicks, the stream judges and publishes all that is in the log, and the archiver writes
// it and the decisions on it.
func (j *Jobs) Drain(ctx context.Context) (Result, error) {
	j.stopGateway()
	if err := j.await(ctx, j.gatewayDone); err != nil {
		return j.result, err
	}
	j.drainOnce.Do(func() { close(j.drain) })
	if err := j.await(ctx, j.streamDone); err != nil {
		return j.result, err
	}
	j.stopStream()
	j.stopArchive()
	if _, err := j.Wait(); err != nil {
		return j.result, err
	}
	rest := j.cfg.Archive
	rest.Log, rest.Archive, rest.RunUntilEnd = j.stack.Log, j.stack.Archive, true
	done, err := archive.Run(ctx, rest, archive.Deps{Logger: j.deps.Logger})
	j.result.Archive = addProgress(j.result.Archive, done)
	return j.result, err
}

// await waits for a job that was told to end; a failure of any job ends the waiting.
func (j *Jobs) await(ctx context.Context, done chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-j.failed.Done():
		_, err := j.Wait()
		return err
	}
}

func addProgress(a, b archive.Progress) archive.Progress {
	return archive.Progress{Records: a.Records + b.Records, Clicks: a.Clicks + b.Clicks, DeadLetters: a.DeadLetters + b.DeadLetters,
		Decisions: a.Decisions + b.Decisions, DLQ: a.DLQ + b.DLQ, Undecodable: a.Undecodable + b.Undecodable, Files: a.Files + b.Files,
		Bytes: a.Bytes + b.Bytes, TakenOver: a.TakenOver + b.TakenOver}
}

// Listen returns a Listening function and a function that waits for its call.
func Listen() (listening func(net.Addr), address func(ctx context.Context, j *Jobs) (string, error)) {
	c := make(chan string, 1)
	return func(a net.Addr) { c <- a.String() }, func(ctx context.Context, j *Jobs) (string, error) {
		select {
		case a := <-c:
			return a, nil
		case <-ctx.Done():
			return "", ctx.Err()
		case <-j.failed.Done():
			_, err := j.Wait()
			return "", err
		case <-time.After(time.Minute):
			return "", errors.New("gateway: did not listen within a minute")
		}
	}
}
