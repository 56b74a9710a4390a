package aggregate

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/clickledger/clickledger/schemas"
)

func randomBlock(rng *rand.Rand, n int) *schemas.Block {
	b := &schemas.Block{Header: schemas.Header{Channel: 2, Channels: 5, Start: 1, Prev: 8, Next: 9, WatermarkMillis: 77,
		LogMillis: schemas.NoWatermark, TickMillis: 99}}
	for i := range n {
		b.Offset = append(b.Offset, int64(i))
		b.EventMillis = append(b.EventMillis, rng.Int64N(300_000)-60_000)
		b.CostMicros = append(b.CostMicros, rng.Int64N(1000))
		b.Verdict = append(b.Verdict, []schemas.Verdict{schemas.Billable, schemas.Duplicate, schemas.Invalid, schemas.Late}[rng.IntN(4)])
		b.Flags = append(b.Flags, schemas.ClickFlags(rng.IntN(8)))
		b.RowKey.Append(schemas.AppendRowKey(nil, "adv", "cmp", fmt.Sprint("ad", rng.IntN(20)), "", "DE"))
	}
	return b
}

// TestSumsAreNaiveSums compares with sums by map, the summer used again and again.
func TestSumsAreNaiveSums(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	const shards = 3
	p := NewPartial(shards)
	for range 200 {
		b := randomBlock(rng, rng.IntN(200))
		want := map[schemas.MinuteKey]schemas.Sums{}
		for i := range b.Len() {
			if b.Verdict[i] == schemas.Late || b.Flags[i]&schemas.FlagContext != 0 {
				continue
			}
			k, err := schemas.ParseRowKey(schemas.MinuteStart(b.EventMillis[i]), b.RowKey.At(i))
			if err != nil {
				t.Fatal(err)
			}
			s := want[k]
			s.Raw++
			s.Version++
			switch b.Verdict[i] { //nolint:exhaustive // the others are counted by the default
			case schemas.Billable:
				s.Unique++
				s.SpendMicros += b.CostMicros[i]
			case schemas.Duplicate:
				s.Duplicates++
			case schemas.Invalid:
				s.Invalid++
			}
			want[k] = s
		}
		emitted := int32(0)
		p.Sum(b, func(shard int32, rows *schemas.RowBlock) {
			if shard != emitted || rows.Header != b.Header {
				t.Fatalf("seed %d: shard %d, header %+v: want shard %d and the header of the block", seed, shard, rows.Header, emitted)
			}
			emitted++
			for i := range rows.Len() {
				if AdShard(rows.RowKey.At(i), shards) != int(shard) {
					t.Fatalf("seed %d: a row of shard %d in shard %d", seed, AdShard(rows.RowKey.At(i), shards), shard)
				}
				k, err := schemas.ParseRowKey(rows.MinuteMillis[i], rows.RowKey.At(i))
				if err != nil || rows.At(i) != want[k] {
					t.Fatalf("seed %d: row %+v: got %+v (%v), want %+v", seed, k, rows.At(i), err, want[k])
				}
				delete(want, k)
			}
		})
		if emitted != shards || len(want) != 0 {
			t.Fatalf("seed %d: %d blocks emitted, %d rows missing", seed, emitted, len(want))
		}
	}
}
