package loadgen

import (
	"container/heap"
	"math/rand/v2"
)

const (
	// ImpressionsMax bounds Config.ImpressionsPerClick.
	ImpressionsMax = 100

	leadMicros       = 5_000_000 // how long before its click an impression is, at most
	leadClicks       = 1 << 13   // and how many clicks that may be
	repeatShare      = 0.02      // of the impressions, which are sent twice
	repeatMinMicros  = 50_000
	repeatSpanMicros = 2_000_000
)

// audience makes the impressions to which clicks belong. An ad is shown to whoever clicks it, some time before, and to
// others who do not. Some pages send an impression twice. So the clicks have to be known ahead.
type audience struct {
	rng    *rand.Rand
	mean   float64
	lead   int64 // micros
	serial uint64
	count  int64

	due  arrivals
	last int64 // arrival of the newest click that is known
	done bool  // all clicks are known
}

// newAudience has no influence on the clicks, which draw from another source.
func newAudience(cfg Config, stepMicros float64) *audience {
	return &audience{
		rng: rand.New(rand.NewPCG(cfg.Seed, 0x696d7072657373)), mean: cfg.ImpressionsPerClick,
		lead: int64(min(leadMicros, leadClicks*stepMicros)),
	}
}

// arrival is a click or an impression that is not yielded yet; order is that in which they were made.
type arrival struct {
	draft
	kind  Kind
	order int64
}

// arrivals is a heap, by the time of arrival.
type arrivals []arrival

func (a *arrivals) Len() int      { return len(*a) }
func (a *arrivals) Swap(i, j int) { (*a)[i], (*a)[j] = (*a)[j], (*a)[i] }
func (a *arrivals) Less(i, j int) bool {
	x, y := &(*a)[i], &(*a)[j]
	if x.receivedMicros != y.receivedMicros {
		return x.receivedMicros < y.receivedMicros
	}
	return x.order < y.order
}
func (a *arrivals) Push(x any) { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	*a = (*a)[:last]
	return x
}

func (a *audience) add(d *draft, kind Kind) {
	a.count++
	heap.Push(&a.due, arrival{draft: *d, kind: kind, order: a.count})
}

// next is the next click or impression by the time of arrival.
func (a *audience) next(g *Generator) (d draft, kind Kind, ok bool) {
	// No impression of a click that is not known yet is earlier than that.
	for !a.done && (len(a.due) == 0 || a.due[0].receivedMicros > a.last-a.lead) {
		click, kind, ok := g.nextClick()
		if !ok {
			a.done = true
			break
		}
		a.last = click.receivedMicros
		a.add(&click, kind)
		a.show(g, &click, kind)
	}
	if len(a.due) == 0 {
		return draft{}, 0, false
	}
	first := heap.Pop(&a.due).(arrival)
	return first.draft, first.kind, true
}

// show makes the impressions of a click's ad: that of the visitor, and those of others.
func (a *audience) show(g *Generator, click *draft, kind Kind) {
	if kind == Duplicate || kind == DuplicateOld || kind == Conflict {
		return // the click was sent again, and nothing shown
	}
	// Some ads are clicked more often than others: a rate of its own for each.
	liking := float64(mix64(g.cfg.Seed+saltLiking+uint64(click.ad))>>40) / (1 << 24)
	n := int(a.mean*(0.5+liking) + a.rng.Float64())
	if kind == Attack || kind == AttackReturn || kind == AtLimit || kind == OverLimit {
		n = min(n, 1) // an attacker brings no audience
	}
	for i := range n {
		d := *click
		d.isImpression, d.isClicked = true, i == 0
		if i > 0 {
			d.user = uint32(a.rng.IntN(g.cfg.Users))
			d.addr, d.bot = g.catalog.home(d.user), 0
			d.agent, d.place = g.catalog.person(d.user)
			d.page = uint16(a.rng.IntN(len(g.catalog.pages)))
		}
		earliest := max(g.startMicros, click.receivedMicros-a.lead)
		d.receivedMicros = earliest + int64(a.rng.Float64()*float64(click.receivedMicros-earliest))
		d.eventMicros = d.receivedMicros - 5_000 - a.rng.Int64N(295_000)
		d.serial, d.cost, d.withoutReceipt, d.unit = a.serial, 0, false, unitMillis
		a.serial++
		a.add(&d, Ordinary)
		if a.rng.Float64() < repeatShare {
			d.receivedMicros += repeatMinMicros + a.rng.Int64N(repeatSpanMicros)
			a.add(&d, Duplicate)
		}
	}
}
