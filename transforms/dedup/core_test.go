package dedup

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

const origin = 1_782_302_400_000

// randomClicks makes a log by partition: few click_ids, copies in every partition, gaps around
// the times to live.
func randomClicks(rng *rand.Rand, partitions int32) [][]click {
	byPartition := make([][]click, partitions)
	for p := range byPartition {
		log := origin + rng.Int64N(5000)
		for i := range int64(50 + rng.IntN(250)) {
			switch rng.IntN(40) {
			case 0:
				log += 600_000 // the stream's time to live
			case 1:
				log += rng.Int64N(1_300_000)
			default:
				log += rng.Int64N(300)
			}
			byPartition[p] = append(byPartition[p], click{Position: schemas.Position{Partition: int32(p), Offset: i},
				log: log, event: log - rng.Int64N(4000), receivedMicros: log*1000 - 3 + rng.Int64N(5),
				id: fmt.Sprint("c", rng.IntN(60)), ip: []string{"", "a", "b", "c"}[rng.IntN(4)], content: rng.Uint64N(3)})
		}
		late(byPartition[p], 600_000)
	}
	return byPartition
}

type outcome struct {
	verdict  schemas.Verdict
	winner   schemas.Position
	conflict bool
}

// naive judges a log in one walk over all clicks in log order.
func naive(byPartition [][]click, mode Mode, keepMicros int64) map[schemas.Position]outcome {
	var all []click
	for _, clicks := range byPartition {
		all = append(all, clicks...)
	}
	slices.SortFunc(all, func(a, b click) int {
		return cmp.Or(cmp.Compare(a.log, b.log), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	type owner struct {
		click
		from int64
	}
	owners, out := map[string]owner{}, map[schemas.Position]outcome{}
	for _, c := range all {
		o, known := owners[c.id]
		if !known || c.receivedMicros-o.from > keepMicros {
			owners[c.id] = owner{c, c.receivedMicros}
			out[c.Position] = outcome{verdict: c.verdict, winner: c.Position}
			continue
		}
		verdict := schemas.Duplicate
		if c.verdict == schemas.Late {
			verdict = schemas.Late
		}
		out[c.Position] = outcome{verdict: verdict, winner: o.Position, conflict: o.content != c.content}
		if mode == Sliding {
			o.from = max(o.from, c.receivedMicros)
			owners[c.id] = o
		}
	}
	return out
}

func outcomes(clicks map[schemas.Position]*schemas.Block) map[schemas.Position]outcome {
	out := map[schemas.Position]outcome{}
	for pos, b := range clicks {
		out[pos] = outcome{verdict: b.Verdict[0], conflict: b.Flags[0]&schemas.FlagConflict != 0,
			winner: schemas.Position{Partition: b.WinnerPartition[0], Offset: b.WinnerOffset[0]}}
	}
	return out
}

// TestVerdictsDependOnTheLogAlone delivers random logs in random orders and compares with the walk.
func TestVerdictsDependOnTheLogAlone(t *testing.T) {
	t.Parallel()
	p := policy.Default()
	duplicates, conflicts := 0, 0
	for range 40 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		partitions := 1 + rng.Int32N(4)
		log := randomClicks(rng, partitions)
		for _, mode := range []Mode{Sliding, FromWinner} {
			keep := p.Revisions[0].Dedup.TTL
			if mode == FromWinner {
				keep = p.Revisions[0].Dedup.Lookback
			}
			want := naive(log, mode, keep.Microseconds())
			var chains [][][]byte
			for c := range partitions {
				chains = append(chains, chain(rng, c, partitions, log[c]))
			}
			fresh := func() *Core { return NewCore(p, mode, 0, 3) }
			for range 3 {
				got := outcomes(judged(t, run(t, fresh(), interleave(rng, chains), nil)))
				if len(got) != len(want) {
					t.Fatalf("seed %d: got %d clicks, want %d", seed, len(got), len(want))
				}
				for pos, w := range want {
					if got[pos] != w {
						t.Fatalf("seed %d: mode %d: click %s: got %+v, want %+v", seed, mode, pos, got[pos], w)
					}
				}
			}
			for _, w := range want {
				if w.verdict == schemas.Duplicate {
					duplicates++
				}
				if w.conflict {
					conflicts++
				}
			}
			checkRebuilding(t, seed, fresh, interleave(rng, chains))
			checkRebuilding(t, seed, fresh, silentAtFirst(rng, chains))
		}
	}
	if duplicates < 100 || conflicts < 100 {
		t.Errorf("%d duplicates, %d conflicts: the test tests little", duplicates, conflicts)
	}
}

// TestBoundaries judges copies of one click_id at given received times, in microseconds.
func TestBoundaries(t *testing.T) {
	t.Parallel()
	const ttl, lookback = 600_000_000, 90_000_000_000
	for name, tc := range map[string]struct {
		mode    Mode
		micros  []int64
		winners []int64 // offsets
	}{
		"sliding, exactly":          {Sliding, []int64{0, ttl}, []int64{0, 0}},
		"sliding, 1 us more":        {Sliding, []int64{0, ttl + 1}, []int64{0, 1}},
		"sliding, slides":           {Sliding, []int64{0, ttl, 2 * ttl, 3*ttl + 1}, []int64{0, 0, 0, 3}},
		"sliding, from the newest":  {Sliding, []int64{5, 0, ttl + 5}, []int64{0, 0, 0}},
		"sliding, does not go back": {Sliding, []int64{1000, 0, ttl + 1001, ttl + 1002}, []int64{0, 0, 2, 2}},
		"from winner, exactly":      {FromWinner, []int64{0, lookback}, []int64{0, 0}},
		"from winner, 1 us more":    {FromWinner, []int64{0, lookback + 1}, []int64{0, 1}},
		"from winner, no sliding":   {FromWinner, []int64{0, lookback, lookback + 1, lookback + 2}, []int64{0, 0, 2, 2}},
		"from the new winner":       {FromWinner, []int64{0, lookback + 1, 2*lookback + 1, 2*lookback + 2}, []int64{0, 1, 1, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var clicks []click
			log := int64(origin)
			for i, micros := range tc.micros {
				log = max(log, origin+micros/1000)
				clicks = append(clicks, click{Position: schemas.Position{Offset: int64(i)}, log: log, event: log,
					judge: log, receivedMicros: origin*1000 + micros, id: "c"})
			}
			chain := chain(rand.New(rand.NewPCG(1, 1)), 0, 1, clicks)
			got := outcomes(judged(t, run(t, NewCore(policy.Default(), tc.mode, 0, 1), chain, nil)))
			for i, want := range tc.winners {
				pos := schemas.Position{Offset: int64(i)}
				verdict := schemas.Duplicate
				if want == int64(i) {
					verdict = schemas.Billable
				}
				if w := (outcome{verdict: verdict, winner: schemas.Position{Offset: want}}); got[pos] != w {
					t.Errorf("copy %d: got %+v, want %+v", i, got[pos], w)
				}
			}
		})
	}
}

// TestTTLOfTheEventsRevision has the time to live change between two revisions.
func TestTTLOfTheEventsRevision(t *testing.T) {
	t.Parallel()
	p := parsePolicy(t, "revisions:\n  - {dedup: {ttl: 1m}}\n  - {effective_from: 2026-06-24T12:00:00Z, dedup: {ttl: 2m}}\n")
	at := p.Revisions[1].EffectiveFrom.UnixMilli()
	for _, tc := range []struct {
		event int64
		want  schemas.Verdict
	}{{at - 1, schemas.Billable}, {at, schemas.Duplicate}} {
		clicks := []click{
			{log: at - 90_000, event: at - 90_000, judge: at - 90_000, receivedMicros: (at - 90_000) * 1000, id: "c"},
			{Position: schemas.Position{Offset: 1}, log: at, event: tc.event, judge: tc.event, receivedMicros: at * 1000, id: "c"},
		}
		got := outcomes(judged(t, run(t, NewCore(p, Sliding, 0, 1), chain(rand.New(rand.NewPCG(1, 1)), 0, 1, clicks), nil)))
		if v := got[schemas.Position{Offset: 1}].verdict; v != tc.want {
			t.Errorf("event %d ms from the change: got %s, want %s", tc.event-at, v, tc.want)
		}
	}
}

// TestReplayedWinnerIsItself delivers a record a second time, as a replay that begins at another
// offset does: it must not become a duplicate of itself, however often it comes.
func TestReplayedWinnerIsItself(t *testing.T) {
	t.Parallel()
	winner := click{log: origin, event: origin, judge: origin, receivedMicros: origin * 1000, id: "c"}
	copied := winner
	copied.Offset, copied.log, copied.event, copied.judge = 1, origin+10, origin+10, origin+10
	core := NewCore(policy.Default(), Sliding, 0, 1)
	var got []string
	for n, c := range []click{winner, copied, winner, copied} {
		b := &schemas.Block{Header: schemas.Header{Channels: 1, Prev: int64(n), Next: int64(n + 1),
			WatermarkMillis: schemas.MaxWatermark, LogMillis: schemas.MaxWatermark}}
		appendClick(b, &c)
		if err := core.Apply(b, func(_ int32, b *schemas.Block) {
			for i := range b.Len() {
				got = append(got, fmt.Sprint(b.Offset[i], b.Verdict[i], b.WinnerOffset[i]))
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"0 billable 0", "1 duplicate 0", "0 billable 0", "1 duplicate 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWaitingClicksHoldTheWatermark has one partition ahead: the watermark may not pass clicks
// that wait for the other.
func TestWaitingClicksHoldTheWatermark(t *testing.T) {
	t.Parallel()
	core := NewCore(policy.Default(), Sliding, 0, 1)
	apply := func(channel int32, watermark, log int64, clicks ...click) (marks []int64) {
		t.Helper()
		b := &schemas.Block{Header: schemas.Header{Channel: channel, Channels: 2, Next: int64(len(clicks)),
			WatermarkMillis: watermark, LogMillis: log}}
		for i := range clicks {
			appendClick(b, &clicks[i])
		}
		if err := core.Apply(b, func(_ int32, b *schemas.Block) { marks = append(marks, b.WatermarkMillis, int64(b.Len())) }); err != nil {
			t.Fatal(err)
		}
		return marks
	}
	c := click{log: 9000, event: 5000, judge: 5000, receivedMicros: 9_000_000, id: "c"}
	if got := apply(0, 7000, 9000, c); got != nil {
		t.Errorf("before the other channel: got %v, want nothing", got)
	}
	// Log time 9000 is not over: the click waits, and the watermark with it.
	if got := apply(1, 8000, 9000); !slices.Equal(got, []int64{5000, 0}) {
		t.Errorf("got %v, want an empty block at 5000", got)
	}
}
