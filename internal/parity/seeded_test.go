package parity

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/schemas"
)

const (
	logPartitions = 4
	// jitterMillis is how far a record may be pushed back in the log and still be on time: events
	// are up to 1.3 s old, where seconds are their unit, and the watermark is 2 s behind.
	jitterMillis = 600
)

// seeded describes a log around midnight that follows from a seed.
type seeded struct {
	seed   uint64
	clicks int64
	rate   float64 // a second
	// isLate adds clicks that come behind the watermark, and copies beyond the stream's memory.
	isLate bool
	// isScattered lays the copies of a click into different partitions; the order is not shuffled.
	isScattered bool
}

// arrival is a record and the place in the log where it goes.
type arrival struct {
	rec   schemas.Record
	id    string
	place int64 // Unix milliseconds
}

// start is when the first record arrives: 50 minutes before midnight.
func (s seeded) start() int64 { return day.Add(24*time.Hour - 50*time.Minute).UnixMilli() }

func (s seeded) log(t testing.TB) *clickLog {
	t.Helper()
	cfg := loadgen.DefaultConfig(s.seed, s.clicks, s.start(), s.rate)
	cfg.Advertisers, cfg.Ads, cfg.Users = 20, 300, 5_000
	cfg.Attackers = loadgen.Attackers{Bursts: 6, BurstClicks: 60, AtLimit: 5, OverLimit: 5}
	sh := &cfg.Shares
	if sh.Late, sh.VeryLate, sh.DuplicateOld = 0, 0, 0; s.isLate {
		sh.Late, sh.VeryLate, sh.DuplicateOld = 0.03, 0.01, 0.02
	}
	g, err := loadgen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var list []arrival
	var it loadgen.Item
	for g.Next(&it) {
		if s.isScattered && it.Click.ReceivedAt != 0 {
			it.Click.ReceivedAt -= it.Click.ReceivedAt % 1000 // the log keeps milliseconds, and orders by them
		}
		list = append(list, arrival{id: string(it.Click.ClickID), place: it.ReceivedAtMicros / 1000,
			rec: schemas.Record{TimestampMicros: it.ReceivedAtMicros / 1000 * 1000,
				Key: it.AppendKey(nil, schemas.KeyClickID, 0), Value: it.AppendValue(nil)}})
	}
	for _, e := range s.attackers() {
		e = e.withDefaults()
		list = append(list, arrival{id: e.id, place: e.received, rec: schemas.Record{TimestampMicros: e.record * 1000,
			Key: []byte(e.id), Value: e.value()}})
	}
	return s.arrange(list)
}

// arrange shuffles and lays the records into partitions.
func (s seeded) arrange(list []arrival) *clickLog {
	rng := rand.New(rand.NewPCG(s.seed, 1))
	jitter := map[string]int64{} // copies keep their order
	for i := range list {
		if _, ok := jitter[list[i].id]; !ok {
			jitter[list[i].id] = rng.Int64N(jitterMillis)
		}
		if !s.isScattered {
			list[i].place += jitter[list[i].id]
		}
	}
	slices.SortStableFunc(list, func(a, b arrival) int { return cmp.Compare(a.place, b.place) })
	l := &clickLog{}
	for _, a := range list {
		h := fnv.New32a()
		_, _ = h.Write([]byte(a.id))
		p := int32(h.Sum32() % logPartitions)
		if s.isScattered {
			p = rng.Int32N(logPartitions)
		}
		l.put(p, a.rec)
	}
	return l
}

// attackers click at the exact thresholds of the default policy, some across midnight.
func (s seeded) attackers() []event {
	rng := rand.New(rand.NewPCG(s.seed, 2))
	midnight := day.AddDate(0, 0, 1).UnixMilli()
	who := func(n int, name string) event {
		e := event{id: fmt.Sprintf("%s-%d", name, n), ad: fmt.Sprintf("ad-%s-%d", name, n), adv: fmt.Sprintf("adv-%d", n), cost: 0.5}
		switch n % 3 { // an address and many users, a user and many addresses, or both
		case 0:
			e.ip = fmt.Sprintf("203.0.113.%d", n+1)
		case 1:
			e.user, e.ip = name+"-user", "-"
		default:
			e.user, e.ip = name+"-user", "::ffff:203.0.113.77"
		}
		return e
	}
	var all []event
	add := func(e event, offsets ...int64) {
		for i, at := range offsets {
			c := e
			c.id, c.at = fmt.Sprintf("%s-%d-%03d", e.id, at, i), at
			switch {
			case e.user == "":
				c.user = "user-of-" + c.id
			case e.ip == "-":
				c.ip = fmt.Sprintf("10.%d.%d.%d", rng.IntN(256), rng.IntN(256), i%256)
			}
			all = append(all, c)
		}
	}
	evenly := func(from int64, n int, step int64) []int64 {
		at := make([]int64, n)
		for i := range at {
			at[i] = from + int64(i)*step
		}
		return at
	}
	for n := range 3 {
		from := s.start() + int64(n)*20*second + rng.Int64N(10*second)
		// 30 in less than ten seconds, and one more when the first is exactly ten seconds old.
		add(who(n, "limit"), append(evenly(from, 30, 333), from+10*second)...)
		// 31 in less than ten seconds: the last trips, and the cooling ends to the millisecond.
		trip := from + 30*333
		add(who(n, "over"), append(evenly(from, 31, 333), trip+59*minute+59_999, trip+60*minute)...)
		// 40 in one millisecond: 30 are good.
		add(who(n, "instant"), evenly(from, 40, 0)...)
		// Trips before midnight, again within the cooling time, and cools from there.
		again := midnight - 2*second
		add(who(n, "again"), slices.Concat(evenly(from, 31, 10), evenly(again, 31, 100), []int64{from + 61*minute, again + 3*second + 60*minute - 1,
			again + 3*second + 60*minute})...)
		// A burst over midnight itself.
		add(who(n, "midnight"), evenly(midnight-15*50, 32, 50)...)
	}
	return all
}
