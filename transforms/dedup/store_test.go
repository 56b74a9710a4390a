package dedup

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/claim"
	"github.com/clickledger/clickledger/schemas/policy"
)

// memoryStore is a store for the logic alone: histories in a map. It wants claims in log order.
type memoryStore struct {
	t       *testing.T
	byID    map[schemas.Key128]*claim.History
	last    claim.Claim
	calls   int
	claims  int
	failing bool
	saved   []byte
}

var errAway = errors.New("away")

func (m *memoryStore) Judge(claims []claim.Claim, owners []claim.Owner) error {
	if m.failing {
		return errAway
	}
	m.calls++
	m.claims += len(claims)
	for i := range claims {
		c := &claims[i]
		if c.LogMillis < m.last.LogMillis || c.LogMillis == m.last.LogMillis && c.Position.Less(m.last.Position) {
			m.t.Fatalf("claim %s comes after %s", c.Position, m.last.Position)
		}
		m.last = *c
		h := m.byID[c.Key]
		if h == nil {
			h = new(claim.History)
			m.byID[c.Key] = h
		}
		owners[i], _ = h.Judge(c)
	}
	return nil
}

func (m *memoryStore) Save() []byte            { return []byte("what the store knows") }
func (m *memoryStore) Load(saved []byte) error { m.saved = bytes.Clone(saved); return nil }

func newMemoryStore(t *testing.T) *memoryStore {
	return &memoryStore{t: t, byID: map[schemas.Key128]*claim.History{}}
}

// TestStoreJudgesAsStateDoes has random logs judged by state and by a store, by a store that fails on
// the way, and again by one that knows all of it.
func TestStoreJudgesAsStateDoes(t *testing.T) {
	t.Parallel()
	p := policy.Default()
	for range 40 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 5))
		partitions := 1 + rng.Int32N(4)
		log := randomClicks(rng, partitions)
		want := naive(log, Sliding, p.Revisions[0].Dedup.TTL.Microseconds())
		var chains [][][]byte
		for c := range partitions {
			chains = append(chains, chain(rng, c, partitions, log[c]))
		}
		store := newMemoryStore(t)
		for _, life := range []string{"first", "again", "with state", "failing"} {
			core := NewCore(p, Sliding, 0, 3)
			s := store
			if life == "failing" {
				s = newMemoryStore(t)
			}
			s.last, s.calls = claim.Claim{}, 0
			core.UseStore(s, life == "with state" || life == "failing")
			deliveries := interleave(rng, chains)
			got := outcomes(judged(t, run(t, core, deliveries, func(c *Core) *Core {
				s.failing = life == "failing" && s.claims > 100
				return c
			})))
			if len(got) != len(want) || s.calls > len(deliveries) {
				t.Fatalf("seed %d, %s: got %d clicks by %d calls, want %d of %d blocks", seed, life, len(got), s.calls, len(want), len(deliveries))
			}
			for pos, w := range want {
				if got[pos] != w {
					t.Fatalf("seed %d, %s: click %s: got %+v, want %+v", seed, life, pos, got[pos], w)
				}
			}
		}
	}
}

// TestStoreFails stops a core that has no state of its own.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	core := NewCore(policy.Default(), Sliding, 0, 1)
	core.UseStore(&memoryStore{failing: true}, false)
	b := &schemas.Block{Header: schemas.Header{Channels: 1, Next: 1, WatermarkMillis: schemas.MaxWatermark, LogMillis: schemas.MaxWatermark}}
	appendClick(b, &click{log: origin, event: origin, judge: origin, receivedMicros: origin * 1000, id: "c"})
	err := core.Apply(b, func(int32, *schemas.Block) { t.Error("a click was passed on without a verdict") })
	if !errors.Is(err, errAway) {
		t.Errorf("got %v, want %v", err, errAway)
	}
}

// TestHeadNamesTheMemory saves a core with a store and loads it with one and without.
func TestHeadNamesTheMemory(t *testing.T) {
	t.Parallel()
	fresh := func(isShared bool) (*Core, *memoryStore) {
		c, s := NewCore(policy.Default(), Sliding, 0, 1), newMemoryStore(t)
		if isShared {
			c.UseStore(s, true)
		}
		return c, s
	}
	for _, isShared := range []bool{false, true} {
		c, _ := fresh(isShared)
		if isShared {
			c.shared.isAway = true
		}
		saved := c.Head()
		same, store := fresh(isShared)
		if err := same.LoadHead(saved); err != nil || !bytes.Equal(same.Head(), saved) {
			t.Errorf("shared %t: %v", isShared, err)
		}
		if isShared && (!same.shared.isAway || string(store.saved) != "what the store knows") {
			t.Errorf("got %+v, %q", same.shared, store.saved)
		}
		other, _ := fresh(!isShared)
		if err := other.LoadHead(saved); !errors.Is(err, errOtherMemory) {
			t.Errorf("shared %t, loaded otherwise: got %v", isShared, err)
		}
	}
}

// TestUnknownStore: a worker that cannot open the store must not judge without it.
func TestUnknownStore(t *testing.T) {
	t.Parallel()
	f := &dedupFn{Store: StoreConfig{URL: "nowhere://host"}}
	if err := f.Setup(); err == nil {
		t.Error("no error")
	}
}
