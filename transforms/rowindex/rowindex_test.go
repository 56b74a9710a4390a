package rowindex

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/clickledger/clickledger/schemas"
)

// TestIndex compares with a Go map, over blocks of all sizes in the same memory.
func TestIndex(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 3))
	var x Index
	var rows schemas.RowBlock
	for range 50 {
		rows.Reset()
		x.Reset()
		type key struct {
			minute int64
			key    string
		}
		want := map[key]int32{}
		distinct := 1 + rng.IntN(2000)
		for range 3000 {
			k := key{int64(rng.IntN(3)) * schemas.MinuteMillis, fmt.Sprint("row ", rng.IntN(distinct))}
			if rng.IntN(20) == 0 {
				k.key = ""
			}
			row, known := want[k]
			if !known {
				row = int32(len(want))
				want[k] = row
			}
			if got := x.Row(&rows, k.minute, []byte(k.key)); got != row {
				t.Fatalf("seed %d: got row %d of %v, want %d", seed, got, k, row)
			}
		}
		if rows.Len() != len(want) {
			t.Fatalf("seed %d: got %d rows, want %d", seed, rows.Len(), len(want))
		}
		for k, row := range want {
			if rows.MinuteMillis[row] != k.minute || string(rows.RowKey.At(int(row))) != k.key {
				t.Fatalf("seed %d: row %d is not that of %v", seed, row, k)
			}
		}
	}
}
