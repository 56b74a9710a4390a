package generate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/clickledger/clickledger/internal/loadgen"
	"golang.org/x/sync/errgroup"
)

const (
	slipMicrosMin = 250_000 // how far behind the pace is made up for, rather than slipped
	probeTime     = 5 * time.Second
	retryFirst    = 50 * time.Millisecond
	retryLast     = 2 * time.Second
	progressEvery = 256
	statusNone    = "none"
)

// visit is one click or impression on its way to the gateway.
type visit struct {
	path, query                 string
	userAgent, referrer, nation string
	landing                     string // where a click must be redirected to; empty: an impression, which must be answered with 200
}

// isTaken says whether an answer is the right one.
func (v *visit) isTaken(status int, location string) bool {
	if v.landing == "" {
		return status == http.StatusOK
	}
	return status == http.StatusFound && location == v.landing
}

// client sends clicks and impressions to a gateway.
type client struct {
	cfg       Config
	base      url.URL
	transport *http.Transport

	mu       sync.Mutex
	result   *Result
	progress func(done int64)
}

func toGateway(ctx context.Context, cfg Config, deps Deps, gen *loadgen.Generator, r *Result) error {
	base, err := url.Parse(cfg.Gateway)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	c := &client{cfg: cfg, base: url.URL{Scheme: base.Scheme, Host: base.Host}, result: r,
		transport: &http.Transport{
			MaxIdleConns: cfg.Concurrency, MaxIdleConnsPerHost: cfg.Concurrency,
			MaxConnsPerHost: cfg.Concurrency, DisableCompression: true,
		},
		progress: func(done int64) { deps.Progress(stage, done, cfg.Load.Clicks) },
	}
	defer c.transport.CloseIdleConnections()
	if err := c.probe(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	visits := make(chan visit, 4*cfg.Concurrency)
	side := newSide(deps.Producer)
	group.Go(func() error { return side.write(ctx, c) })
	group.Go(func() error {
		defer close(visits)
		defer close(side.made)
		return errors.Join(c.dispatch(ctx, deps, gen, visits, side), side.flush(ctx))
	})
	for range cfg.Concurrency {
		group.Go(func() error {
			for v := range visits {
				if err := c.deliver(ctx, v); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if r.Refused > 0 {
		return fmt.Errorf("%w: %d of %d", ErrRefused, r.Refused, r.Redirected+r.Impressions+r.Refused)
	}
	return nil
}

// probe makes sure that there is a gateway at all.
func (c *client) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	target := c.base
	target.Path = "/healthz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return fmt.Errorf("gateway %s: %w", c.cfg.Gateway, err)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("gateway %s: not reachable: %w", c.cfg.Gateway, err)
	}
	if err := drain(resp); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("gateway %s: not a gateway: healthz answers %d", c.cfg.Gateway, resp.StatusCode)
	}
	return nil
}

// dispatch makes clicks and impressions at their times, and writes to the log what HTTP cannot carry, or
// is not to.
func (c *client) dispatch(
	ctx context.Context, deps Deps, gen *loadgen.Generator, visits chan<- visit, side *side,
) error {
	clock := newClock(c.cfg, deps.Now)
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.result.SlipMillis = clock.slipMicros / 1000
	}()
	var it loadgen.Item
	var text []byte
	for gen.Next(&it) {
		if err := c.now(ctx, clock, &it); err != nil {
			return err
		}
		if !it.Kind.HTTP() {
			if err := c.aside(ctx, deps, &it); err != nil {
				return err
			}
			continue
		}
		if it.IsImpression && !it.IsClicked && c.cfg.AudienceToLog {
			if err := side.add(ctx, &c.cfg, &it); err != nil {
				return err
			}
			continue
		}
		text = it.AppendURL(text[:0])
		path, query, _ := strings.Cut(string(text), "?")
		v := visit{
			path: path, query: query,
			userAgent: string(it.Click.UserAgent), referrer: string(it.Click.Referrer),
			nation: string(it.Click.CountryCode),
		}
		if !it.IsImpression {
			v.landing = it.Landing()
		}
		select {
		case visits <- v:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// now waits until a record is due and moves it to the present. Where the gateway does not keep up,
// the rest of the log slips: its clicks then happen later, instead of coming late.
func (c *client) now(ctx context.Context, clock *clock, it *loadgen.Item) error {
	shift := clock.now().UnixMicro() - it.ReceivedAtMicros
	if clock.pace {
		behind, err := clock.wait(ctx, it.ReceivedAtMicros)
		if err != nil {
			return err
		}
		if behind > slipMicrosMin {
			clock.slipMicros += behind
		}
		shift = clock.wallMicros - clock.startMicros + clock.slipMicros
	}
	it.Shift(shift - shift%1000) // whole milliseconds: distances between events stay as they are
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.result.FirstMillis == 0 {
		c.result.FirstMillis = it.ReceivedAtMicros / 1000
	}
	c.result.LastMillis = it.ReceivedAtMicros / 1000
	return nil
}

// aside takes a record that HTTP cannot carry.
func (c *client) aside(ctx context.Context, deps Deps, it *loadgen.Item) error {
	if c.cfg.BrokenToLog {
		var b batch
		b.add(&c.cfg, it, 0)
		if err := deps.Producer.ProduceAll(ctx, b.records); err != nil {
			return fmt.Errorf("write a broken record to the log: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.BrokenToLog {
		c.result.LogRecords++
	} else {
		c.result.Skipped++
	}
	c.report()
	return nil
}

// deliver sends a click or an impression until it is taken or refused for good.
func (c *client) deliver(ctx context.Context, v visit) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = retryFirst, retryLast
	tries := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		tries++
		return struct{}{}, c.send(ctx, v, tries > 1)
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(uint(c.cfg.Attempts)), backoff.WithMaxElapsedTime(0))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, errRefused):
		c.result.Refused++
	case err != nil:
		return fmt.Errorf("gateway %s: %s got no answer in %d requests: %w", c.cfg.Gateway, v.path, tries, err)
	case v.landing == "":
		c.result.Impressions++
		return nil // progress is that of the clicks
	default:
		c.result.Redirected++
	}
	c.report()
	return nil
}

var errRefused = errors.New("refused")

// send makes one request and checks the answer. An error is worth another try, unless it is permanent.
func (c *client) send(ctx context.Context, v visit, again bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	target := c.base
	target.Path, target.RawQuery = v.path, v.query
	req := (&http.Request{
		Method: http.MethodGet, URL: &target, Host: target.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header, 3),
	}).WithContext(ctx)
	req.Header["User-Agent"] = []string{v.userAgent}
	if v.referrer != "" {
		req.Header["Referer"] = []string{v.referrer}
	}
	if v.nation != "" {
		req.Header.Set(c.cfg.CountryHeader, v.nation)
	}
	status, location := statusNone, ""
	resp, err := c.transport.RoundTrip(req)
	if err == nil {
		status, location = strconv.Itoa(resp.StatusCode), resp.Header.Get("Location")
		err = drain(resp)
	}
	c.mu.Lock()
	c.result.Requests++
	c.result.Answers[status]++
	if again {
		c.result.Retries++
	}
	c.mu.Unlock()
	switch {
	case resp == nil:
		return fmt.Errorf("request: %w", err)
	case v.isTaken(resp.StatusCode, location):
		return nil // even if the connection broke after it
	case resp.StatusCode == http.StatusFound && v.landing != "":
		return backoff.Permanent(fmt.Errorf("%w: redirected to another page", errRefused))
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("answered with %s", status)
	}
	return backoff.Permanent(fmt.Errorf("%w: answered with %s", errRefused, status))
}

// report tells the progress now and then; the lock is held.
func (c *client) report() {
	r := c.result
	done := r.Redirected + r.Refused + r.Skipped + r.LogRecords
	if done%progressEvery == 0 || done == c.cfg.Load.Clicks {
		c.progress(done)
	}
}

func drain(resp *http.Response) error {
	_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	return err
}
