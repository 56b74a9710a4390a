package shardstate

import (
	"math"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"

	"github.com/clickledger/clickledger/transforms/snapshot"
)

// ring is what is known of the Bags of what a core learned and will forget. One bag is written at a
// time; the ring turns to the next one when that has grown old, and is empty or not needed any more.
type ring struct {
	current  int
	segments int64                                 // of all bags, since the beginning
	bags     [RingBags]struct{ first, last int64 } // stamps
	isUsed   [RingBags]bool
}

func (r *ring) record(sp state.Provider, bags *[RingBags]state.Bag[[]byte], core Core, learned snapshot.Journal) error {
	if len(learned.Recent) == 0 {
		return nil
	}
	if err := r.turn(sp, bags, core, learned.Stamp); err != nil {
		return err
	}
	r.note(r.current, learned.Stamp)
	s := segment{kind: kindEntry, number: r.segments, stamp: learned.Stamp, data: learned.Recent}
	r.segments++
	return bags[r.current].Add(sp, s.encode())
}

// turn goes on to the next bag where it is time.
func (r *ring) turn(sp state.Provider, bags *[RingBags]state.Bag[[]byte], core Core, stamp int64) error {
	next := (r.current + 1) % RingBags
	isYoung := !r.isUsed[r.current] || stamp-r.bags[r.current].first < core.Span()/(RingBags-2)
	if isYoung || r.isUsed[next] && r.bags[next].last > core.Horizon() {
		return nil
	}
	if r.isUsed[next] {
		if err := bags[next].Clear(sp); err != nil {
			return err
		}
		r.isUsed[next] = false
	}
	r.current = next
	return nil
}

func (r *ring) note(bag int, stamp int64) {
	b := &r.bags[bag]
	if !r.isUsed[bag] {
		b.first, b.last = stamp, math.MinInt64
	}
	b.last = max(b.last, stamp)
	r.isUsed[bag] = true
}

func (r *ring) restore(sp state.Provider, bags *[RingBags]state.Bag[[]byte], core Core) error {
	*r = ring{}
	var all []segment
	newest := int64(-1)
	for i := range bags {
		segments, err := readSegments(sp, bags[i])
		if err != nil {
			return err
		}
		for _, s := range segments {
			r.note(i, s.stamp)
		}
		if n := len(segments); n > 0 && segments[n-1].number > newest {
			newest, r.current = segments[n-1].number, i
		}
		all = append(all, segments...)
	}
	r.segments = newest + 1
	sortSegments(all)
	for _, s := range all {
		if err := core.Redo(s.data); err != nil {
			return err
		}
	}
	return nil
}
