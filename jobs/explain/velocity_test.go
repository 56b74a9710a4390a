package explain

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// TestCount holds the evidence to the sentence of the contract: over so many unique clicks in (t - window,
// t] up to and including a click make it invalid, and so is every one within the cooling time after.
func TestCount(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse([]byte(`
revisions:
  - {effective_from: 2020-01-01T00:00:00Z, velocity: {window: 10s, max_clicks: 3, cooling: 20s}}
  - {effective_from: 2026-03-01T12:01:00Z, velocity: {window: 5s, max_clicks: 2, cooling: 40s}}
`))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tripped := 0
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		clicks := make([]IdentityClick, 2+random.IntN(60))
		at := start
		for i := range clicks {
			at = at.Add(time.Duration(random.IntN(8)) * time.Second)
			clicks[i] = IdentityClick{Position: Position{Offset: int64(i)}, ClickID: fmt.Sprint(i), EventTime: at,
				Batch: []string{"billable", "invalid", "billable", "duplicate"}[random.IntN(4)]}
		}
		self := len(clicks) - 1
		clicks[self].Batch = "billable"
		var unique []int
		for i := range clicks {
			if clicks[i].isUnique() {
				unique = append(unique, i)
			}
		}
		inWindow := func(i int) (n int) {
			for _, j := range unique {
				if j <= i && clicks[j].EventTime.After(clicks[i].EventTime.Add(-p.At(clicks[i].EventTime.UnixMilli()).Velocity.Window)) {
					n++
				}
			}
			return n
		}
		last := -1
		rule := p.At(clicks[self].EventTime.UnixMilli()).Velocity
		for _, i := range unique {
			isTrip := inWindow(i) > p.At(clicks[i].EventTime.UnixMilli()).Velocity.MaxClicks
			if isTrip && (i == self || clicks[self].EventTime.Sub(clicks[i].EventTime) < rule.Cooling) {
				last = i
			}
		}
		var v Velocity
		v.count(clicks, schemas.Position{Offset: int64(self)}, p)
		got := -1
		if v.Trip != nil {
			got = int(v.Trip.Offset)
			tripped++
			if v.Trip.Count != inWindow(got) || v.Trip.IsSelf != (got == self) || v.Clicks[len(v.Clicks)-1].ClickID != v.Trip.ClickID {
				t.Errorf("seed %d: trip %+v, clicks to %+v", seed, v.Trip, v.Clicks[len(v.Clicks)-1])
			}
		}
		if got != last || v.Count != inWindow(self) {
			t.Errorf("seed %d: tripped by %d, want %d; %d in the window, want %d", seed, got, last, v.Count, inWindow(self))
		}
	}
	if tripped == 0 || tripped == 300 {
		t.Errorf("%d of 300 are over the limit", tripped)
	}
}
