// Package loadgen makes a realistic click log: popular and unpopular ads, browsers, pages and
// countries, and, in known numbers, every kind of click that is not simply billed: copies, attackers,
// bots, listed networks, late, stale and broken records.
//
// It is pure: the same Config gives the same records, byte for byte, in order of arrival. It has no
// clock; all times follow from Config.StartMillis. A record can be had as a Kafka record, as
// csp.adclick.v1.ClickEvent, or as the URL and headers with which a browser would come to the
// tracking gateway. If wanted, impressions of the ads come between the clicks, which are the same with
// and without them.
package loadgen

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
)

const (
	recentMax     = 1 << 15    // clicks from which copies are taken
	recentMicros  = 30_000_000 // how old the original of a Duplicate is, at most
	oldMicros     = 630_000_000
	oldStepMicros = 500_000 // one click is remembered for DuplicateOld in this time
	oldMax        = 1 << 13
)

// draft is a click in numbers, from which its texts are made.
type draft struct {
	serial         uint64
	ad             int32
	user           uint32
	addr           netip.Addr
	agent, page    uint16
	place          uint16
	bot            uint8 // 1 + index into bots; 0 is an ordinary browser
	unit           uint8 // of the timestamp on the wire
	eventMicros    int64
	receivedMicros int64
	cost           float64
	withoutReceipt bool
	variant        uint8 // of what is broken
	isImpression   bool
	isClicked      bool // it is the impression of a click
}

// Generator yields the records of a log in order of arrival. It is for one goroutine.
type Generator struct {
	cfg     Config
	catalog *catalog
	rng     *rand.Rand

	steps     []step
	attackers []attacker

	startMicros int64
	stepMicros  float64 // between two slots of the even flow
	slots, slot int64
	slotAt      int64 // arrival in the next slot, micros since the start
	serial      uint64
	limits      []limit
	forced      []Kind // one of each kind that is wanted, at even distances
	forcedEvery int64

	recent  []draft // a ring of recentMax
	recents int64   // how many were ever put there
	old     []draft // a ring of oldMax
	olds    int64

	counts      Counts
	impressions int64
	audience    *audience // nil: there are no impressions
}

// limit is the upper end, in 2^-32, of the part of a kind.
type limit struct {
	below uint64
	kind  Kind
}

// New returns the generator of the log that cfg describes.
func New(cfg Config) (*Generator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	g := &Generator{
		cfg: cfg, catalog: newCatalog(cfg), rng: rand.New(rand.NewPCG(cfg.Seed, 0x636c69636b73)),
		startMicros: cfg.StartMillis * 1000,
		recent:      make([]draft, min(recentMax, cfg.Clicks)), old: make([]draft, oldMax),
	}
	span := int64(float64(cfg.Clicks) / cfg.RatePerSecond * 1e6)
	g.steps, g.attackers = plan(cfg, g.catalog, g.rng, span, cfg.Clicks/2)
	g.slots = cfg.Clicks - int64(len(g.steps))
	g.stepMicros = float64(span) / float64(max(g.slots, 1))
	below := 0.0
	for _, s := range cfg.Shares.list() {
		if s.share > 0 {
			below += s.share
			g.limits = append(g.limits, limit{uint64(below * (1 << 32)), s.kind})
			g.forced = append(g.forced, s.kind)
		}
	}
	g.forcedEvery = max(g.slots/int64(len(g.forced)+1), 1)
	g.nextSlot()
	if cfg.ImpressionsPerClick > 0 {
		g.audience = newAudience(cfg, g.stepMicros)
	}
	return g, nil
}

// Counts are the numbers of clicks by kind that were yielded so far.
func (g *Generator) Counts() Counts { return g.counts }

// Impressions is the number of impressions that were yielded so far, copies included.
func (g *Generator) Impressions() int64 { return g.impressions }

// Next fills it with the next record and reports whether there was one. What it held before is
// overwritten.
func (g *Generator) Next(it *Item) bool {
	var d draft
	var kind Kind
	var ok bool
	if g.audience == nil {
		d, kind, ok = g.nextClick()
	} else {
		d, kind, ok = g.audience.next(g)
	}
	switch {
	case !ok:
		return false
	case d.isImpression:
		g.impressions++
	default:
		g.counts[kind]++
	}
	g.render(it, &d, kind)
	return true
}

// nextClick is the next click by the time of arrival.
func (g *Generator) nextClick() (d draft, kind Kind, ok bool) {
	switch {
	case len(g.steps) > 0 && (g.slot > g.slots || g.steps[0].at <= g.slotAt):
		d, kind = g.attack(g.steps[0])
		g.steps = g.steps[1:]
	case g.slot <= g.slots:
		d, kind = g.even()
		g.nextSlot()
	default:
		return draft{}, 0, false
	}
	return d, kind, true
}

// nextSlot moves on to the next slot; g.slot is its number, from 1.
func (g *Generator) nextSlot() {
	g.slotAt = int64((float64(g.slot) + g.rng.Float64()) * g.stepMicros)
	g.slot++
}

// even makes the record of the next slot.
func (g *Generator) even() (draft, Kind) {
	at := g.startMicros + g.slotAt
	kind := g.pickKind()
	if kind == Duplicate || kind == DuplicateOld || kind == Conflict {
		if d, kind, ok := g.copied(kind, at); ok {
			return d, kind
		}
		kind = Ordinary // nothing to copy yet
	}
	d := g.fresh(at)
	bits := g.rng.Uint64()
	d.variant = uint8(bits >> 56)
	switch kind {
	case Bot:
		d.bot = 1 + uint8(bits%uint64(len(bots)))
	case ListedIP:
		d.addr = listedAddr(bits)
	case Late:
		d.eventMicros = at - 60_000_000 - int64(bits%480_000_000)
	case VeryLate:
		d.eventMicros = at - 660_000_000 - int64(bits%10_800_000_000)
	case Stale:
		d.eventMicros = at - 86_460_000_000 - int64(bits%172_800_000_000)
	case Future:
		d.eventMicros = at + 310_000_000 + int64(bits%3_290_000_000)
	default: // nothing that shows in the draft
	}
	if kind <= VeryLate {
		g.remember(&d)
	}
	return d, kind
}

func (g *Generator) pickKind() Kind {
	bits := g.rng.Uint32()
	if n := g.slot - 1; n > 0 && n%g.forcedEvery == 0 && n/g.forcedEvery <= int64(len(g.forced)) {
		return g.forced[n/g.forcedEvery-1]
	}
	for _, l := range g.limits {
		if uint64(bits) < l.below {
			return l.kind
		}
	}
	return Ordinary
}

// fresh is a click of somebody on something, which arrives at the given time.
func (g *Generator) fresh(at int64) draft {
	bits := g.rng.Uint64()
	d := draft{
		serial: g.serial, ad: g.catalog.draw.index(g.rng.Uint64()),
		user: uint32(bits >> 32 * uint64(g.cfg.Users) >> 32), receivedMicros: at,
		page: uint16(bits >> 16 & 0xffff % uint64(len(g.catalog.pages))),
		// 5 to 300 ms on the way.
		eventMicros: at - 5_000 - int64(bits&0xffff)*295_000>>16,
	}
	g.serial++
	d.addr = g.catalog.home(d.user)
	d.agent, d.place = g.catalog.person(d.user)
	d.cost = g.catalog.ads[d.ad].cost
	switch u := mix64(d.serial + g.cfg.Seed); {
	case u%10 < 8:
		d.unit = unitMillis
	case u%10 == 8:
		d.unit = unitSeconds
	default:
		d.unit = unitMicros
	}
	d.withoutReceipt = d.serial%512 == 511
	return d
}

// attack makes the click of an attacker's step.
func (g *Generator) attack(s step) (draft, Kind) {
	at := g.startMicros + s.at
	d := g.fresh(at)
	a := &g.attackers[s.attacker]
	d.ad, d.cost = a.ad, g.catalog.ads[a.ad].cost
	d.unit, d.eventMicros, d.withoutReceipt = unitMillis, at-attackDelayMicros, false
	if a.fixesUser {
		d.user = a.user
	}
	if a.fixesAddr {
		d.addr = a.addr
		if d.serial%3 == 0 { // the same address in another form
			d.addr = netip.AddrFrom16(a.addr.As16())
		}
	}
	g.remember(&d)
	return d, s.kind
}

// copied makes a copy of an earlier click. A DuplicateOld is a Duplicate while nothing is old enough.
func (g *Generator) copied(kind Kind, at int64) (draft, Kind, bool) {
	if kind == DuplicateOld {
		if d, ok := g.oldClick(at - oldMicros); ok {
			d.receivedMicros, d.withoutReceipt = at, false
			return d, kind, true
		}
		kind = Duplicate
	}
	n := min(g.recents, int64(len(g.recent)))
	if n == 0 {
		return draft{}, kind, false
	}
	n = max(1, min(n, int64(recentMicros/max(g.stepMicros, 1))))
	d := g.recent[(g.recents-1-g.rng.Int64N(n))%int64(len(g.recent))]
	d.receivedMicros, d.withoutReceipt = at, false
	if kind == Conflict {
		if g.rng.Uint32()%2 == 0 {
			d.cost += 0.25
		} else {
			d.ad = (d.ad + 1) % int32(len(g.catalog.ads))
			if len(g.catalog.ads) == 1 {
				d.cost += 0.25
			}
		}
	}
	return d, kind, true
}

// remember keeps a valid click for copies.
func (g *Generator) remember(d *draft) {
	if len(g.recent) == 0 {
		return
	}
	g.recent[g.recents%int64(len(g.recent))] = *d
	g.recents++
	if g.olds == 0 || d.receivedMicros-g.old[(g.olds-1)%oldMax].receivedMicros >= oldStepMicros {
		g.old[g.olds%oldMax] = *d
		g.olds++
	}
}

// oldClick picks one of the remembered clicks that arrived before the given time.
func (g *Generator) oldClick(before int64) (draft, bool) {
	first := max(0, g.olds-oldMax)
	low, high := first, g.olds // the first that is not before
	for low < high {
		if mid := (low + high) / 2; g.old[mid%oldMax].receivedMicros < before {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == first {
		return draft{}, false
	}
	return g.old[(first+g.rng.Int64N(low-first))%oldMax], true
}

// listedAddr is an address of the networks that the default policy lists.
func listedAddr(bits uint64) netip.Addr {
	if bits>>8%4 == 0 {
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0x0b, 0xad}
		a[14], a[15] = byte(bits>>16), byte(bits>>24)
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte{198, 51, 100, byte(bits >> 16)})
}

// Ads calls f for the id and the owner of every ad of the log, in a fixed order.
func (g *Generator) Ads(f func(adID, advertiserID, campaignID string)) {
	for i := range g.catalog.ads {
		a := &g.catalog.ads[i]
		f(a.id, a.advertiserID, a.campaignID)
	}
}
