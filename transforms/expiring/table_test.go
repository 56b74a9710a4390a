package expiring

import (
	"math/rand/v2"
	"testing"

	"github.com/clickledger/clickledger/schemas"
)

// TestTable does the same to a table and to a Go map, with keys that crowd a few slots.
func TestTable(t *testing.T) {
	t.Parallel()
	for range 50 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 2))
		homes, keys := 1+rng.IntN(100), 1+rng.IntN(300)
		var got table[int]
		want := map[schemas.Key128]int{}
		for i := range 3000 {
			k := schemas.Key128{1, byte(rng.IntN(keys)), byte(rng.IntN(2)), 8: byte(rng.IntN(homes)), 15: byte(rng.IntN(2))}
			switch rng.IntN(5) {
			case 0, 1:
				got.remove(&k)
				delete(want, k)
			case 2, 3:
				got.put(&k, i)
				want[k] = i
			}
			v, ok := got.get(&k)
			if w, known := want[k]; v != w || ok != known || got.used != len(want) {
				t.Fatalf("seed %d, step %d: got %d %t of %d, want %d %t of %d", seed, i, v, ok, got.used, w, known, len(want))
			}
		}
		for k, w := range want {
			if v, ok := got.get(&k); !ok || v != w {
				t.Fatalf("seed %d: got %d %t, want %d", seed, v, ok, w)
			}
		}
		if got.reset(); got.used != 0 {
			t.Errorf("seed %d: %d keys after reset", seed, got.used)
		}
	}
}
