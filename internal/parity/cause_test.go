package parity

import (
	"fmt"
	"maps"
	"testing"

	"github.com/clickledger/clickledger/internal/reconcileduck"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// effect is a cause's clicks, micros and clicks of either sign.
type effect = reconcileduck.Effect

// wantCauses wants exactly these causes and nothing unexplained.
func wantCauses(t *testing.T, rep *reconcile.Report, want map[string]effect) {
	t.Helper()
	got := maps.Clone(rep.Causes)
	maps.DeleteFunc(got, func(_ string, e effect) bool { return e == effect{} })
	if !maps.Equal(got, want) {
		t.Errorf("causes: got %+v, want %+v", got, want)
	}
	if rep.UnexplainedClicks != 0 || rep.UnexplainedMicros != 0 || len(rep.HeldAdvertisers) > 0 || !rep.IsClean() {
		t.Errorf("not clean: %+v", rep)
	}
	checkSound(t, rep)
	checkListed(t, rep)
}

// checkListed: the rows of discrepancies.parquet come to the causes, click by click.
func checkListed(t *testing.T, rep *reconcile.Report) {
	t.Helper()
	sums := map[string]effect{}
	for i := range rep.Listed {
		d := &rep.Listed[i]
		e := sums[d.Cause]
		sums[d.Cause] = effect{Clicks: e.Clicks + d.DeltaClicks, Micros: e.Micros + d.DeltaMicros, Gross: e.Gross + max(d.DeltaClicks, -d.DeltaClicks)}
		if d.Partition != nil && (d.ClickID == "" || d.StreamVerdict == d.BatchVerdict || max(d.DeltaClicks, -d.DeltaClicks) != 1) {
			t.Errorf("listed %+v", d)
		}
	}
	for cause, want := range rep.Causes {
		if sums[cause] != want {
			t.Errorf("listed of %s: got %+v, want %+v", cause, sums[cause], want)
		}
	}
	if int64(len(rep.Listed)) != rep.Discrepancies {
		t.Errorf("listed %d of %d", len(rep.Listed), rep.Discrepancies)
	}
}

// flow is ordinary traffic of somebody else, a click a second: it moves the watermark.
func flow(from int64, seconds int) []event {
	list := make([]event, seconds)
	for i := range list {
		at := from + int64(i)*second
		list[i] = event{id: fmt.Sprintf("flow-%d", at), ad: "ad-flow", adv: "adv-flow", cost: 0.01, at: at,
			ip: fmt.Sprintf("198.18.%d.%d", i/250, i%250), user: fmt.Sprintf("flow-user-%d", i)}
	}
	return list
}

// TestCauses provokes each cause by a small log of its own.
func TestCauses(t *testing.T) {
	burstOf := event{id: "burst", ad: "ad-2", adv: "adv-2", ip: "203.0.113.9"}
	for _, tc := range []struct {
		name string
		log  func(*clickLog)
		want map[string]effect
	}{
		{"within the allowed lateness there is no difference", func(l *clickLog) {
			l.add(flow(noon, 5)...)
			l.add(event{id: "a", at: noon - 9*minute, received: noon + 5*second})
			l.add(flow(noon+10*second, 3)...)
		}, map[string]effect{}},
		{"late_in_stream", func(l *clickLog) {
			l.add(event{id: "on-time", at: noon - 11*minute, cost: 0.5})
			l.add(flow(noon, 5)...)
			l.add(event{id: "a", at: noon - 11*minute, received: noon + 5*second},
				event{id: "b", at: noon - 3*60*minute, received: noon + 6*second, cost: 0.75})
			l.add(flow(noon+10*second, 3)...)
		}, map[string]effect{"late_in_stream": {Clicks: 2, Micros: 1_000_000, Gross: 2}}},
		{"duplicate_beyond_ttl", func(l *clickLog) {
			l.add(event{id: "a", at: noon}, event{id: "b", at: noon})
			l.add(flow(noon+second, 3)...)
			// In order: within, slid on by that, and beyond.
			l.add(event{id: "a", at: noon + 9*minute, cost: 0.5}, event{id: "a", at: noon + 18*minute, cost: 0.5},
				event{id: "b", at: noon + 18*minute + 1, cost: 0.5}, event{id: "a", at: noon + 28*minute + 1, cost: 0.75})
			l.add(flow(noon+40*minute, 3)...)
		}, map[string]effect{"duplicate_beyond_ttl": {Clicks: -2, Micros: -1_250_000, Gross: 2}}},
		{"an old copy with its old time is late, and no difference", func(l *clickLog) {
			l.add(event{id: "a", at: noon})
			l.add(flow(noon+11*minute, 3)...)
			l.add(event{id: "a", at: noon, received: noon + 11*minute + 3*second})
		}, map[string]effect{}},
		{"duplicate_order", func(l *clickLog) {
			l.add(flow(noon, 3)...)
			l.add(event{id: "a", at: noon + 3*second + 500, cost: 0.25}, // the stream's winner
				event{id: "a", at: noon + 3*second + 100, adv: "adv-2", ad: "ad-2", cost: 0.75}) // received before
			l.add(flow(noon+5*second, 3)...)
		}, map[string]effect{"duplicate_order": {Clicks: 0, Micros: 500_000, Gross: 2}}},
		{"flagged_by_batch_only", func(l *clickLog) {
			l.add(burst(30, noon, 100, burstOf)...)
			l.add(flow(noon+4*second, 10)...)
			late := burst(1, noon+50, 0, event{id: "late", ad: "ad-2", adv: "adv-2", ip: "203.0.113.9", cost: 0.5})[0]
			late.received = noon + 14*second
			l.add(late) // the 31st, and in event order the second
			l.add(flow(noon+15*second, 3)...)
		}, map[string]effect{"flagged_by_batch_only": {Clicks: -1, Micros: -250_000, Gross: 1}}},
		{"flagged_by_stream_only", func(l *clickLog) {
			l.add(event{id: "old", ad: "ad-2", adv: "adv-2", ip: "203.0.113.9", at: noon - 11*minute})
			list := burst(30, noon, 100, burstOf)
			l.add(list[:10]...)
			l.add(event{id: "old", ad: "ad-2", adv: "adv-2", ip: "203.0.113.9", at: noon + 950, cost: 0.5}) // counts in the stream
			l.add(list[10:]...)
			l.add(flow(noon+20*second, 3)...)
		}, map[string]effect{"flagged_by_stream_only": {Clicks: 1, Micros: 250_000, Gross: 1},
			"duplicate_beyond_ttl": {Clicks: -1, Micros: -500_000, Gross: 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBed(t, 1, policy.Default())
			var l clickLog
			tc.log(&l)
			b.produce(&l)
			b.stream()
			wantCauses(t, b.settle(nil), tc.want)
		})
	}
}

// TestNotSeenByStream: records that came after the stream had ended are counted by the batch alone.
func TestNotSeenByStream(t *testing.T) {
	b := newBed(t, 2, policy.Default())
	var l clickLog
	l.add(flow(noon, 5)...)
	b.produce(&l)
	b.stream()
	l.add(event{id: "a", at: noon + 6*second}, event{id: "a", at: noon + 7*second})
	l.addTo(1, event{id: "b", at: noon + 6*second, adv: "adv-2", cost: 0.5})
	b.produce(&l)
	rep := b.settle(nil)
	wantCauses(t, rep, map[string]effect{"not_seen_by_stream": {Clicks: 2, Micros: 750_000, Gross: 2}})
	b.stream() // and once it has seen them, nothing is left
	wantCauses(t, b.reconcile(day, nil), map[string]effect{})
}

// TestPartitionThatWasEmpty: the first clicks of a partition that was empty while the stream ran are of
// the past. The stream has judged their neighbours without them, and marks them as late.
func TestPartitionThatWasEmpty(t *testing.T) {
	b := newBed(t, 2, policy.Default())
	who := event{id: "burst", ad: "ad-2", adv: "adv-2", ip: "203.0.113.9"}
	var l clickLog
	l.add(burst(30, noon, 100, who)...)
	l.add(flow(noon+4*second, 120)...)
	b.produce(&l)
	live := b.inProcess()
	for rows(t, live.store, serving.Provisional, always) == nil {
		if b.ctx.Err() != nil {
			t.Fatal("no rows are published")
		}
	}
	before := event{id: "before", ad: who.ad, adv: who.adv, ip: who.ip, cost: 0.5}
	for _, e := range burst(4, noon+second+50, 100, before) {
		l.addTo(1, e) // of 34 in ten seconds the last four are too many
	}
	b.produce(&l)
	live.drain()
	wantCauses(t, b.settle(nil), map[string]effect{"flagged_by_batch_only": {Clicks: -4, Micros: -1_000_000, Gross: 4}})
	for pos, d := range b.decisions() {
		if pos.Partition != 1 || d.Verdict != schemas.Billable || !d.IsLate {
			t.Errorf("got %+v, want the four of partition 1 billable and late", d)
		}
	}
}

// TestNotInArchive: a late click that the stream counted, and that is not archived yet.
func TestNotInArchive(t *testing.T) {
	b := newBed(t, 1, policy.Default())
	var l clickLog
	l.add(flow(noon, 200)...)
	b.produce(&l)
	b.keep() // the archive ends here
	l.add(flow(noon+200*second, 10)...)
	l.add(event{id: "a", at: noon + 30*second, received: noon + 210*second, cost: 0.5})
	l.add(flow(noon+211*second, 10)...)
	b.produce(&l)
	b.stream()
	b.batch(day)
	rep := b.reconcile(day, nil)
	wantCauses(t, rep, map[string]effect{"not_in_archive": {Clicks: -1, Micros: -500_000, Gross: 1}})
	if got := rep.Cut.UnixMilli(); got != noon+3*minute || rep.IsComplete {
		t.Errorf("the cut is %s", rep.Cut)
	}
	wantCauses(t, b.settle(nil), map[string]effect{}) // all archived
}

// TestPolicyChanged: the stream judged by one policy, the batch by another.
func TestPolicyChanged(t *testing.T) {
	strict := parsePolicy(t, `
revisions:
  - effective_from: 2020-01-01T00:00:00Z
    max_cost_micros: 500000
    velocity: {max_clicks: 3}
    bot_user_agents: {version: "x", patterns: []}
`)
	var l clickLog
	l.add(flow(noon, 3)...)
	l.add(event{id: "dear", at: noon + 4*second, cost: 0.75}, event{id: "bot", at: noon + 5*second, agent: "Googlebot", cost: 0.5})
	l.add(burst(5, noon+6*second, 10, event{id: "burst", ad: "ad-2", ip: "203.0.113.4"})...)
	l.add(flow(noon+10*second, 3)...)
	b := newBed(t, 1, policy.Default())
	b.produce(&l)
	b.stream()
	b.keep()
	b.policy = strict
	b.batch(day)
	// The dear one and two of the burst are gone, and the bot is billed.
	wantCauses(t, b.reconcile(day, nil), map[string]effect{"policy_changed": {Clicks: -2, Micros: 500_000 - 750_000 - 2*250_000, Gross: 4}})

	// The other way round: the archive holds a dead letter that the batch's policy accepts.
	b = newBed(t, 1, strict)
	b.produce(&l)
	b.stream()
	b.keep()
	b.policy = policy.Default()
	b.batch(day)
	wantCauses(t, b.reconcile(day, nil), map[string]effect{"policy_changed": {Clicks: 2, Micros: 750_000 + 2*250_000 - 500_000, Gross: 4}})
	b.stream() // a new epoch: the rows are judged again
	wantCauses(t, b.reconcile(day, nil), map[string]effect{})
}

// TestPolicyChangedForRowsThatStay: the stream that goes on by another policy leaves the rows of minutes that
// are over as they were, those that by the new policy would not be included.
func TestPolicyChangedForRowsThatStay(t *testing.T) {
	b := newBed(t, 1, policy.Default())
	var l clickLog
	l.add(flow(noon, 3)...)
	l.add(event{id: "dear", at: noon + 4*second, adv: "adv-2", ad: "ad-2", cost: 0.75}, event{id: "cheap", at: noon + 5*second})
	l.add(event{id: "dear-2", at: noon + 30*minute, adv: "adv-2", ad: "ad-2", cost: 0.75}) // at the end, where rows are judged again
	l.add(flow(noon+30*minute+second, 3)...)
	b.produce(&l)
	b.stream()
	b.policy = parsePolicy(t, `
revisions:
  - {effective_from: 2020-01-01T00:00:00Z, max_cost_micros: 500000}
`)
	l.add(flow(noon+40*minute, 3)...)
	l.add(event{id: "dear-3", at: noon + 40*minute, adv: "adv-2", ad: "ad-2", cost: 0.75}) // by the new policy alone
	b.produce(&l)
	for range 2 { // it is remembered over a restart
		b.stream()
		wantCauses(t, b.settle(nil), map[string]effect{"policy_changed": {Clicks: -2, Micros: -1_500_000, Gross: 2}})
	}
}
