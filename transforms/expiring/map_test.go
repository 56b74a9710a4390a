package expiring

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

func key(i int) schemas.Key128 { return schemas.Key128{byte(i), byte(i >> 8), 1} }

func save(m *Map[int64]) []byte {
	var w snapshot.Writer
	m.Save(&w, func(w *snapshot.Writer, v int64) { w.Int(v) })
	return w.Buf
}

// TestMapForgetsLateEnough compares with a map that never forgets: what is missing is older than
// the span, and nothing older than three spans is kept.
func TestMapForgetsLateEnough(t *testing.T) {
	t.Parallel()
	for range 50 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		span := 1 + rng.Int64N(1000)
		m := New[int64](span)
		put := map[schemas.Key128]int64{}
		now := rng.Int64N(10)
		for i := range 2000 {
			now += rng.Int64N(20)
			k := key(rng.IntN(200))
			at, known := put[k]
			got, found := m.Get(k)
			switch {
			case found && (!known || got != at):
				t.Fatalf("seed %d: got %d, want %d (%t)", seed, got, at, known)
			case !found && known && now-at <= span:
				t.Fatalf("seed %d: put at %d, forgotten at %d, span %d", seed, at, now, span)
			}
			if rng.IntN(10) == 0 {
				m.Delete(k)
				delete(put, k)
			} else {
				m.Put(k, now, now)
				put[k] = now
			}
			if i%500 == 499 {
				m = reload(t, m)
			}
		}
		for _, gen := range []table[int64]{m.young, m.old} {
			for _, s := range gen.slots {
				if at := s.value; !s.key.IsZero() && now-at > 3*span+60 {
					t.Fatalf("seed %d: put at %d, still there at %d, span %d", seed, at, now, span)
				}
			}
		}
	}
}

func reload(t *testing.T, m *Map[int64]) *Map[int64] {
	t.Helper()
	saved := save(m)
	loaded := New[int64](m.span)
	r := snapshot.Reader{Rest: saved}
	loaded.Load(&r, func(r *snapshot.Reader) int64 { return r.Int() })
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(save(loaded), saved) {
		t.Fatal("a loaded map is saved as other bytes")
	}
	return loaded
}

func TestForever(t *testing.T) {
	t.Parallel()
	m := New[int64](Forever)
	m.Put(key(1), 1, -1<<62)
	m.Put(key(2), 2, 1<<62)
	m.Put(key(3), 3, 1<<62)
	if v, ok := m.Get(key(1)); !ok || v != 1 {
		t.Errorf("got %d %t, want 1", v, ok)
	}
	if _, ok := m.Get(key(9)); ok {
		t.Error("got what was never put")
	}
}
