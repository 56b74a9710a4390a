package invalidtraffic

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

const (
	origin = 1_782_302_400_000
	hour   = 3_600_000
)

// judgeOne passes clicks in offset order through one core and returns the rules of each. Without
// a judge time a click is on time.
func judgeOne(t *testing.T, p *policy.Policy, identity Identity, clicks []click) []schemas.Rules {
	t.Helper()
	for i := range clicks {
		c := &clicks[i]
		c.Offset, c.id, c.log = int64(i), fmt.Sprint("c", i), max(c.log, c.event)
		if c.judge == 0 {
			c.judge = c.event
		}
	}
	b := schemas.Block{Header: schemas.Header{Channels: 1, Next: 1, WatermarkMillis: schemas.MaxWatermark}}
	for i := range clicks {
		appendClick(&b, &clicks[i])
	}
	got := judged(t, run(t, NewCore(p, identity, 0, 1, 1), [][]byte{b.Append(nil)}, nil))
	rules := make([]schemas.Rules, len(clicks))
	for i := range clicks {
		one := got[schemas.Position{Offset: int64(i)}]
		rules[i] = one.Rules[0]
		wantVerdict := clicks[i].verdict
		if identity == ByUser && wantVerdict == schemas.Billable && rules[i] != 0 {
			wantVerdict = schemas.Invalid
		}
		if one.Verdict[0] != wantVerdict {
			t.Errorf("click %d: got verdict %s, want %s", i, one.Verdict[0], wantVerdict)
		}
	}
	return rules
}

// burst is n clicks of one identity from an event time on, some milliseconds apart.
func burst(n int, from, apart int64) (clicks []click) {
	for i := range n {
		clicks = append(clicks, click{event: origin + from + int64(i)*apart, ip: "i", user: "u"})
	}
	return clicks
}

func TestVelocityBoundaries(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		clicks  []click
		invalid []int // indices
	}{
		"30 in 10 s":                     {burst(30, 0, 333), nil},
		"31 in 10 s":                     {burst(31, 0, 333), []int{30}},
		"31 over exactly 10 s":           {append(burst(30, 0, 1), burst(1, 10_000, 0)...), nil},
		"31 within 10 s less 1 ms":       {append(burst(30, 0, 0), burst(1, 9_999, 0)...), []int{30}},
		"40 in one millisecond":          {burst(40, 0, 0), []int{30, 31, 32, 33, 34, 35, 36, 37, 38, 39}},
		"cooling to the last ms":         {append(burst(31, 0, 0), burst(1, hour-1, 0)...), []int{30, 31}},
		"cooling is over":                {append(burst(31, 0, 0), burst(1, hour, 0)...), []int{30}},
		"cooling from the latest trip":   {append(burst(31, 0, 100), burst(1, 3000+hour-1, 0)...), []int{30, 31}},
		"cooling over from latest trip":  {append(burst(31, 0, 100), burst(1, 3000+hour, 0)...), []int{30}},
		"slow clicks keep no cooling up": {append(burst(31, 0, 0), burst(3, hour/2, hour/2)...), []int{30, 31}},
	} {
		for _, identity := range []Identity{ByIP, ByUser} {
			t.Run(fmt.Sprint(name, "/", identity), func(t *testing.T) {
				t.Parallel()
				rule := []schemas.Rules{schemas.RuleVelocityIPAd, schemas.RuleVelocityUserAd}[identity]
				for i, got := range judgeOne(t, policy.Default(), identity, slices.Clone(tc.clicks)) {
					want := schemas.Rules(0)
					if slices.Contains(tc.invalid, i) {
						want = rule
					}
					if got != want {
						t.Errorf("click %d: got %v, want %v", i, got.Names(), want.Names())
					}
				}
			})
		}
	}
}

// TestCoolingTripsAgain: clicks in the cooling time count, and prolong it.
func TestCoolingTripsAgain(t *testing.T) {
	t.Parallel()
	clicks := append(burst(31, 0, 0), burst(31, hour/2, 0)...)
	clicks = append(clicks, burst(1, hour, 0)[0], burst(1, hour/2+hour-1, 0)[0], burst(1, hour/2+hour, 0)[0])
	rules := judgeOne(t, policy.Default(), ByIP, clicks)
	for i, got := range rules {
		want := i >= 30 && i < len(rules)-1
		if (got != 0) != want {
			t.Errorf("click %d: got %v, want invalid: %t", i, got.Names(), want)
		}
	}
}

// TestWhatIsNotCounted: no identity, duplicates and clicks that are too late count for nobody.
func TestWhatIsNotCounted(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*click){
		"no identity": func(c *click) { c.ip, c.user = "", "" },
		"duplicates":  func(c *click) { c.verdict = schemas.Duplicate },
		"late":        func(c *click) { c.verdict = schemas.Late },
	} {
		for _, identity := range []Identity{ByIP, ByUser} {
			clicks := burst(100, 0, 0)
			for i := range clicks[:80] {
				change(&clicks[i])
			}
			for i, got := range judgeOne(t, policy.Default(), identity, clicks) {
				if got != 0 {
					t.Errorf("%s: identity %d: click %d: got %v, want no rule", name, identity, i, got.Names())
				}
			}
		}
	}
}

// TestBothRules: the second rule counts what the first has found, and turns it invalid.
func TestBothRules(t *testing.T) {
	t.Parallel()
	b := schemas.Block{Header: schemas.Header{Channels: 1, Next: 1, WatermarkMillis: schemas.MaxWatermark}}
	for i := range 40 {
		c := click{Position: schemas.Position{Offset: int64(i)}, event: origin, judge: origin, log: origin, id: "c", ip: "i", user: "u"}
		if i >= 38 {
			c.user = "other"
		}
		appendClick(&b, &c)
	}
	b.Rules[5] = schemas.RuleBotUserAgent
	first := run(t, NewCore(policy.Default(), ByIP, 0, 1, 1), [][]byte{b.Append(nil)}, nil)
	var second [][]byte
	for _, s := range first {
		second = append(second, []byte(s.data))
	}
	got := judged(t, run(t, NewCore(policy.Default(), ByUser, 0, 1, 1), second, nil))
	for i := range 40 {
		one, want := got[schemas.Position{Offset: int64(i)}], schemas.Rules(0)
		if i >= 30 {
			want |= schemas.RuleVelocityIPAd
			if i < 38 {
				want |= schemas.RuleVelocityUserAd
			}
		}
		if i == 5 {
			want |= schemas.RuleBotUserAgent
		}
		if one.Rules[0] != want || (one.Verdict[0] == schemas.Invalid) != (want != 0) {
			t.Errorf("click %d: got %s %v, want %v", i, one.Verdict[0], one.Rules[0].Names(), want.Names())
		}
	}
}

// TestAcrossRevisions: a click is judged by the revision of its own event time, with the windows
// that span the change.
func TestAcrossRevisions(t *testing.T) {
	t.Parallel()
	p := parsePolicy(t, `revisions:
  - {velocity: {max_clicks: 5, window: 10s, cooling: 1h}}
  - {effective_from: 2026-06-24T12:00:00Z, velocity: {max_clicks: 2, window: 20s, cooling: 1m}}
`)
	at := p.Revisions[1].EffectiveFrom.UnixMilli() - origin
	for name, tc := range map[string]struct {
		clicks  []click
		invalid []int
	}{
		"the limit of the click":    {append(burst(2, at-1000, 1), burst(1, at, 0)...), []int{2}},
		"before the change":         {burst(3, at-1000, 1), nil},
		"the window of the click":   {append(burst(2, at-19_999, 0), burst(1, at, 0)...), []int{2}},
		"beyond its window":         {append(burst(2, at-20_000, 0), burst(1, at, 0)...), nil},
		"cooling of the click":      {append(burst(6, at-59_999, 0), burst(1, at, 0)...), []int{5, 6}},
		"the new cooling is over":   {append(burst(6, at-60_000, 0), burst(1, at, 0)...), []int{5}},
		"the old cooling still was": {append(burst(6, at-60_001, 0), burst(1, at-1, 0)...), []int{5, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, got := range judgeOne(t, p, ByIP, tc.clicks) {
				if (got != 0) != slices.Contains(tc.invalid, i) {
					t.Errorf("click %d: got %v, want invalid: %v", i, got.Names(), tc.invalid)
				}
			}
		})
	}
}

// TestLateClicksGetTheirTurn: a late click counts in the window of its event time, when its turn has come.
func TestLateClicksGetTheirTurn(t *testing.T) {
	t.Parallel()
	// 30 clicks at 0 s; one at 5 s comes behind a watermark of 12.5 s, after one of somebody else's.
	clicks := burst(30, 0, 0)
	clicks = append(clicks, burst(1, 12_000, 0)[0], burst(1, 5000, 0)[0], burst(1, 13_000, 0)[0])
	clicks[30].ip = "other"
	clicks[31].judge, clicks[31].flags = origin+12_500, schemas.FlagLate
	var got []int
	for i, r := range judgeOne(t, policy.Default(), ByIP, clicks) {
		if r != 0 {
			got = append(got, i)
		}
	}
	// The late click is the 31st within its 10 s, and trips the cooling for what comes after its turn.
	if want := []int{31, 32}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// randomLog makes clicks of few identities in bursts; lateShare of 100 clicks are late.
func randomLog(rng *rand.Rand, partitions int32, lateShare int) [][]click {
	byPartition := make([][]click, partitions)
	for p := range byPartition {
		log := origin + rng.Int64N(3000)
		for i := range int64(100 + rng.IntN(400)) {
			switch rng.IntN(80) {
			case 0:
				log += rng.Int64N(hour + 5000)
			case 1:
				log += 8000 + rng.Int64N(4000)
			default:
				log += rng.Int64N(90)
			}
			event := log - rng.Int64N(skewMillis/2)
			if rng.IntN(100) < lateShare {
				event = log - rng.Int64N(700_000)
			}
			byPartition[p] = append(byPartition[p], click{Position: schemas.Position{Partition: int32(p), Offset: i},
				log: log, event: event, receivedMicros: log * 1000, id: fmt.Sprint("c", p, "/", i),
				ip: []string{"", "a", "b", "b", "b"}[rng.IntN(5)], user: []string{"", "x", "y", "y"}[rng.IntN(4)]})
		}
		late(byPartition[p], 600_000)
	}
	return byPartition
}

// naive judges on-time clicks of one identity rule, click by click, from the whole history.
func naive(byPartition [][]click, who func(*click) string, v policy.Velocity) map[schemas.Position]bool {
	groups := map[string][]click{}
	for _, clicks := range byPartition {
		for i := range clicks {
			if w := who(&clicks[i]); w != "" {
				groups[w] = append(groups[w], clicks[i])
			}
		}
	}
	out := map[schemas.Position]bool{}
	for _, group := range groups {
		slices.SortFunc(group, func(a, b click) int {
			return cmp.Or(cmp.Compare(a.event, b.event), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
		})
		lastTrip := int64(-1 << 60)
		for i, c := range group {
			n := 0
			for j := i; j >= 0 && group[j].event > c.event-v.Window.Milliseconds(); j-- {
				n++
			}
			if n > v.MaxClicks {
				lastTrip = c.event
			}
			out[c.Position] = c.event-lastTrip < v.Cooling.Milliseconds()
		}
	}
	return out
}

// TestVerdictsDependOnTheLogAlone delivers random logs in random orders. On-time clicks are judged
// as by the whole history; late ones alike in every order.
func TestVerdictsDependOnTheLogAlone(t *testing.T) {
	t.Parallel()
	p := policy.Default()
	hits := 0
	for round := range 40 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		partitions := 1 + rng.Int32N(4)
		lateShare := round % 2 * 8
		log := randomLog(rng, partitions, lateShare)
		identity, who := ByIP, func(c *click) string { return c.ip }
		if round%4 >= 2 {
			identity, who = ByUser, func(c *click) string { return c.user }
		}
		var chains [][][]byte
		for c := range partitions {
			chains = append(chains, chain(rng, c, partitions, log[c]))
		}
		fresh := func() *Core { return NewCore(p, identity, 0, 1, 3) }
		var first map[schemas.Position]*schemas.Block
		for range 3 {
			got := judged(t, run(t, fresh(), interleave(rng, chains), nil))
			if first == nil {
				first = got
			}
			for pos, b := range got {
				if b.Rules[0] != first[pos].Rules[0] || b.Verdict[0] != first[pos].Verdict[0] {
					t.Fatalf("seed %d: click %s: got %v, want %v as in another order", seed, pos, b.Rules[0].Names(), first[pos].Rules[0].Names())
				}
			}
		}
		want := naive(log, who, p.Revisions[0].Velocity)
		total := 0
		for _, clicks := range log {
			total += len(clicks)
			for i := range clicks {
				pos := clicks[i].Position
				got := first[pos].Rules[0] != 0
				if got {
					hits++
				}
				if lateShare == 0 && got != want[pos] {
					t.Fatalf("seed %d: click %s: got invalid %t, want %t", seed, pos, got, want[pos])
				}
			}
		}
		if len(first) != total {
			t.Fatalf("seed %d: got %d clicks, want %d", seed, len(first), total)
		}
		checkRebuilding(t, seed, fresh, interleave(rng, chains))
		checkRebuilding(t, seed, fresh, silentAtFirst(rng, chains))
	}
	if hits < 1000 {
		t.Errorf("%d clicks hit the rule: the test tests little", hits)
	}
}

// TestDifferencesHaveALateClick: where a channel that was silent brings clicks behind those that were
// judged, a verdict differs from that of the whole history only for a click that is marked late, or
// that follows one of its identity so closely that it counts.
func TestDifferencesHaveALateClick(t *testing.T) {
	t.Parallel()
	p := policy.Default()
	v := p.Revisions[0].Velocity
	history := v.Window.Milliseconds() + v.Cooling.Milliseconds()
	differ, marked := 0, 0
	for round := range 40 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 3))
		log := randomLog(rng, 2+rng.Int32N(3), round%2*8)
		var chains [][][]byte
		clicks := map[schemas.Position]*click{}
		for c, list := range log {
			chains = append(chains, chain(rng, int32(c), int32(len(log)), list))
			for i := range list {
				clicks[list[i].Position] = &list[i]
			}
		}
		want := naive(log, func(c *click) string { return c.ip }, v)
		got := map[schemas.Position]*schemas.Block{}
		for _, s := range run(t, NewCore(p, ByIP, 0, 1, 3), silentAtFirst(rng, chains), nil) {
			b := new(schemas.Block)
			if err := b.Decode([]byte(s.data)); err != nil {
				t.Fatal(err)
			}
			for i := range b.Len() {
				got[b.Position(i)] = new(schemas.Block)
				got[b.Position(i)].AppendFrom(b, i)
			}
		}
		late := map[string][]int64{}
		for pos, b := range got {
			if b.Flags[0]&schemas.FlagLate != 0 {
				late[clicks[pos].ip] = append(late[clicks[pos].ip], clicks[pos].event)
				marked += int(1 - clicks[pos].flags&schemas.FlagLate)
			}
		}
		for pos, c := range clicks {
			if (got[pos].Rules[0] != 0) == want[pos] {
				continue
			}
			differ++
			if !slices.ContainsFunc(late[c.ip], func(at int64) bool { return at <= c.event && at > c.event-history }) {
				t.Fatalf("seed %d: click %s differs, and no click of its identity is late", seed, pos)
			}
		}
	}
	if differ < 100 || marked < 1000 {
		t.Errorf("%d verdicts differ, %d clicks are marked: the test tests little", differ, marked)
	}
}
