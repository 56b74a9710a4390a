package loadgen

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
)

const (
	attackDelayMicros = 40_000 // between an attacker's click and its arrival, always the same
	burstMicros       = 5_000_000
	returns           = 3
)

// step is one click of an attacker, at its arrival in micros since the start of the log.
type step struct {
	at       int64
	attacker int32
	kind     Kind
}

// attacker is who clicks one ad over and over.
type attacker struct {
	ad        int32
	user      uint32
	addr      netip.Addr
	fixesUser bool
	fixesAddr bool
}

// plan lays out what the attackers do within spanMicros, in order of arrival, in at most limit steps.
func plan(cfg Config, c *catalog, rng *rand.Rand, spanMicros, limit int64) ([]step, []attacker) {
	var steps []step
	var attackers []attacker
	add := func(times []int64, kind Kind) {
		for _, at := range times {
			steps = append(steps, step{at: at, attacker: int32(len(attackers) - 1), kind: kind})
		}
	}
	a := cfg.Attackers
	for i := range max(a.AtLimit, a.OverLimit, a.Bursts) {
		for _, shape := range []struct {
			count int
			times func(*rand.Rand, int64, int64) ([]int64, []int64)
			kind  Kind
			then  Kind
		}{
			{a.AtLimit, atLimit, AtLimit, AtLimit},
			{a.OverLimit, overLimit, OverLimit, OverLimit},
			{a.Bursts, burst(a.BurstClicks), Attack, AttackReturn},
		} {
			if i >= shape.count {
				continue
			}
			// Evenly over the log, each somewhere within its own part.
			from := int64(float64(spanMicros) * (float64(i) + rng.Float64()) / float64(shape.count))
			first, later := shape.times(rng, from, spanMicros)
			if int64(len(steps)+len(first)+len(later)) > limit {
				continue
			}
			attackers = append(attackers, newAttacker(cfg, c, rng, len(attackers)))
			add(first, shape.kind)
			add(later, shape.then)
		}
	}
	slices.SortStableFunc(steps, func(x, y step) int { return cmp.Compare(x.at, y.at) })
	return steps, attackers
}

func newAttacker(cfg Config, c *catalog, rng *rand.Rand, n int) attacker {
	return attacker{
		ad:   c.draw.index(rng.Uint64()),
		user: uint32(cfg.Users + n), // nobody else's
		// The shared address space of RFC 6598, in which no ordinary user lives.
		addr:      netip.AddrFrom4([4]byte{100, 64 | byte(n>>16&63), byte(n >> 8), byte(n)}),
		fixesAddr: n%3 != 1,
		fixesUser: n%3 != 0,
	}
}

// atLimit gives the times of 30 clicks within ten seconds, and of one more when the first is exactly
// ten seconds old and so counts no longer.
func atLimit(_ *rand.Rand, from, span int64) (first, later []int64) {
	length := min(limitMicros, span/2)
	from = roundMillis(max(0, min(from, span-length-1000)))
	for i := range int64(limitClicks) {
		first = append(first, roundMillis(from+i*(length-200_000)/limitClicks))
	}
	if length == limitMicros {
		later = append(later, from+limitMicros)
	}
	return first, later
}

// overLimit gives the times of 31 clicks within ten seconds.
func overLimit(rng *rand.Rand, from, span int64) (first, later []int64) {
	first, _ = burst(limitClicks+1)(rng, from, span)
	return first, nil
}

// burst gives the times of n clicks in five seconds, and of a few within the cooling hour.
func burst(n int) func(*rand.Rand, int64, int64) ([]int64, []int64) {
	return func(rng *rand.Rand, from, span int64) (first, later []int64) {
		length := min(burstMicros, span/4)
		from = max(0, min(from, span-length-1000))
		for i := range int64(n) {
			first = append(first, roundMillis(from+i*length/int64(n)))
		}
		quiet := from + length + limitMicros + 1_000_000
		if room := min(span, from+3600_000_000) - quiet; room > 0 {
			for range returns {
				later = append(later, roundMillis(quiet+rng.Int64N(room)))
			}
		}
		return first, later
	}
}

// roundMillis cuts down to whole milliseconds, in which event times are kept.
func roundMillis(micros int64) int64 { return micros - micros%1000 }
