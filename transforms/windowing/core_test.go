package windowing

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/shardstate"
	"github.com/clickledger/clickledger/transforms/shardstate/statetest"
)

const (
	origin   = 1_782_302_400_000
	lateness = 600_000
)

func rowKey(ad string) []byte { return schemas.AppendRowKey(nil, "adv", "cmp", ad, "mobile", "DE") }

// partial is one block of partial rows with the watermark and tick that it brings.
func partial(channel, channels int32, n, watermark, tick int64, rows ...schemas.MinuteRow) []byte {
	b := schemas.RowBlock{Header: schemas.Header{Channel: channel, Channels: channels, Prev: n, Next: n + 1,
		WatermarkMillis: watermark, LogMillis: schemas.NoWatermark, TickMillis: tick}}
	for _, r := range rows {
		b.AppendRow(r.MinuteMillis, rowKey(r.AdID), schemas.Sums{Raw: r.RawClicks, Duplicates: r.DuplicateClicks,
			Invalid: r.InvalidClicks, Unique: r.UniqueClicks, SpendMicros: r.SpendMicros, Version: r.RawClicks})
	}
	return b.Append(nil)
}

func row(minute int64, ad string, unique int64) schemas.MinuteRow {
	return schemas.MinuteRow{MinuteKey: schemas.MinuteKey{MinuteMillis: origin + minute*60_000, AdID: ad},
		RawClicks: unique, UniqueClicks: unique, SpendMicros: 7 * unique}
}

// apply delivers one block and returns what was published.
func apply(t *testing.T, c *Core, data []byte) (out [][]byte) {
	t.Helper()
	in := new(schemas.RowBlock)
	if err := in.Decode(data); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(in, func(b *schemas.RowBlock) { out = append(out, b.Append(nil)) }); err != nil {
		t.Fatal(err)
	}
	return out
}

// text writes published blocks as "minute/ad=unique" and the watermark, relative to the origin.
func text(t *testing.T, blocks [][]byte) (out []string) {
	t.Helper()
	for _, data := range blocks {
		var b schemas.RowBlock
		if err := b.Decode(data); err != nil {
			t.Fatal(err)
		}
		for i := range b.Len() {
			r, err := b.Row(i)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%d/%s=%d v%d", (r.MinuteMillis-origin)/60_000, r.AdID, r.UniqueClicks, r.Version))
		}
		switch b.WatermarkMillis {
		case schemas.MaxWatermark:
			out = append(out, "end")
		case schemas.MinWatermark:
			out = append(out, "begin")
		default:
			out = append(out, fmt.Sprint("at ", b.WatermarkMillis-origin))
		}
	}
	return out
}

func TestPublishing(t *testing.T) {
	t.Parallel()
	c := NewCore(policy.Default(), 1000, 0, 1)
	n := int64(0)
	step := func(watermark, tick int64, rows []schemas.MinuteRow, want ...string) {
		t.Helper()
		if watermark < 1<<40 {
			watermark += origin
		}
		got := text(t, apply(t, c, partial(0, 1, n, watermark, tick, rows...)))
		n++
		if !slices.Equal(got, want) {
			t.Errorf("block %d: got %q, want %q", n, got, want)
		}
	}
	rows := func(r ...schemas.MinuteRow) []schemas.MinuteRow { return r }
	step(0, 5000, rows(row(0, "b", 1), row(0, "a", 2)), "0/b=1 v1", "0/a=2 v2", "at 0")
	step(100, 5999, rows(row(0, "a", 1))) // within the pace
	step(200, 6000, nil, "0/a=3 v3", "at 200")
	step(200, 9000, nil) // no news
	step(300, 9000, nil, "at 300")
	step(300, 9999, rows(row(1, "a", 1)))
	step(300, 10_000, rows(row(-1, "a", 1)), "-1/a=1 v1", "1/a=1 v1", "at 300")
	// The minute may change until the lateness is over, and not be forgotten before.
	step(60_000+lateness-1, 11_000, nil, "at 659999")
	step(60_000+lateness-1, 12_000, rows(row(0, "a", 1)), "0/a=4 v4", "at 659999")
	if len(c.minutes) != 2 {
		t.Errorf("got %d minutes, want 2: the one before is forgotten", len(c.minutes))
	}
	step(60_000+lateness, 13_000, nil, "at 660000")
	if len(c.minutes) != 1 {
		t.Errorf("got %d minutes, want 1", len(c.minutes))
	}
	step(schemas.MaxWatermark, 13_001, rows(row(1, "a", 1)), "1/a=2 v2", "end")
	if len(c.minutes) != 0 || !c.Ended() {
		t.Errorf("after the end: %d minutes, ended %t", len(c.minutes), c.Ended())
	}
}

// TestAtEnd publishes once, whatever the ticks say.
func TestAtEnd(t *testing.T) {
	t.Parallel()
	c := NewCore(policy.Default(), AtEnd, 0, 1)
	for n := range int64(5) {
		if got := apply(t, c, partial(0, 2, n, origin+n*1e7, 1<<50, row(n, "a", 1))); got != nil {
			t.Fatalf("published %q", text(t, got))
		}
	}
	if got := apply(t, c, partial(0, 2, 5, schemas.MaxWatermark, 0)); got != nil {
		t.Fatalf("published %q with one channel to come", text(t, got))
	}
	want := []string{"0/a=1 v1", "1/a=1 v1", "2/a=1 v1", "3/a=1 v1", "4/a=1 v1", "end"}
	if got := text(t, apply(t, c, partial(1, 2, 0, schemas.MaxWatermark, 0))); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestManyRows publishes more rows than go into one block: only the last carries the new watermark.
func TestManyRows(t *testing.T) {
	t.Parallel()
	c := NewCore(policy.Default(), AtEnd, 3, 4)
	rows := make([]schemas.MinuteRow, 2*maxPublishedRows+1)
	for i := range rows {
		rows[i] = row(0, fmt.Sprintf("%06d", i), 1)
	}
	out := apply(t, c, partial(0, 1, 0, schemas.MaxWatermark, 0, rows...))
	if len(out) != 3 {
		t.Fatalf("got %d blocks, want 3", len(out))
	}
	total := 0
	for i, data := range out {
		var b schemas.RowBlock
		if err := b.Decode(data); err != nil {
			t.Fatal(err)
		}
		total += b.Len()
		want := schemas.Header{Channel: 3, Channels: 4, Prev: int64(i), Next: int64(i + 1), WatermarkMillis: schemas.MinWatermark,
			LogMillis: schemas.NoWatermark}
		if i == 2 {
			want.WatermarkMillis = schemas.MaxWatermark
		}
		if b.Header != want {
			t.Errorf("block %d: got %+v, want %+v", i, b.Header, want)
		}
	}
	if total != len(rows) {
		t.Errorf("got %d rows, want %d", total, len(rows))
	}
}

// deliveries makes random partial rows of several channels in a random order, some blocks twice,
// and the sums by row.
func deliveries(rng *rand.Rand) (out [][]byte, want map[schemas.MinuteKey]schemas.MinuteRow) {
	want = map[schemas.MinuteKey]schemas.MinuteRow{}
	channels := 1 + rng.Int32N(4)
	for c := range channels {
		watermark, tick := int64(origin), int64(0)
		n := int64(0)
		for ; n < 40; n++ {
			var rows []schemas.MinuteRow
			for range rng.IntN(6) {
				back := rng.Int64N(3)
				if rng.IntN(20) == 0 {
					back = 9
				}
				r := row((watermark-origin)/60_000-back, fmt.Sprint("ad", rng.IntN(5)), rng.Int64N(5))
				r.DuplicateClicks, r.InvalidClicks = rng.Int64N(3), rng.Int64N(3)
				r.RawClicks += r.DuplicateClicks + r.InvalidClicks
				rows = append(rows, r)
				sum := want[r.MinuteKey]
				sum.MinuteKey = r.MinuteKey
				sum.RawClicks += r.RawClicks
				sum.DuplicateClicks += r.DuplicateClicks
				sum.InvalidClicks += r.InvalidClicks
				sum.UniqueClicks += r.UniqueClicks
				sum.SpendMicros += r.SpendMicros
				want[r.MinuteKey] = sum
			}
			out = append(out, partial(c, channels, n, watermark, tick, rows...))
			watermark += rng.Int64N(60_000)
			tick += rng.Int64N(700)
		}
		out = append(out, partial(c, channels, n, schemas.MaxWatermark, tick))
	}
	// The channels go round by round, and blocks overtake each other by a few places.
	byRound := make([][]byte, 0, len(out))
	for n := range 41 {
		for c := range int(channels) {
			byRound = append(byRound, out[c*41+n])
		}
	}
	for i := range byRound {
		if j := i + rng.IntN(6); j < len(byRound) {
			byRound[i], byRound[j] = byRound[j], byRound[i]
		}
		if rng.IntN(10) == 0 {
			byRound = append(byRound, byRound[i])
		}
	}
	return byRound, want
}

// TestTotalsAreNaiveSums publishes absolute totals in any order of delivery: the last of each row
// is the sum of all, and no version goes back.
func TestTotalsAreNaiveSums(t *testing.T) {
	t.Parallel()
	for range 100 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		blocks, want := deliveries(rng)
		c := NewCore(policy.Default(), rng.Int64N(3000), 0, 1)
		got := map[schemas.MinuteKey]schemas.MinuteRow{}
		next := int64(0)
		for _, data := range blocks {
			for _, published := range apply(t, c, data) {
				var b schemas.RowBlock
				if err := b.Decode(published); err != nil {
					t.Fatal(err)
				}
				if b.Prev != next {
					t.Fatalf("seed %d: block %d, want %d", seed, b.Prev, next)
				}
				next = b.Next
				for i := range b.Len() {
					r, err := b.Row(i)
					if err != nil {
						t.Fatal(err)
					}
					r.MinuteKey = schemas.MinuteKey{MinuteMillis: r.MinuteMillis, AdID: r.AdID}
					if r.Version < got[r.MinuteKey].Version || r.Version != uint64(r.RawClicks) {
						t.Fatalf("seed %d: %+v after version %d", seed, r, got[r.MinuteKey].Version)
					}
					got[r.MinuteKey] = r
				}
			}
		}
		if !c.Ended() || len(got) != len(want) {
			t.Fatalf("seed %d: ended %t, got %d rows, want %d", seed, c.Ended(), len(got), len(want))
		}
		for key, w := range want {
			g := got[key]
			g.Version = 0
			if g != w {
				t.Fatalf("seed %d: got %+v, want %+v", seed, g, w)
			}
		}
	}
}

// TestRebuilding rebuilds the core at random times: what is published, to the byte, does not change.
func TestRebuilding(t *testing.T) {
	t.Parallel()
	for range 30 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		blocks, _ := deliveries(rng)
		pace := rng.Int64N(3000)
		fresh := func() *Core {
			c := NewCore(policy.Default(), pace, 0, 1)
			c.KeepsJournal = true
			return c
		}
		var follower statetest.Follower
		plain, rebuilt := NewCore(policy.Default(), pace, 0, 1), fresh()
		for n, data := range blocks {
			if got, want := apply(t, rebuilt, data), apply(t, plain, data); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Fatalf("seed %d: block %d: got %q, want %q", seed, n, text(t, got), text(t, want))
			}
			follower.Follow(t, rebuilt)
			if rng.IntN(4) == 0 {
				twin := fresh()
				follower.Rebuild(t, rebuilt, twin)
				statetest.CheckDamage(t, rng.IntN, rebuilt, func() shardstate.Core { return fresh() })
				rebuilt = twin
			}
		}
	}
}
