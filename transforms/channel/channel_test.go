package channel

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

func header(b *schemas.Block) *schemas.Header { return &b.Header }

func block(h schemas.Header) *schemas.Block { return &schemas.Block{Header: h} }

// chain is what one channel sends, in order: data and heartbeats with rising promises. A channel
// may begin with nothing to say.
func chain(rng *rand.Rand, channel, channels int32) []*schemas.Block {
	at := rng.Int64N(100)
	h := schemas.Header{Channel: channel, Channels: channels, Start: at, Prev: at, Next: at,
		WatermarkMillis: schemas.NoWatermark, LogMillis: schemas.NoWatermark}
	var out []*schemas.Block
	for range rng.IntN(3) {
		out = append(out, block(h))
	}
	h.WatermarkMillis, h.LogMillis = rng.Int64N(1000), rng.Int64N(1000)
	for range 1 + rng.IntN(20) {
		h.Prev = h.Next
		h.Next += rng.Int64N(10) // a heartbeat where it is 0
		if len(out) == 0 || out[len(out)-1].WatermarkMillis == schemas.NoWatermark {
			h.Next++
		}
		h.WatermarkMillis += rng.Int64N(50)
		h.LogMillis += rng.Int64N(50)
		h.TickMillis += rng.Int64N(50)
		out = append(out, block(h))
	}
	return out
}

// TestSetRestoresOrder delivers chains in a random order, some blocks more than once.
func TestSetRestoresOrder(t *testing.T) {
	t.Parallel()
	for range 500 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		channels := 1 + rng.Int32N(5)
		var chains [][]*schemas.Block
		var deliveries []*schemas.Block
		for c := range channels {
			chains = append(chains, chain(rng, c, channels))
			for _, b := range chains[c] {
				for range 1 + max(0, rng.IntN(4)-1) {
					deliveries = append(deliveries, b)
				}
			}
		}
		rng.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })
		s := New(header)
		passed := make([]*schemas.Block, channels)
		data := make([][]*schemas.Block, channels)
		promise := int64(schemas.MinWatermark)
		for i, b := range deliveries {
			if i == len(deliveries)/2 {
				s = reload(t, s)
			}
			wasSilent := slices.ContainsFunc(passed, silent)
			ready, err := s.Offer(b, nil)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, r := range ready {
				s.Pass(r)
				passed[r.Channel] = r
				if r.Next > r.Prev {
					data[r.Channel] = append(data[r.Channel], r)
				}
			}
			w := s.Watermark()
			if slices.Contains(passed, nil) && w != schemas.MinWatermark {
				t.Fatalf("seed %d: watermark %d before every channel was heard", seed, w)
			}
			if !wasSilent && w < promise { // only a channel that comes to bound may lower it
				t.Fatalf("seed %d: watermark went back from %d to %d", seed, promise, w)
			}
			promise = w
		}
		checkEnd(t, seed, s, chains, data)
	}
}

func silent(b *schemas.Block) bool { return b == nil || b.WatermarkMillis == schemas.NoWatermark }

func checkEnd(t *testing.T, seed uint64, s *Set[*schemas.Block], chains, data [][]*schemas.Block) {
	t.Helper()
	watermark, log, tick := int64(schemas.MaxWatermark), int64(schemas.MaxWatermark), int64(0)
	for c, chain := range chains {
		last := chain[len(chain)-1]
		watermark, log, tick = min(watermark, last.WatermarkMillis), min(log, last.LogMillis), max(tick, last.TickMillis)
		var want, got []int64
		for _, b := range chain {
			if b.Next > b.Prev {
				want = append(want, b.Prev)
			}
		}
		for _, b := range data[c] {
			got = append(got, b.Prev)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: channel %d: got blocks %v, want %v", seed, c, got, want)
		}
		if n := len(s.channels[c].held); n != 0 {
			t.Fatalf("seed %d: channel %d still holds %d blocks", seed, c, n)
		}
	}
	if s.Watermark() != watermark || s.Log() != log || s.Tick() != tick || s.Ended() {
		t.Fatalf("seed %d: got watermark %d, log %d, tick %d, ended %t, want %d, %d, %d, false",
			seed, s.Watermark(), s.Log(), s.Tick(), s.Ended(), watermark, log, tick)
	}
}

// reload saves a set and goes on with what was saved.
func reload(t *testing.T, s *Set[*schemas.Block]) *Set[*schemas.Block] {
	t.Helper()
	var w snapshot.Writer
	s.Save(&w)
	loaded := New(header)
	r := snapshot.Reader{Rest: w.Buf}
	loaded.Load(&r)
	if r.Err() != nil {
		t.Fatalf("load: %v", r.Err())
	}
	held := s.AppendHeld(nil)
	for _, b := range held {
		if loaded.Restore(b) {
			t.Fatal("a held block was ready before")
		}
	}
	var again snapshot.Writer
	loaded.Save(&again)
	if !bytes.Equal(again.Buf, w.Buf) || !slices.Equal(loaded.AppendHeld(nil), held) {
		t.Fatal("a loaded set is another one")
	}
	return loaded
}

func TestWatermark(t *testing.T) {
	t.Parallel()
	const no, top, bottom = schemas.NoWatermark, schemas.MaxWatermark, schemas.MinWatermark
	for name, tc := range map[string]struct {
		by   [][]int64 // by channel, in order
		want int64
	}{
		"one":                         {[][]int64{{5}}, 5},
		"least":                       {[][]int64{{5}, {3}}, 3},
		"unheard":                     {[][]int64{{5}, {}}, bottom},
		"never back":                  {[][]int64{{5, 3}}, 5},
		"silent bounds nothing":       {[][]int64{{5}, {no}}, 5},
		"all silent":                  {[][]int64{{no}, {no}}, bottom},
		"silent, then bounds":         {[][]int64{{5}, {no, 2}}, 2},
		"ended bounds nothing":        {[][]int64{{top}, {2}}, 2},
		"all ended":                   {[][]int64{{top}, {top}}, top},
		"silent, then ended":          {[][]int64{{top}, {no, top}}, top},
		"ended and silent: not ended": {[][]int64{{4, top}, {no}}, bottom},
		"ended and unheard":           {[][]int64{{top}, {}}, bottom},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := New(header)
			for c, marks := range tc.by {
				for i, m := range marks {
					b := block(schemas.Header{Channel: int32(c), Channels: int32(len(tc.by)), Prev: int64(i), Next: int64(i + 1),
						WatermarkMillis: m, LogMillis: m})
					ready, err := s.Offer(b, nil)
					if err != nil || len(ready) != 1 {
						t.Fatalf("got %d ready blocks (%v), want 1", len(ready), err)
					}
					s.Pass(b)
				}
			}
			if s.Watermark() != tc.want || s.Log() != tc.want || s.Ended() != (tc.want == top) {
				t.Errorf("got watermark %d, log %d, ended %t, want %d", s.Watermark(), s.Log(), s.Ended(), tc.want)
			}
		})
	}
}

// TestHeldIsBounded loses one block: the set says so instead of holding without end.
func TestHeldIsBounded(t *testing.T) {
	t.Parallel()
	s := New(header)
	offer := func(prev int64) error {
		_, err := s.Offer(block(schemas.Header{Channels: 1, Prev: prev, Next: prev + 1}), nil)
		return err
	}
	for i := range int64(MaxHeld) {
		if err := offer(i + 1); err != nil {
			t.Fatalf("block %d: %v", i+1, err)
		}
	}
	if err := offer(MaxHeld + 1); err == nil {
		t.Error("no error when one block more is held than the bound")
	}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	o := NewOutbox(1, 3, 2, schemas.ForDedup|schemas.ForIP|schemas.ForUser)
	src := schemas.Block{Partition: []int32{0}, Offset: []int64{7}, ReceivedMicros: []int64{0}, EventMillis: []int64{0},
		LogMillisColumn: []int64{0}, JudgeMillis: []int64{0}, CostMicros: []int64{0}, Verdict: []schemas.Verdict{0},
		Rules: []schemas.Rules{0}, Flags: []schemas.ClickFlags{0}, WinnerPartition: []int32{0}, WinnerOffset: []int64{0},
		ClickKey: make([]schemas.Key128, 1), ContentHash: []uint64{0}, IPKey: make([]schemas.Key128, 1),
		UserKey: make([]schemas.Key128, 1)}
	src.ClickID.Append([]byte("c"))
	src.RowKey.Append([]byte("r"))
	type sent struct {
		shard      int32
		prev, mark int64
		clicks     int
	}
	step := func(watermark int64, add ...int64) (out []sent) {
		for _, shard := range add {
			o.Add(shard, &src, 0)
		}
		o.Flush(watermark, 9, func(shard int32, b *schemas.Block) {
			if b.Channel != 1 || b.Channels != 3 || b.Next != b.Prev+1 || b.LogMillis != schemas.NoWatermark || b.TickMillis != 9 {
				t.Errorf("header %+v", b.Header)
			}
			out = append(out, sent{shard: shard, prev: b.Prev, mark: b.WatermarkMillis, clicks: b.Len()})
		})
		return out
	}
	check := func(got []sent, want ...sent) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	check(step(schemas.MinWatermark))
	check(step(schemas.MinWatermark, 1), sent{shard: 1, mark: schemas.MinWatermark, clicks: 1})
	check(step(1000), sent{shard: 0, mark: 1000}, sent{shard: 1, prev: 1, mark: 1000})
	check(step(1000 + heartbeatMillis - 1))
	check(step(1100, 0, 0), sent{shard: 0, prev: 1, mark: 1100, clicks: 2})
	check(step(1000+heartbeatMillis), sent{shard: 0, prev: 2, mark: 1200}, sent{shard: 1, prev: 2, mark: 1200})
	check(step(500, 1), sent{shard: 1, prev: 3, mark: 1200, clicks: 1})
	var w snapshot.Writer
	o.Save(&w)
	o = NewOutbox(1, 3, 2, schemas.ForDedup|schemas.ForIP|schemas.ForUser)
	r := snapshot.Reader{Rest: w.Buf}
	o.Load(&r)
	if r.Err() != nil || o.Announced() != 1200 || o.Shards() != 2 {
		t.Errorf("loaded: announced %d, %d shards, %v", o.Announced(), o.Shards(), r.Err())
	}
	// More clicks than a block may hold; the watermark comes with the last of them.
	check(step(2000, slices.Repeat([]int64{0}, 2*maxBlockClicks+1)...), sent{shard: 0, prev: 3, mark: 1200, clicks: maxBlockClicks},
		sent{shard: 0, prev: 4, mark: 1200, clicks: maxBlockClicks}, sent{shard: 0, prev: 5, mark: 2000, clicks: 1}, sent{shard: 1, prev: 4, mark: 2000})
	check(step(schemas.MaxWatermark), sent{shard: 0, prev: 6, mark: schemas.MaxWatermark}, sent{shard: 1, prev: 5, mark: schemas.MaxWatermark})
	check(step(schemas.MaxWatermark))
}
