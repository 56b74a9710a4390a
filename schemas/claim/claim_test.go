package claim

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/clickledger/clickledger/schemas"
)

const keep = 1000

// copies makes clicks of one click_id in log order, with gaps around the time to live.
func copies(rng *rand.Rand) []Claim {
	var all []Claim
	log, next := int64(1_000_000), [3]int64{}
	for range 2 + rng.IntN(40) {
		log += rng.Int64N(3)
		if rng.IntN(4) == 0 {
			log += 1
		}
		p := rng.IntN(len(next))
		all = append(all, Claim{Position: schemas.Position{Partition: int32(p), Offset: next[p]}, LogMillis: log,
			ReceivedMicros: log*1000 + rng.Int64N(5) - 2, KeepMicros: keep, Content: rng.Uint64N(2)})
		next[p]++
	}
	slices.SortFunc(all, func(a, b Claim) int {
		if r := a.Begin(); r.precedes(&b) {
			return -1
		}
		return 1
	})
	return all
}

// plain judges in one walk, and remembers nothing but the newest winner.
func plain(all []Claim) []Owner {
	var out []Owner
	var owner Owner
	var anchor int64
	for i, c := range all {
		if i == 0 || c.ReceivedMicros-anchor > c.KeepMicros {
			owner, anchor = Owner{c.Position, c.Content}, c.ReceivedMicros
		}
		anchor = max(anchor, c.ReceivedMicros)
		out = append(out, owner)
	}
	return out
}

// TestReplay judges random copies and reads some again, from any place, as two workers do that do
// not know of each other: every claim always gets the owner that it gets in one walk over the log.
func TestReplay(t *testing.T) {
	t.Parallel()
	winners := 0
	for range 2000 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		all := copies(rng)
		want := plain(all)
		var h History
		done := 0 // the claims before it have been judged by somebody
		for done < len(all) {
			from := rng.IntN(done + 1)
			to := min(len(all), from+1+rng.IntN(10))
			for i := from; i < to; i++ {
				got, changed := h.Judge(&all[i])
				if got != want[i] {
					t.Fatalf("seed %d: claim %d of %d, %d judged: got %v, want %v", seed, i, len(all), done, got, want[i])
				}
				if changed && i < done {
					t.Fatalf("seed %d: claim %d changes the history though it was judged", seed, i)
				}
			}
			done = max(done, to)
			back, err := Decode(string(h.Append(nil)))
			if err != nil || !slices.Equal(back, h) {
				t.Fatalf("seed %d: got %v (%v), want %v", seed, back, err, h)
			}
		}
		winners += len(h)
	}
	if winners < 4000 {
		t.Errorf("%d winners in 2000 logs: the test tests little", winners)
	}
}

// TestPeriods keeps a history by periods, each beginning with what the one before it leaves: what
// Within keeps is enough to judge again from any place.
func TestPeriods(t *testing.T) {
	t.Parallel()
	for range 1000 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 2))
		all := copies(rng)
		want := plain(all)
		period := 3 + rng.Int64N(20) // longer than the time to live and the receipts' jitter
		byPeriod := map[int64]History{}
		judge := func(i int) Owner {
			c := &all[i]
			q := c.LogMillis / period
			h := slices.Clone(byPeriod[q])
			h.Merge(byPeriod[q-1])
			h.Merge(byPeriod[q+1])
			got, changed := h.Judge(c)
			if changed {
				byPeriod[q] = slices.Clone(h.Within(q*period, (q+1)*period))
			}
			return got
		}
		for done := 0; done < len(all); {
			from := rng.IntN(done + 1)
			to := min(len(all), done+1+rng.IntN(5))
			for i := from; i < to; i++ {
				if got := judge(i); got != want[i] {
					t.Fatalf("seed %d: claim %d of %d, %d judged: got %v, want %v", seed, i, len(all), done, got, want[i])
				}
			}
			done = to
		}
	}
}

// TestClaimOfAnIdlePartition comes after a later one was judged: it is its copy, now and when both
// are read again.
func TestClaimOfAnIdlePartition(t *testing.T) {
	t.Parallel()
	late := Claim{Position: schemas.Position{Partition: 1}, LogMillis: 95, ReceivedMicros: 95_000, KeepMicros: keep}
	first := Claim{LogMillis: 100, ReceivedMicros: 100_000, KeepMicros: keep}
	var h History
	for i, c := range []*Claim{&first, &late, &late, &first} {
		if got, _ := h.Judge(c); got.Position != first.Position {
			t.Errorf("claim %d: got %v", i, got)
		}
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	h := History{{LogMillis: 1}, {LogMillis: 5}, {LogMillis: 10}, {LogMillis: 15}, {LogMillis: 20}}
	for _, tc := range []struct{ from, to, first, end int64 }{
		{10, 20, 1, 4}, {0, 30, 0, 5}, {6, 7, 1, 2}, {30, 40, 4, 5}, {0, 1, 0, 0}, {2, 3, 0, 1},
	} {
		if got, want := h.Within(tc.from, tc.to), h[tc.first:tc.end]; !reflect.DeepEqual(got, want) {
			t.Errorf("from %d to %d: got %v, want %v", tc.from, tc.to, got, want)
		}
	}
	many := make(History, RunsMax+7)
	if got := len(many.Within(0, 1)); got != RunsMax {
		t.Errorf("got %d runs, want %d", got, RunsMax)
	}
}

func TestDecodeMalformed(t *testing.T) {
	t.Parallel()
	if _, err := Decode("too short"); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want %v", err, ErrMalformed)
	}
}
