package parity

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// TestRestartKeepsTheCoolingTime: a trip at the very edge of what a replay sees still holds its
// identity in a minute that the replay publishes again.
func TestRestartKeepsTheCoolingTime(t *testing.T) {
	b := newBed(t, 1, parsePolicy(t, `
revisions:
  - effective_from: 2020-01-01T00:00:00Z
    max_event_ahead: 0s
    dedup: {ttl: 1s, lookback: 25h}
    velocity: {window: 1s, max_clicks: 3, cooling: 10m}
    allowed_lateness: 5m
    allowed_skew: 1s
`))
	var l clickLog
	who := event{id: "burst", ip: "203.0.113.7", user: "user"}
	l.add(burst(4, noon-50*second-300, 100, who)...) // trips 50 s before noon
	l.add(flow(noon, 2)...)
	l.add(burst(1, noon+9*minute+10*second-1, 0, event{id: "held", ip: who.ip, user: who.user})...)
	l.add(burst(1, noon+9*minute+10*second, 0, event{id: "free", ip: who.ip, user: who.user})...)
	// The minute of both may still change: it ends at 12:10, and late clicks count from 12:09:59.9 on.
	l.add(event{id: "last", at: noon + 15*minute + 900})
	b.produce(&l)
	b.stream()
	before := rows(t, b.open(), serving.Provisional, always)
	b.stream()
	sameRows(t, "restarted", rows(t, b.open(), serving.Provisional, always), before)
	b.checkStream(oracle.Judge(l.recs, b.policy))
}

// TestRestartAfterIdling: while nothing comes the watermark goes on with the clock. What comes after
// a restart, behind that watermark, still gets its decision, and the restart does not wait until the
// clock has caught up again.
func TestRestartAfterIdling(t *testing.T) {
	b := newBed(t, 2, parsePolicy(t, `
revisions:
  - effective_from: 2020-01-01T00:00:00Z
    allowed_skew: 0s
`))
	var l clickLog
	l.add(flow(noon, 2)...)
	l.addTo(1, event{id: "other", at: noon + second})
	b.produce(&l)
	reach := func(s serving.Store, millis int64) {
		for {
			p, err := s.LoadProgress(b.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if p.WatermarkMillis >= millis {
				return
			}
		}
	}
	first := b.inProcess()
	reach(first.store, noon+2*second+500) // 1.5 seconds beyond the log
	first.stop()

	l.add(event{id: "a", at: noon + 2*second}, event{id: "a", at: noon + 2*second + 100},
		event{id: "bot", at: noon + 2*second + 200, agent: "bingbot"})
	b.produce(&l)
	again := b.inProcess()
	reach(again.store, noon+2*second+700) // beyond what was there before
	again.drain()
	want := oracle.Judge(l.recs, b.policy)
	got := b.decisions()
	for i := range want.Outcomes {
		o := &want.Outcomes[i]
		if d := got[o.Click.Position]; d.Verdict != o.Verdict {
			t.Errorf("%s: got %+v, want %s", o.Click.ClickID, d, o.Verdict)
		}
	}
	sameRows(t, "stream", bare(rows(t, b.open(), serving.Provisional, always)), want.Rows(oracle.All))
	wantCauses(t, b.settle(nil), map[string]effect{})
}

// TestNoRowGoesBackOnRestart restarts a drained stream without any new record: nothing changes.
func TestNoRowGoesBackOnRestart(t *testing.T) {
	b := newBed(t, logPartitions, parsePolicy(t, shortMemory))
	g := newLive(7, true)
	for range 4 {
		g.chunk()
	}
	b.produce(&g.log)
	b.stream()
	before, decided := rows(t, b.open(), serving.Provisional, always), b.decisions()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	for range 2 {
		l := b.inProcess()
		w := witness{rows: map[schemas.MinuteKey]schemas.MinuteRow{}}
		for w.changes < 3 && ctx.Err() == nil {
			w.look(t, l.store)
		}
		l.stop()
	}
	b.stream()
	sameRows(t, "restarted", slices.Clone(rows(t, b.open(), serving.Provisional, always)), before)
	after := b.decisions()
	for pos, d := range decided {
		if after[pos] != d {
			t.Errorf("decision: got %+v, want %+v", after[pos], d)
		}
	}
	if len(after) != len(decided) {
		t.Errorf("%d decisions, want %d", len(after), len(decided))
	}
}

// TestRestartAfterDowntime: the watermark of idle partitions goes on with the clock while the stream is
// down, so that what comes into one of them afterwards does not wait for the others.
func TestRestartAfterDowntime(t *testing.T) {
	b := newBed(t, 2, policy.Default())
	ago := time.Now().Add(-time.Hour).UnixMilli()
	var l clickLog
	l.add(flow(ago, 2)...)
	l.addTo(1, event{id: "other", at: ago + second})
	b.produce(&l)
	b.stream()
	p, err := b.open().LoadProgress(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.StoredAtMillis = ago + 3*second // as if that had been an hour ago
	if err := b.open().Upsert(b.ctx, nil, p); err != nil {
		t.Fatal(err)
	}
	live := b.inProcess()
	now := time.Now().UnixMilli()
	l.add(event{id: "lone", at: now})
	b.produce(&l)
	began := time.Now()
	for len(rows(t, live.store, serving.Provisional, serving.Range{FromMillis: now - now%minute, ToMillis: now + minute})) == 0 {
		if time.Since(began) > time.Minute || b.ctx.Err() != nil {
			t.Fatal("the click is not published")
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("published after %s", time.Since(began))
	live.stop()
}
