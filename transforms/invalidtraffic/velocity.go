package invalidtraffic

import (
	"slices"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/expiring"
)

// historySlackMillis is how long an identity's clicks are kept beyond the velocity window, for
// late clicks that come together.
const historySlackMillis = 10_000

// velocity knows when identities clicked. Clicks are judged in their order; times are event times,
// and what is forgotten goes by the judge times, so that equal logs give equal verdicts.
type velocity struct {
	windowMillis    int64 // the longest of any revision
	retentionMillis int64 // how long a history counts after the last click, by judge time
	limit           int   // times kept of one identity: one more than any revision allows

	single *expiring.Map[moment]  // identities with one click that counts
	many   *expiring.Map[*recent] // identities with more
	trips  *expiring.Map[int64]   // event time of the latest click over the limit
}

// moment is one click: its event time, and the judge time at which it was counted.
type moment struct{ event, judged int64 }

// recent holds the newest event times of an identity in ascending order.
type recent struct {
	judged int64
	times  []int64
}

func newVelocity(p *policy.Policy) *velocity {
	window := policy.Max(p, func(r *policy.Revision) int64 { return r.Velocity.Window.Milliseconds() })
	cooling := policy.Max(p, func(r *policy.Revision) int64 { return r.Velocity.Cooling.Milliseconds() })
	lateness := policy.Max(p, func(r *policy.Revision) int64 { return r.AllowedLateness.Milliseconds() })
	retention := window + historySlackMillis
	return &velocity{
		windowMillis: window, retentionMillis: retention,
		limit:  1 + policy.Max(p, func(r *policy.Revision) int { return r.Velocity.MaxClicks }),
		single: expiring.New[moment](retention), many: expiring.New[*recent](retention),
		// A late click may look back from its own event time.
		trips: expiring.New[int64](cooling + lateness),
	}
}

// judge counts one click of an identity and reports whether it is invalid: over the limit itself,
// or within the cooling time of one that was; and whether it is the latest over the limit.
func (v *velocity) judge(k schemas.Key128, event, judged int64, rule policy.Velocity) (isInvalid, isTrip bool) {
	if v.count(k, event, judged, event-rule.Window.Milliseconds()) > rule.MaxClicks {
		trip, tripped := v.trips.Get(k)
		isTrip = !tripped || event > trip
		if isTrip {
			v.trips.Put(k, event, judged)
		}
		return true, isTrip
	}
	trip, tripped := v.trips.Get(k)
	return tripped && event >= trip && event-trip < rule.Cooling.Milliseconds(), false
}

// count adds the click and returns how many of the identity's lie in (after, event].
func (v *velocity) count(k schemas.Key128, event, judged, after int64) int {
	r, ok := v.many.Get(k)
	if ok && judged-r.judged > v.retentionMillis {
		v.many.Delete(k)
		ok = false
	}
	if !ok {
		first, found := v.single.Get(k)
		gone := found && judged-first.judged > v.retentionMillis
		if !found || gone || event-first.event >= v.windowMillis {
			v.single.Put(k, moment{event: event, judged: judged}, judged)
			return 1
		}
		v.single.Delete(k)
		r = &recent{times: append(make([]int64, 0, 4), first.event)}
	}
	at, _ := slices.BinarySearch(r.times, event+1)
	r.times = slices.Insert(r.times, at, event)
	if len(r.times) > v.limit {
		r.times = r.times[:copy(r.times, r.times[1:])]
		at--
	}
	r.judged = judged
	v.many.Put(k, r, judged)
	from, _ := slices.BinarySearch(r.times, after+1)
	return max(at+1-from, 0)
}
