package dedupredis

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/redistest"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/claim"
)

const (
	origin = 1_782_302_400_000
	keep   = 10 * time.Second
	span   = 11 * time.Second
)

// clicks makes a log of one shard with many copies, some just within the time to live of the one
// before and some beyond it, over many periods.
func clicks(rng *rand.Rand, n, ids int) []claim.Claim {
	all := make([]claim.Claim, n)
	log := int64(origin)
	for i := range all {
		log += rng.Int64N(200)
		if rng.IntN(100) == 0 {
			log += rng.Int64N(15_000)
		}
		var key schemas.Key128
		binary.LittleEndian.PutUint64(key[8:], uint64(1+rng.IntN(ids)))
		all[i] = claim.Claim{Key: key, Position: schemas.Position{Offset: int64(i)}, LogMillis: log,
			ReceivedMicros: log*1000 + rng.Int64N(9) - 4, KeepMicros: keep.Microseconds(), Content: rng.Uint64()}
	}
	return all
}

// plain judges in one walk.
func plain(all []claim.Claim) []claim.Owner {
	type entry struct {
		owner  claim.Owner
		anchor int64
	}
	seen := map[schemas.Key128]entry{}
	out := make([]claim.Owner, len(all))
	for i, c := range all {
		e, known := seen[c.Key]
		if !known || c.ReceivedMicros-e.anchor > c.KeepMicros {
			e = entry{claim.Owner{Position: c.Position, Content: c.Content}, c.ReceivedMicros}
		}
		e.anchor = max(e.anchor, c.ReceivedMicros)
		seen[c.Key] = e
		out[i] = e.owner
	}
	return out
}

func open(t testing.TB, s *redistest.Server, giveUp time.Duration) *Client {
	t.Helper()
	c, err := Open(t.Context(), Options{URL: s.URL, GiveUpAfter: giveUp})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func config(name string) ShardConfig {
	return ShardConfig{Name: name, Shard: 3, Span: span, Keep: time.Hour}
}

func check(t testing.TB, seed uint64, from int, got, want []claim.Owner) {
	t.Helper()
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("seed %d: claim %d: got %+v, want %+v", seed, from+i, got[i], want[i])
		}
	}
}

// TestReplay reads parts of the log again, from any place before what was judged: as after a crash
// between claim and publication, with later winners of the same click_ids in Redis.
func TestReplay(t *testing.T) {
	s := redistest.Start(t)
	c := open(t, s, 0)
	for n := range 10 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		all := clicks(rng, 3000, 40+rng.IntN(400))
		want := plain(all)
		shard := c.Shard(config(fmt.Sprint("replay", n)))
		owners := make([]claim.Owner, len(all))
		for done, from := 0, 0; from < len(all); {
			to := min(len(all), from+1+rng.IntN(300))
			if err := shard.Judge(all[from:to], owners[from:to]); err != nil {
				t.Fatal(err)
			}
			check(t, seed, from, owners[from:to], want[from:to])
			done, from = max(done, to), to
			if rng.IntN(4) == 0 { // crash
				from = rng.IntN(done)
				shard = c.Shard(config(fmt.Sprint("replay", n)))
			}
		}
	}
}

// TestTwoWorkers has two workers judge one shard at the same time, each at its own pace.
func TestTwoWorkers(t *testing.T) {
	s := redistest.Start(t)
	for n := range 6 {
		seed := rand.Uint64()
		all := clicks(rand.New(rand.NewPCG(seed, 2)), 4000, 50)
		want := plain(all)
		var wg sync.WaitGroup
		for w := range 2 {
			c := open(t, s, 0)
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(10+w)))
				shard := c.Shard(config(fmt.Sprint("two", n)))
				owners := make([]claim.Owner, len(all))
				for from := 0; from < len(all); {
					to := min(len(all), from+1+rng.IntN(60))
					if err := shard.Judge(all[from:to], owners[from:to]); err != nil {
						t.Error(err)
						return
					}
					from = to
				}
				for i := range owners {
					if owners[i] != want[i] {
						t.Errorf("seed %d: worker %d: claim %d: got %+v, want %+v", seed, w, i, owners[i], want[i])
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestLost takes away what was written, in ways that Redis itself does not tell.
func TestLost(t *testing.T) {
	s := redistest.Start(t)
	c := open(t, s, 0)
	all := clicks(rand.New(rand.NewPCG(1, 3)), 2000, 300)
	owners := make([]claim.Owner, len(all))
	for name, lose := range map[string]func(ctx context.Context, key string) error{
		"flushed": func(ctx context.Context, _ string) error { return c.db.FlushDB(ctx).Err() },
		"evicted": func(ctx context.Context, key string) error { return c.db.Del(ctx, key).Err() },
	} {
		for _, isRestored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restored %t", name, isRestored), func(t *testing.T) {
				cfg := config("lost/" + t.Name())
				shard := c.Shard(cfg)
				if err := shard.Judge(all[:1000], owners[:1000]); err != nil {
					t.Fatal(err)
				}
				period := all[999].LogMillis / span.Milliseconds()
				saved := shard.Save()
				if err := lose(t.Context(), shard.hash(period)); err != nil {
					t.Fatal(err)
				}
				if isRestored {
					shard = c.Shard(cfg)
					if err := shard.Load(saved); err != nil {
						t.Fatal(err)
					}
				}
				if err := shard.Judge(all[1000:], owners[1000:]); !errors.Is(err, ErrLost) {
					t.Fatalf("got %v, want %v", err, ErrLost)
				}
				// The next life replays the log, and comes to what it would have come to.
				if err := c.Shard(cfg).Judge(all, owners); err != nil {
					t.Fatal(err)
				}
				check(t, 1, 0, owners, plain(all))
			})
		}
	}
}

// TestRestored goes on from what another process saved, before what Redis holds.
func TestRestored(t *testing.T) {
	s := redistest.Start(t)
	c := open(t, s, 0)
	all := clicks(rand.New(rand.NewPCG(2, 3)), 2000, 100)
	want, owners := plain(all), make([]claim.Owner, len(all))
	shard := c.Shard(config("restored"))
	if err := shard.Judge(all[:1000], owners[:1000]); err != nil {
		t.Fatal(err)
	}
	saved := shard.Save()
	if err := shard.Judge(all[1000:1500], owners[1000:1500]); err != nil {
		t.Fatal(err)
	}
	again := c.Shard(config("of another lineage"))
	if err := again.Load(saved); err != nil {
		t.Fatal(err)
	}
	if got := again.Save(); !slices.Equal(got, saved) {
		t.Errorf("saved again: got %s, want %s", got, saved)
	}
	if err := again.Judge(all[1000:], owners[1000:]); err != nil {
		t.Fatal(err)
	}
	check(t, 2, 1000, owners[1000:], want[1000:])
}

// TestRedisIsAway kills Redis and starts it again while a worker goes on.
func TestRedisIsAway(t *testing.T) {
	s := redistest.Start(t)
	c := open(t, s, 0)
	all := clicks(rand.New(rand.NewPCG(3, 3)), 20_000, 2000)
	want, owners := plain(all), make([]claim.Owner, len(all))
	shard := c.Shard(config("away"))
	errs := make(chan error, 1)
	half := make(chan struct{})
	go func() {
		for from := 0; from < len(all); from += 100 {
			if err := shard.Judge(all[from:from+100], owners[from:from+100]); err != nil {
				errs <- err
				return
			}
			if from == 5000 {
				close(half)
			}
		}
		errs <- nil
	}()
	<-half
	for range 3 {
		s.Kill()
		s.Run()
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	check(t, 3, 0, owners, want)

	s.Kill()
	impatient := open(t, s, 100*time.Millisecond).Shard(config("away"))
	if err := impatient.Judge(all[:10], owners[:10]); err == nil || errors.Is(err, ErrLost) {
		t.Errorf("Redis is away: got %v", err)
	}
}

func TestLineage(t *testing.T) {
	s := redistest.Start(t)
	c := open(t, s, 0)
	for i, tc := range []struct {
		shards int
		starts []int64
		want   string
	}{
		{4, []int64{0, 0}, "0"},
		{4, []int64{0, 0}, "0"},
		{4, []int64{5, 7}, "0"},
		{4, []int64{5, 9, 0}, "0"}, // a partition more
		{4, []int64{5, 8, 0}, "4"}, // before the last start
		{4, []int64{9, 8, 1}, "4"},
		{2, []int64{9, 8, 1}, "6"},
		{2, []int64{9, 9, 9}, "6"},
	} {
		got, err := c.Lineage("lineage", fmt.Sprint(i), tc.shards, tc.starts)
		if err != nil || got != tc.want {
			t.Errorf("%d: got %s (%v), want %s", i, got, err, tc.want)
		}
	}
}

// TestPeriodsAreDropped looks at what is left of old periods, and when Redis would drop the others.
func TestPeriodsAreDropped(t *testing.T) {
	s := redistest.Start(t)
	c := open(t, s, 0)
	cfg := config("dropped")
	cfg.Keep = 0
	shard := c.Shard(cfg)
	all := clicks(rand.New(rand.NewPCG(4, 3)), 3000, 300)
	for _, cl := range all {
		if err := shard.Judge([]claim.Claim{cl}, make([]claim.Owner, 1)); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := c.db.Keys(t.Context(), "dropped:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) == 0 || len(keys) > 2 {
		t.Errorf("%d periods are there, want the newest two: %q", len(keys), keys)
	}
	for _, key := range keys {
		left, err := c.db.TTL(t.Context(), key).Result()
		if err != nil || left <= 0 || left > span+2*time.Second {
			t.Errorf("%s expires in %s (%v)", key, left, err)
		}
	}
}

func TestOpenHidesThePassword(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Options{URL: "redis://:secret@host:port/0"})
	if err == nil || err.Error() != "open redis: the url is malformed" {
		t.Errorf("got %v", err)
	}
}
