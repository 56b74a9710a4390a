package stream

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/clickledger/clickledger/internal/dedupredis"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/claim"
	"github.com/clickledger/clickledger/transforms/dedup"
)

// What the stream does while its store of click_ids does not answer.
const (
	DedupWait  = "wait"  // it stands still and goes on when the store is back
	DedupState = "state" // it goes on by its own state, which it keeps all along
)

const (
	// DefaultDedupPrefix begins the names of all keys in the store.
	DefaultDedupPrefix = "clickledger"
	// dedupPatience is how long the store may be away before state takes over, with DedupState.
	dedupPatience = 3 * time.Second
	// dedupMargin is what a period is kept beyond the time to live and the horizon of a replay.
	dedupMargin = 10 * time.Minute
	// dedupFormat changes with what the values in the store mean.
	dedupFormat = 1
	// dedupEnvironment is the variable with the password; redis-cli reads it too.
	dedupEnvironment = "REDISCLI_AUTH"
)

// Dedup says where the click_ids are kept that the stream has seen. The zero value is its state.
type Dedup struct {
	// URL is "state", which is the default, or a redis:// or rediss:// URL.
	URL string
	// PasswordFile has the password in its first line, for a URL without one. Without both it is
	// that of the environment variable REDISCLI_AUTH.
	PasswordFile string
	// Prefix begins the names of all keys; default DefaultDedupPrefix. Jobs on another log or by
	// another policy do not meet under the same prefix.
	Prefix string
	// OnFailure is DedupWait, which is the default, or DedupState.
	OnFailure string
}

func (d Dedup) isState() bool { return d.URL == "" || d.URL == "state" }

func (d Dedup) validate() []error {
	var problems []error
	if u, err := url.Parse(d.URL); !d.isState() && (err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Host == "") {
		problems = append(problems, errors.New("dedup: expected state or redis://host:port/db"))
	}
	if d.OnFailure != "" && d.OnFailure != DedupWait && d.OnFailure != DedupState {
		problems = append(problems, fmt.Errorf("dedup_on_failure: %q is neither %s nor %s", d.OnFailure, DedupWait, DedupState))
	}
	return problems
}

// openDedup opens the store of click_ids and finds the name under which this job's lie in it.
func (s *session) openDedup(ctx context.Context, brokers []string) error {
	d := s.cfg.Dedup
	if d.isState() {
		return nil
	}
	place, password, err := splitPassword(d.URL)
	if err != nil {
		return err
	}
	keepsState := d.OnFailure == DedupState
	s.redis, err = openRedis(ctx, place, password, d.PasswordFile, keepsState, s.deps.Logger)
	if err != nil {
		return err
	}
	log, err := kafkaio.TopicIdentity(ctx, brokers, schemas.TopicClicks)
	if err != nil {
		return err
	}
	id := xxh3.HashString128(fmt.Sprintf("%d %s %s", dedupFormat, log, s.cfg.Policy.Hash())).Bytes()
	key := cmp.Or(d.Prefix, DefaultDedupPrefix) + ":" + hex.EncodeToString(id[:8])
	candidate := make([]byte, 4)
	_, _ = rand.Read(candidate) // never fails
	starts := make([]int64, len(s.partitions))
	for i, p := range s.partitions {
		starts[i] = p.start
	}
	lineage, err := s.redis.Lineage(key, hex.EncodeToString(candidate), s.cfg.Shards, starts)
	if err != nil {
		if keepsState && ctx.Err() == nil {
			s.deps.Logger.Warn("redis is away at the start: state alone judges until the next one", "error", err)
			return nil
		}
		return err
	}
	s.dedup = dedup.StoreConfig{URL: place, PasswordFile: d.PasswordFile, RunID: s.cfg.RunID, Name: key + ":" + lineage,
		SpanMillis: dedup.SpanMillis(s.cfg.Policy), KeepMillis: (Horizon(s.cfg.Policy) + dedupMargin).Milliseconds(),
		KeepsState: keepsState}
	return nil
}

// splitPassword takes the password out of a URL: the rest may be part of a job graph.
func splitPassword(text string) (place, password string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", "", errors.New("dedup: the url is malformed")
	}
	password, isSet := u.User.Password()
	if isSet {
		u.User = url.User(u.User.Username())
		if u.User.Username() == "" {
			u.User = nil
		}
	}
	return u.String(), password, nil
}

func openRedis(ctx context.Context, place, password, file string, keepsState bool, logger *slog.Logger) (*dedupredis.Client, error) {
	if password == "" {
		var err error
		if password, err = secret(file, dedupEnvironment); err != nil {
			return nil, fmt.Errorf("read the password of dedup: %w", err)
		}
	}
	opt := dedupredis.Options{URL: place, Password: cmp.Or(password, os.Getenv(dedupEnvironment)), Logger: logger}
	if keepsState {
		opt.GiveUpAfter = dedupPatience
	}
	return dedupredis.Open(ctx, opt)
}

func init() {
	dedup.RegisterStores("redis", openStores)
	dedup.RegisterStores("rediss", openStores)
}

// remote holds the clients of jobs whose session is in another process, by their configuration.
var remote = struct {
	sync.Mutex
	clients map[dedup.StoreConfig]*dedupredis.Client
}{clients: map[dedup.StoreConfig]*dedupredis.Client{}}

// openStores opens the store of a job's workers: in its own process by its session, and elsewhere
// with the password of the file or of the environment.
func openStores(cfg dedup.StoreConfig) (func(shard int32) dedup.Store, error) {
	of := func(c *dedupredis.Client, shard int32) dedup.Store {
		return c.Shard(dedupredis.ShardConfig{Name: cfg.Name, Shard: shard,
			Span: time.Duration(cfg.SpanMillis) * time.Millisecond, Keep: time.Duration(cfg.KeepMillis) * time.Millisecond})
	}
	if s, err := sessionOf(cfg.RunID); err == nil {
		return func(shard int32) dedup.Store {
			return &sessionStore{of(s.redis, shard), s, cfg.KeepsState}
		}, nil
	}
	remote.Lock()
	defer remote.Unlock()
	client, ok := remote.clients[cfg]
	if !ok {
		var err error
		client, err = openRedis(context.Background(), cfg.URL, "", cfg.PasswordFile, cfg.KeepsState, slog.Default())
		if err != nil {
			return nil, err
		}
		remote.clients[cfg] = client
	}
	return func(shard int32) dedup.Store { return of(client, shard) }, nil
}

// sessionStore tells the session why its job ends, or that it goes on without the store.
type sessionStore struct {
	dedup.Store
	session    *session
	keepsState bool
}

func (s *sessionStore) Judge(claims []claim.Claim, owners []claim.Owner) error {
	err := s.Store.Judge(claims, owners)
	if err != nil && s.keepsState {
		s.session.deps.Logger.Warn("redis failed: state alone judges until the next start", "error", err)
		return err
	}
	return s.session.fail(err)
}
