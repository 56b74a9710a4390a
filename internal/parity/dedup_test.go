package parity

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/clickledger/clickledger/internal/dedupredis"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/internal/redistest"
	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/claim"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
	"github.com/clickledger/clickledger/transforms/dedup"
)

// storeVariable puts a store of the tests in the place of the one in Redis: its kind, and after how
// many blocks that were claimed the process kills itself.
const storeVariable = "CLICKLEDGER_TEST_STREAM_STORE"

// useTestStore does what storeVariable says.
func useTestStore() {
	kind, after, ok := strings.Cut(os.Getenv(storeVariable), " ")
	if !ok {
		return
	}
	n, err := strconv.ParseInt(after, 10, 64)
	if err != nil {
		panic(err)
	}
	left := &atomic.Int64{}
	left.Store(n)
	dedup.RegisterStores("redis", func(cfg dedup.StoreConfig) (func(int32) dedup.Store, error) {
		return testStores(cfg, kind, left)
	})
}

func testStores(cfg dedup.StoreConfig, kind string, left *atomic.Int64) (func(int32) dedup.Store, error) {
	if kind == "setnx" {
		opt, err := redis.ParseURL(cfg.URL)
		if err != nil {
			return nil, err
		}
		db := redis.NewClient(opt)
		return func(int32) dedup.Store { return &mortal{&bareSetNX{db, cfg.Name}, left} }, nil
	}
	c, err := dedupredis.Open(context.Background(), dedupredis.Options{URL: cfg.URL})
	if err != nil {
		return nil, err
	}
	return func(shard int32) dedup.Store {
		return &mortal{c.Shard(dedupredis.ShardConfig{Name: cfg.Name, Shard: shard,
			Span: time.Duration(cfg.SpanMillis) * time.Millisecond, Keep: time.Duration(cfg.KeepMillis) * time.Millisecond}), left}
	}, nil
}

// mortal kills its process between claim and publication: when Redis has taken the claims, and
// nothing has been told of them.
type mortal struct {
	dedup.Store
	left *atomic.Int64 // blocks until then; never, if it begins below 1
}

func (m *mortal) Judge(claims []claim.Claim, owners []claim.Owner) error {
	if err := m.Store.Judge(claims, owners); err != nil {
		return err
	}
	if m.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
}

// bareSetNX is how not to do it: a click_id is seen or not seen, by whomever.
type bareSetNX struct {
	db   *redis.Client
	name string
}

func (b *bareSetNX) Judge(claims []claim.Claim, owners []claim.Owner) error {
	isNew := make([]*redis.BoolCmd, len(claims))
	_, err := b.db.Pipelined(context.Background(), func(p redis.Pipeliner) error {
		for i := range claims {
			isNew[i] = p.SetNX(context.Background(), b.name+string(claims[i].Key[:]), 1, time.Hour)
		}
		return nil
	})
	for i := range claims {
		owners[i] = claim.Owner{Position: schemas.Position{Offset: 1 << 40}} // nobody knows
		if isNew[i].Val() {
			owners[i] = claim.Owner{Position: claims[i].Position, Content: claims[i].Content}
		}
	}
	return err
}

func (*bareSetNX) Save() []byte      { return nil }
func (*bareSetNX) Load([]byte) error { return nil }

func newRedisBed(t *testing.T, p *policy.Policy) (*bed, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t)
	b := newBed(t, logPartitions, p)
	b.dedup = stream.Dedup{URL: server.URL}
	return b, server
}

// TestDedupInRedis judges seeded logs with the click_ids in Redis: rows and decisions are those of
// state, and where nothing is late the oracle's.
func TestDedupInRedis(t *testing.T) {
	random := rand.Uint64()
	for _, tc := range []struct {
		name   string
		log    seeded
		policy *policy.Policy
	}{
		{"fixed seed", seeded{seed: 1, clicks: 12_000, rate: 1.8}, policy.Default()},
		{"two revisions", seeded{seed: 2, clicks: 12_000, rate: 1.8}, parsePolicy(t, twoRevisions)},
		{"copies in other partitions", seeded{seed: 3, clicks: 8_000, rate: 1.2, isScattered: true}, policy.Default()},
		{"random seed", seeded{seed: random, clicks: 12_000, rate: 1.8}, policy.Default()},
		{"random seed, late", seeded{seed: random, clicks: 12_000, rate: 1.8, isLate: true}, parsePolicy(t, twoRevisions)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%+v", tc.log)
				}
			})
			b, _ := newRedisBed(t, tc.policy)
			l := tc.log.log(t)
			b.produce(l)
			b.stream()
			if !tc.log.isLate {
				b.checkStream(oracle.Judge(l.recs, tc.policy))
			}
			b.compareUninterrupted(rows(t, b.open(), serving.Provisional, always), b.decisions())
		})
	}
}

// TestCrashWithRedis ends the stream at random moments, as TestCrash does.
func TestCrashWithRedis(t *testing.T) {
	for _, isSoft := range []bool{false, true} {
		t.Run(fmt.Sprintf("by its context %t", isSoft), func(t *testing.T) {
			seed := rand.Uint64()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			})
			b, _ := newRedisBed(t, parsePolicy(t, shortMemory))
			g := newLive(seed, true)
			g.chunk()
			b.produce(&g.log)
			start := func() life { return b.process(shortMemory) }
			if isSoft {
				start = b.inProcess
			}
			b.interrupt(t, g, seed, start)
			b.compareUninterrupted(rows(t, b.open(), serving.Provisional, always), b.decisions())
		})
	}
}

// briefMemory is shortMemory with half the time to live: enough for the copies of a live log.
const briefMemory = `
revisions:
  - effective_from: 2020-01-01T00:00:00Z
    max_event_ahead: 5s
    dedup: {ttl: 20s, lookback: 25h}
    velocity: {window: 10s, max_clicks: 30, cooling: 90s}
    allowed_lateness: 30s
`

// crashAfterClaims has the stream die several times between claim and publication, and then run to
// its end. It returns the rows that were published, and those of the oracle.
func crashAfterClaims(t *testing.T, kind string) (got, want []schemas.MinuteRow) {
	t.Helper()
	b, _ := newRedisBed(t, parsePolicy(t, briefMemory))
	g := newLive(rand.Uint64(), false)
	for range 4 {
		g.chunk()
	}
	b.produce(&g.log)
	for _, blocks := range []int{1, 3, 8, 20} {
		t.Setenv(storeVariable, fmt.Sprint(kind, " ", blocks))
		b.process(briefMemory).wait()
	}
	t.Setenv(storeVariable, kind+" 0")
	b.process(briefMemory).drain()
	judged := oracle.Judge(g.log.recs, b.policy)
	if kind != "setnx" {
		b.checkDecisions(judged, b.decisions())
	}
	return bare(rows(t, b.open(), serving.Provisional, always)), judged.Rows(oracle.All)
}

// TestKillBetweenClaimAndPublish loses nothing and doubles nothing.
func TestKillBetweenClaimAndPublish(t *testing.T) {
	got, want := crashAfterClaims(t, "ours")
	sameRows(t, "killed after claims", got, want)
}

// TestBareSetNXLosesClicks is the same test with the store that everybody writes first. It must
// fail: what was claimed before the crash is a duplicate of itself after it.
func TestBareSetNXLosesClicks(t *testing.T) {
	got, want := crashAfterClaims(t, "setnx")
	count := func(list []schemas.MinuteRow) (n int64) {
		for _, row := range list {
			n += row.UniqueClicks
		}
		return n
	}
	if g, w := count(got), count(want); g >= w {
		t.Errorf("a bare SETNX bills %d clicks, of %d: the test of ours tests nothing", g, w)
	} else {
		t.Logf("a bare SETNX bills %d clicks of %d", g, w)
	}
}

// TestRedisRestarts kills Redis while the stream runs, and starts it again.
func TestRedisRestarts(t *testing.T) {
	b, server := newRedisBed(t, parsePolicy(t, shortMemory))
	g := newLive(rand.Uint64(), false)
	l := b.inProcess()
	for range chunks {
		g.chunk()
		b.produce(&g.log)
		time.Sleep(rand.N(100 * time.Millisecond)) // at any instant of judging it
		server.Kill()
		time.Sleep(rand.N(100 * time.Millisecond))
		server.Run()
	}
	l.drain()
	b.checkStream(oracle.Judge(g.log.recs, b.policy))
}

// watermark is how far the rows are published.
func watermark(t *testing.T, s serving.Store) int64 {
	t.Helper()
	p, err := s.LoadProgress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p.WatermarkMillis
}

// TestRedisAway takes Redis away for five seconds: the watermark stands still, and goes on with the
// same result.
func TestRedisAway(t *testing.T) {
	b, server := newRedisBed(t, parsePolicy(t, shortMemory))
	g := newLive(rand.Uint64(), false)
	g.chunk()
	b.produce(&g.log)
	l := b.inProcess()
	for watermark(t, l.store) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	server.Kill()
	next := noon + int64(g.n)*(chunkMillis+chunkGap)
	g.chunk()
	b.produce(&g.log)
	time.Sleep(time.Second) // for what was on its way
	before := watermark(t, l.store)
	time.Sleep(4 * time.Second)
	if after := watermark(t, l.store); after != before || after > next {
		t.Errorf("without Redis the watermark went from %d to %d; the clicks that wait begin at %d", before, after, next)
	}
	server.Run()
	l.drain()
	b.checkStream(oracle.Judge(g.log.recs, b.policy))
}

// TestStopWhileRedisIsAway: a stream that waits ends cleanly when it is told to, and goes on later.
func TestStopWhileRedisIsAway(t *testing.T) {
	b, server := newRedisBed(t, parsePolicy(t, shortMemory))
	g := newLive(rand.Uint64(), false)
	g.chunk()
	b.produce(&g.log)
	l := b.inProcess()
	for watermark(t, l.store) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	server.Kill()
	g.chunk()
	b.produce(&g.log)
	time.Sleep(500 * time.Millisecond)
	l.stop() // fails the test if the job returns an error
	server.Run()
	b.stream()
	b.checkStream(oracle.Judge(g.log.recs, b.policy))
}

// TestStateTakesOver goes on without Redis, which dies in the middle or is not there at all; the next
// life has it again.
func TestStateTakesOver(t *testing.T) {
	for _, isThere := range []bool{true, false} {
		t.Run(fmt.Sprintf("there at the start %t", isThere), func(t *testing.T) {
			b, server := newRedisBed(t, parsePolicy(t, shortMemory))
			b.dedup.OnFailure = stream.DedupState
			g := newLive(rand.Uint64(), false)
			g.chunk()
			b.produce(&g.log)
			if !isThere {
				server.Kill()
			}
			l := b.inProcess()
			for watermark(t, l.store) == 0 {
				time.Sleep(10 * time.Millisecond)
			}
			server.Kill()
			for range 3 {
				g.chunk()
				b.produce(&g.log)
			}
			l.drain()
			b.checkStream(oracle.Judge(g.log.recs, b.policy))
			server.Run()
			g.chunk()
			b.produce(&g.log)
			b.stream()
			b.checkStream(oracle.Judge(g.log.recs, b.policy))
		})
	}
}

// TestRedisForgets empties Redis under a running stream: the stream ends with that as its reason, has
// published nothing wrong, and its next life finds everything in the log.
func TestRedisForgets(t *testing.T) {
	b, server := newRedisBed(t, parsePolicy(t, shortMemory))
	g := newLive(rand.Uint64(), false)
	g.chunk()
	b.produce(&g.log)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	ended := make(chan error, 1)
	store := b.open()
	go func() {
		_, err := stream.Run(ctx, liveConfig(b.url, b.policy, b.runID("forgets"), b.dedup), stream.Deps{Serving: store})
		ended <- err
	}()
	for watermark(t, store) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	opt, err := redis.ParseURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	db := redis.NewClient(opt)
	defer db.Close()
	if err := db.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	for range chunks {
		g.chunk()
		b.produce(&g.log)
	}
	if err := <-ended; !errors.Is(err, dedupredis.ErrLost) {
		t.Errorf("got %v, want %v", err, dedupredis.ErrLost)
	}
	b.stream()
	b.checkStream(oracle.Judge(g.log.recs, b.policy))
}

// TestTwoStreamsOnOneRedis runs two jobs on one log at the same time, each with rows of its own: a
// zombie and the one that took over from it.
func TestTwoStreamsOnOneRedis(t *testing.T) {
	b, _ := newRedisBed(t, parsePolicy(t, shortMemory))
	g := newLive(rand.Uint64(), false)
	g.chunk()
	b.produce(&g.log)
	first := b.inProcess()
	other, err := servingduck.Open(b.ctx, "duckdb://"+filepath.Join(t.TempDir(), "other.duckdb"), servingduck.Options{MustOwn: true})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	drain, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := stream.Run(b.ctx, liveConfig(b.url, b.policy, b.runID("second"), b.dedup), stream.Deps{Serving: other, Drain: drain})
		ended <- err
	}()
	for range chunks - 1 {
		g.chunk()
		b.produce(&g.log)
	}
	first.drain()
	close(drain)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	want := oracle.Judge(g.log.recs, b.policy)
	b.checkStream(want)
	sameRows(t, "second", bare(slices.Clone(rows(t, other, serving.Provisional, always))), want.Rows(oracle.All))
}
