package oracle

import (
	"math"
	"slices"

	"github.com/clickledger/clickledger/schemas"
)

// Span selects outcomes: those of [FromMillis, ToMillis) by event time, dead letters by received
// time. Use Day for a billing day and All for a whole log.
type Span struct{ FromMillis, ToMillis int64 }

// All selects every outcome.
var All = Span{math.MinInt64, math.MaxInt64}

// Day selects one UTC day, given its start in Unix milliseconds.
func Day(startMillis int64) Span { return Span{startMillis, startMillis + dayMillis} }

// Totals counts outcomes; Records is the sum of the four verdicts.
type Totals struct {
	Records, Billable, Duplicates, Invalid, DeadLetters int64
	Conflicts                                           int64            // among the duplicates
	InvalidByRule                                       map[string]int64 // a click with two rules counts under both
	DeadLettersByReason                                 map[schemas.Reason]int64
	SpendMicros                                         int64 // of the billable clicks
	Advertisers                                         map[string]Bill
}

// Bill is what one advertiser owes for the selected clicks.
type Bill struct{ Clicks, Micros int64 }

// Totals counts the outcomes of the span.
func (r *Result) Totals(s Span) Totals {
	t := Totals{InvalidByRule: map[string]int64{}, DeadLettersByReason: map[schemas.Reason]int64{}, Advertisers: map[string]Bill{}}
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		if at := o.at(); at < s.FromMillis || at >= s.ToMillis {
			continue
		}
		t.Records++
		switch o.Verdict {
		case schemas.DeadLettered:
			t.DeadLetters++
			t.DeadLettersByReason[o.Reason]++
		case schemas.Duplicate:
			t.Duplicates++
			if o.IsConflict {
				t.Conflicts++
			}
		case schemas.Invalid:
			t.Invalid++
			for _, rule := range o.Rules.Names() {
				t.InvalidByRule[rule]++
			}
		default:
			t.Billable++
			t.SpendMicros += o.Click.CostMicros
			b := t.Advertisers[o.Click.AdvertiserID]
			t.Advertisers[o.Click.AdvertiserID] = Bill{b.Clicks + 1, b.Micros + o.Click.CostMicros}
		}
	}
	return t
}

// Rows sums the clicks of the span into minute rows in key order. Version is 0 and IsFinal false:
// they belong to who publishes the rows.
func (r *Result) Rows(s Span) []schemas.MinuteRow {
	sums := map[schemas.MinuteKey]schemas.MinuteRow{}
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		at := o.at()
		if o.Verdict == schemas.DeadLettered || at < s.FromMillis || at >= s.ToMillis {
			continue
		}
		key := schemas.MinuteKey{
			MinuteMillis: at - floorMod(at, 60_000), AdvertiserID: o.Click.AdvertiserID,
			CampaignID: o.Click.CampaignID, AdID: o.Click.AdID,
			DeviceType: o.Click.DeviceType, CountryCode: o.Click.CountryCode,
		}
		row := sums[key]
		row.MinuteKey = key
		row.RawClicks++
		switch o.Verdict {
		case schemas.Duplicate:
			row.DuplicateClicks++
		case schemas.Invalid:
			row.InvalidClicks++
		default:
			row.UniqueClicks++
			row.SpendMicros += o.Click.CostMicros
		}
		sums[key] = row
	}
	rows := make([]schemas.MinuteRow, 0, len(sums))
	for _, row := range sums {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b schemas.MinuteRow) int { return a.Compare(b.MinuteKey) })
	return rows
}
