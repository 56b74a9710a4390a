// Package oracle is a naive, obviously correct implementation of the billing contract in batch
// mode, for tests only: nothing but tests imports it. It shares no code with the decoder or the
// transforms; it reads a sentence of the contract and does what the sentence says, over whole
// slices in memory, good for a few hundred thousand clicks.
//
// Input: raw records in any order. Output: one outcome for each record, and the rows and totals
// of each billing day. Units: event times in Unix milliseconds, received times in Unix
// microseconds, money in int64 micros.
package oracle

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// Outcome is what became of one record.
type Outcome struct {
	Click   schemas.Click // of a dead letter only Position and ReceivedAtMicros count
	Verdict schemas.Verdict
	Rules   schemas.Rules  // of an invalid click
	Reason  schemas.Reason // of a dead letter
	// Winner is the position of the first copy of a duplicate; the own position otherwise.
	Winner schemas.Position
	// IsConflict marks a duplicate whose ad or cost differs from the winner's.
	IsConflict bool

	ip string // canonical, empty where there is none
}

// DayMillis returns the start of the UTC day to which the outcome belongs: that of its event time,
// of a dead letter that of its received time.
func (o *Outcome) DayMillis() int64 {
	return floorDiv(o.at(), dayMillis) * dayMillis
}

// at is the time that places the outcome in a day and before or after a cut, in milliseconds.
func (o *Outcome) at() int64 {
	if o.Verdict == schemas.DeadLettered {
		return floorDiv(o.Click.ReceivedAtMicros, 1000)
	}
	return o.Click.EventTimeMillis
}

// Result is the judgement of a log.
type Result struct {
	Outcomes []Outcome // in order of position
}

const dayMillis = 24 * 60 * 60 * 1000

// Judge gives every record of the log its verdict. Two records at one position are an error of
// the caller and panic.
func Judge(records []schemas.Record, p *policy.Policy) *Result {
	res := &Result{Outcomes: make([]Outcome, len(records))}
	for i, rec := range records {
		res.Outcomes[i] = decode(rec, p)
	}
	slices.SortFunc(res.Outcomes, func(a, b Outcome) int { return byPosition(&a, &b) })
	clicks := make([]*Outcome, 0, len(records))
	for i := range res.Outcomes {
		o := &res.Outcomes[i]
		if i > 0 && o.Click.Position == res.Outcomes[i-1].Click.Position {
			panic(fmt.Sprintf("two records at position %s", o.Click.Position))
		}
		if o.Verdict != schemas.DeadLettered {
			clicks = append(clicks, o)
		}
	}
	markDuplicates(clicks, p)
	markInvalid(clicks, p)
	return res
}

// markDuplicates sorts the copies of each click_id by the time of their recording and walks them:
// a copy within the look-back of the winner, end included, is a duplicate of it, and the first
// copy beyond is a new winner.
func markDuplicates(clicks []*Outcome, p *policy.Policy) {
	copies := map[string][]*Outcome{}
	for _, c := range clicks {
		copies[c.Click.ClickID] = append(copies[c.Click.ClickID], c)
	}
	for _, group := range copies {
		slices.SortFunc(group, func(a, b *Outcome) int {
			return cmp.Or(cmp.Compare(a.Click.ReceivedAtMicros, b.Click.ReceivedAtMicros), byPosition(a, b))
		})
		winner := group[0]
		for _, c := range group[1:] {
			lookback := p.At(c.Click.EventTimeMillis).Dedup.Lookback.Microseconds()
			if c.Click.ReceivedAtMicros-winner.Click.ReceivedAtMicros > lookback {
				winner = c
				continue
			}
			c.Verdict, c.Winner = schemas.Duplicate, winner.Click.Position
			c.IsConflict = c.Click.AdID != winner.Click.AdID || c.Click.CostMicros != winner.Click.CostMicros
		}
	}
}

// markInvalid judges the unique clicks by each rule.
func markInvalid(clicks []*Outcome, p *policy.Policy) {
	type identity struct{ who, ad string }
	byIP, byUser := map[identity][]*Outcome{}, map[identity][]*Outcome{}
	for _, c := range clicks {
		if c.Verdict == schemas.Duplicate {
			continue
		}
		if c.ip != "" {
			id := identity{c.ip, c.Click.AdID}
			byIP[id] = append(byIP[id], c)
		}
		if c.Click.UserID != "" {
			id := identity{c.Click.UserID, c.Click.AdID}
			byUser[id] = append(byUser[id], c)
		}
		rev := p.At(c.Click.EventTimeMillis)
		if isBot(c.Click.UserAgent, rev) {
			c.Rules |= schemas.RuleBotUserAgent
		}
		if isListed(c.ip, rev) {
			c.Rules |= schemas.RuleListedIP
		}
	}
	for _, group := range byIP {
		markVelocity(group, p, schemas.RuleVelocityIPAd)
	}
	for _, group := range byUser {
		markVelocity(group, p, schemas.RuleVelocityUserAd)
	}
	for _, c := range clicks {
		if c.Rules != 0 {
			c.Verdict = schemas.Invalid
		}
	}
}

// markVelocity judges the unique clicks of one identity in event order.
func markVelocity(group []*Outcome, p *policy.Policy, rule schemas.Rules) {
	slices.SortFunc(group, func(a, b *Outcome) int {
		return cmp.Or(cmp.Compare(a.Click.EventTimeMillis, b.Click.EventTimeMillis), byPosition(a, b))
	})
	tripped := make([]bool, len(group))
	for i, c := range group {
		t := c.Click.EventTimeMillis
		rev := p.At(t).Velocity
		count := 0
		for j := i; j >= 0 && group[j].Click.EventTimeMillis > t-rev.Window.Milliseconds(); j-- {
			count++
		}
		tripped[i] = count > rev.MaxClicks
		isInvalid := tripped[i]
		for j := i - 1; j >= 0 && !isInvalid; j-- {
			age := t - group[j].Click.EventTimeMillis
			if age >= rev.Cooling.Milliseconds() {
				break
			}
			isInvalid = tripped[j]
		}
		if isInvalid {
			c.Rules |= rule
		}
	}
}

func byPosition(a, b *Outcome) int {
	return cmp.Or(cmp.Compare(a.Click.Partition, b.Click.Partition),
		cmp.Compare(a.Click.Offset, b.Click.Offset))
}

func floorMod(a, b int64) int64 { return ((a % b) + b) % b }

func floorDiv(a, b int64) int64 {
	if a%b < 0 {
		return a/b - 1
	}
	return a / b
}
