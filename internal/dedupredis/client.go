// Package dedupredis keeps the click_ids of the stream in Redis: a claim.History by click_id, which
// several workers may write side by side.
//
// A shard's click_ids lie in hashes by period of log time, at least as long as a click_id is
// remembered, so two of them answer every question: the claim's own and the one before it. A value
// holds what the claims of its period need, the last winner before it included, and so a replay
// finds every period as it was. Redis' clock only bounds memory: a period that is gone while it is
// needed is ErrLost and never an unknown click_id, and so are writes that Redis has forgotten.
//
// In: claims in log order. Out: their owners, the same however often a claim comes. One round trip
// for click_ids that are new, a second one where a value changes.
package dedupredis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	dialTimeout = 2 * time.Second
	callTimeout = 10 * time.Second
	retryMin    = 20 * time.Millisecond
	retryMax    = time.Second
)

var (
	//go:embed claim.lua
	claimText string
	//go:embed settle.lua
	settleText string
	//go:embed lineage.lua
	lineageText string

	claimScript   = redis.NewScript(claimText)
	settleScript  = redis.NewScript(settleText)
	lineageScript = redis.NewScript(lineageText)
)

// ErrLost says that Redis no longer holds what this worker wrote: it was flushed, evicted, expired,
// or lost in a crash or a failover. Nothing wrong was written since; the job has to begin again and
// to replay the log, which brings it all back.
var ErrLost = errors.New("redis has lost click ids that were written to it")

// Options are how to reach Redis.
type Options struct {
	URL      string // redis:// or rediss://, with or without a password
	Password string // for a URL without one; may be empty
	// GiveUpAfter is how long a call waits for Redis to come back; 0 is until the context ends. Once
	// a call has given up, the client is done with Redis: later calls fail at once.
	GiveUpAfter time.Duration
	Logger      *slog.Logger // nil logs nothing
}

// Client is a connection pool. It is safe for concurrent use.
type Client struct {
	life context.Context // ends the waiting for Redis
	ctx  context.Context // of the calls, so that a job that is being stopped still judges what it has read
	db   *redis.Client
	opt  Options

	mu   sync.Mutex
	away time.Time // since when Redis has not answered; zero while it does
	gone error     // why it has been given up
}

// quiet is a logger of the Redis client's own messages, which tell nothing that is not an error here.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(quiet{}) }

// Open returns a client that waits for Redis while the context lives. It does not wait by itself.
func Open(ctx context.Context, opt Options) (*Client, error) {
	o, err := redis.ParseURL(opt.URL)
	if err != nil {
		return nil, errors.New("open redis: the url is malformed") // the cause may print its password
	}
	if o.Password == "" {
		o.Password = opt.Password
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, callTimeout, callTimeout
	o.MaxRetries, o.ContextTimeoutEnabled = -1, true // this package tries again
	o.DialerRetries, o.DisableIdentity = 1, true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &Client{life: ctx, ctx: context.WithoutCancel(ctx), db: redis.NewClient(o), opt: opt}, nil
}

// Close closes the connections.
func (c *Client) Close() error { return c.db.Close() }

// Lineage is the name under which a job's click_ids lie below a key: that of the job before it if
// this one begins no earlier in any partition and deals out to as many shards, and a new one, which
// candidate must make unique, otherwise.
func (c *Client) Lineage(key, candidate string, shards int, starts []int64) (string, error) {
	args := []any{candidate, shards, int64(lineageKeep.Seconds())}
	for _, s := range starts {
		args = append(args, s)
	}
	var name string
	err := c.do(func() (err error) {
		name, err = lineageScript.Run(c.ctx, c.db, []string{key}, args...).Text()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("join the lineage %s: %w", key, err)
	}
	return name, nil
}

// lineageKeep is how long a lineage is known after the last job began. A job that finds none begins
// a new one, and misses nothing: it replays what it needs.
const lineageKeep = 30 * 24 * time.Hour

// do calls Redis until it answers, for as long as is allowed.
func (c *Client) do(call func() error) error {
	if err := c.givenUp(); err != nil {
		return err
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = retryMin, retryMax
	_, err := backoff.Retry(c.life, func() (struct{}, error) {
		err := call()
		switch {
		case err == nil:
		case errors.Is(err, ErrLost) || strings.HasPrefix(err.Error(), "LOST"):
			err = backoff.Permanent(ErrLost)
		case !temporary(err):
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(c.opt.GiveUpAfter), backoff.WithNotify(c.noteAway))
	switch {
	case err == nil:
		c.noteBack()
	case c.opt.GiveUpAfter > 0 && temporary(err):
		c.mu.Lock()
		c.gone = fmt.Errorf("no answer within %s: %w", c.opt.GiveUpAfter, err)
		c.mu.Unlock()
	}
	return err
}

func (c *Client) givenUp() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

func (c *Client) noteAway(err error, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away.IsZero() {
		c.away = time.Now()
		c.opt.Logger.Warn("redis does not answer: the stream waits for it", "error", err)
	}
}

func (c *Client) noteBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.away.IsZero() {
		c.opt.Logger.Info("redis answers again", "away", time.Since(c.away).Round(time.Millisecond))
		c.away = time.Time{}
	}
}

// temporary reports whether another try may go better: whatever is not an answer of Redis may, and
// of its answers those that tell of its own state.
func temporary(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, redis.ErrClosed) || errors.Is(err, ErrLost) {
		return false
	}
	if _, isAnswer := errors.AsType[redis.Error](err); !isAnswer {
		return true
	}
	return redis.IsLoadingError(err) || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err) ||
		redis.IsTryAgainError(err) || redis.IsMasterDownError(err) || redis.IsMaxClientsError(err) ||
		redis.IsOOMError(err) || redis.IsNoReplicasError(err) ||
		strings.HasPrefix(err.Error(), "MISCONF") || strings.HasPrefix(err.Error(), "BUSY")
}
