package clicks_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/decode"
)

const (
	origin = 1_782_302_400_000 // a whole minute
	skew   = 2000
)

// partition scripts the batches of one partition, as the source makes them.
type partition struct {
	id, of    int32
	next, log int64 // log is in milliseconds
	mark      int64
}

func newPartition(id, of int32) *partition {
	return &partition{id: id, of: of, log: schemas.MinWatermark, mark: schemas.MinWatermark}
}

// click is one record to come, times in milliseconds after the origin.
type click struct {
	log, event       int64
	id, ad, ip, user string
	micros           int64
	agent            string
	value            []byte // instead of a click
}

func (p *partition) batch(clicks ...click) decode.Batch {
	b := decode.Batch{LogBefore: p.log, WatermarkBefore: p.mark}
	b.Channel, b.Channels, b.Prev = p.id, p.of, p.next
	for _, c := range clicks {
		raw := schemas.RawClick{ClickID: []byte(c.id), AdID: []byte(c.ad), AdvertiserID: []byte("adv"), CampaignID: []byte("cmp"),
			UserID: []byte(c.user), IPAddress: []byte(c.ip), CostPerClick: float64(c.micros) / 1e6, UserAgent: []byte(c.agent),
			Timestamp: origin + c.event, ReceivedAt: (origin + c.log) * 1000}
		value := c.value
		if value == nil {
			value = raw.AppendTo(nil)
		}
		b.Records = append(b.Records, schemas.Record{Position: schemas.Position{Partition: p.id, Offset: p.next},
			TimestampMicros: (origin + c.log) * 1000, Value: value})
		p.next++
		p.log = max(p.log, origin+c.log)
		p.mark = max(p.mark, p.log-skew)
	}
	b.Next, b.LogMillis, b.WatermarkMillis, b.TickMillis = p.next, p.log, p.mark, max(p.log, 0)
	if p.log == schemas.MinWatermark {
		b.LogMillis, b.WatermarkMillis = schemas.NoWatermark, schemas.NoWatermark
	}
	return b
}

func (p *partition) last() decode.Batch {
	b := p.batch()
	b.LogMillis, b.WatermarkMillis = schemas.MaxWatermark, schemas.MaxWatermark
	return b
}

// scenario has clicks on time, late within the lateness, too late, copies across bundles and
// partitions, invalid ones, a dead letter, and a partition that is idle from beginning to end.
func scenario() []decode.Batch {
	p, q, idle := newPartition(0, 3), newPartition(1, 3), newPartition(2, 3)
	burst := make([]click, 40)
	for i := range burst {
		burst[i] = click{log: 3000, event: 3000, id: fmt.Sprint("b", i), ad: "viral", ip: "192.0.2.9", micros: 1000}
	}
	return []decode.Batch{
		idle.batch(),
		p.batch(click{log: 1000, event: 1000, id: "on-time", ad: "a", ip: "192.0.2.1", user: "u", micros: 450_000},
			click{log: 1100, event: 59_999, id: "ahead", ad: "a", micros: 1}),
		q.batch(click{log: 1500, event: 1200, id: "on-time", ad: "a", ip: "192.0.2.1", user: "u", micros: 450_000}),
		q.batch(burst...),
		p.batch(click{log: 4000, event: 4000, id: "on-time", ad: "a", micros: 500_000}, // a conflict
			click{log: 4000, event: 4000, id: "bot", ad: "a", micros: 7, agent: "x bingbot/2.0"},
			click{log: 4000, event: 4000, value: []byte("\xff")}),
		idle.batch(),
		p.batch(click{log: 300_000, event: 299_000, id: "later", ad: "a", micros: 10}),
		q.batch(click{log: 300_000, event: 300_000, id: "other", ad: "b", micros: 10}),
		p.batch(click{log: 300_100, event: 5000, id: "late", ad: "a", micros: 20}, // 293 s behind the watermark
			click{log: 700_000, event: 700_000, id: "far", ad: "a", micros: 30},
			click{log: 700_000, event: 98_000, id: "at the edge", ad: "a", micros: 40}, // 600 s behind
			click{log: 700_000, event: 97_999, id: "too late", ad: "a", micros: 50},
			click{log: 700_000, event: 700_000, id: "on-time", ad: "a", micros: 450_000}), // beyond the TTL
		q.batch(click{log: 700_000, event: 700_000, id: "too late", ad: "a", micros: 50}), // a copy of a late click
		q.last(), idle.last(), p.last(),
	}
}

func scenarioWant() (verdicts, rows, dead []string) {
	verdicts = []string{
		"0/0 on-time billable", "0/1 ahead billable", "1/0 on-time duplicate of 0/0",
		"0/2 on-time duplicate of 0/0 conflict", "0/3 bot invalid bot_user_agent", "0/5 later billable", "1/41 other billable",
		"0/6 late billable late", "0/7 far billable", "0/8 at the edge billable late", "0/9 too late late late",
		"0/10 on-time billable", "1/42 too late duplicate of 0/9",
	}
	for i := range 40 {
		v := "billable"
		if i >= 30 {
			v = "invalid velocity_ip_ad"
		}
		verdicts = append(verdicts, fmt.Sprintf("1/%d b%d %s", i+1, i, v))
	}
	slices.Sort(verdicts)
	rows = []string{
		"0 a: 6 2 1 3 450021 v6", "0 viral: 40 0 10 30 30000 v40", "1 a: 1 0 0 1 40 v1", "4 a: 1 0 0 1 10 v1",
		"5 b: 1 0 0 1 10 v1", "11 a: 3 1 0 2 450030 v3",
	}
	return verdicts, rows, []string{`0/4 undecodable "\xff"`}
}

func checkScenario(t *testing.T, got *result) {
	t.Helper()
	verdicts, rows, dead := scenarioWant()
	if !slices.Equal(got.clicks, verdicts) {
		t.Errorf("clicks: got %q, want %q", got.clicks, verdicts)
	}
	if !slices.Equal(got.sums(), rows) {
		t.Errorf("rows: got %q, want %q", got.sums(), rows)
	}
	if !slices.Equal(got.dead, dead) {
		t.Errorf("dead letters: got %q, want %q", got.dead, dead)
	}
}

func TestScenario(t *testing.T) {
	for _, o := range []options{{shards: 1}, {shards: 4}, {shards: 4, forgetEvery: 1}, {shards: 2, forgetEvery: 3}, {shards: 2, testStream: true},
		{shards: 2, testStream: true, forgetEvery: 1}, {shards: 1, inMemory: true}, {shards: 4, inMemory: true},
		{shards: 2, testStream: true, inMemory: true}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			got := runScript(t, scenario(), o)
			checkScenario(t, got)
			if (got.forgets > 0) != (o.forgetEvery > 0) {
				t.Errorf("the cores were dropped %d times", got.forgets)
			}
		})
	}
}

// TestRebuilding sends clicks of so many minutes that most of what was learned is forgotten again, and drops all
// cores again and again: verdicts and rows do not change. Neither do they where blocks go by reference.
func TestRebuilding(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	p, q := newPartition(0, 2), newPartition(1, 2)
	var script []decode.Batch
	log := int64(0)
	for range 300 {
		for _, part := range []*partition{p, q} {
			var batch []click
			for range 400 {
				log += rng.Int64N(16)
				c := click{log: log, event: log - rng.Int64N(1500), id: fmt.Sprint("click_", rng.IntN(220_000)),
					ad: fmt.Sprint("ad", rng.IntN(50)), ip: fmt.Sprint("192.0.2.", rng.IntN(250)), user: fmt.Sprint("u", rng.IntN(400)), micros: 450_000}
				if rng.IntN(3) == 0 {
					c.ip, c.ad = "192.0.2.7", "ad7"
				}
				if rng.IntN(50) == 0 {
					c.event -= rng.Int64N(400_000)
				}
				batch = append(batch, c)
			}
			script = append(script, part.batch(batch...))
		}
	}
	script = append(script, p.last(), q.last())
	want := runScript(t, script, options{shards: 1})
	got := runScript(t, script, options{shards: 1, forgetEvery: 45})
	if got.forgets < 4 {
		t.Errorf("seed %d: cores dropped %d times: the test tests little", seed, got.forgets)
	}
	byReference := runScript(t, script, options{shards: 4, inMemory: true})
	if !slices.Equal(byReference.clicks, want.clicks) || !slices.Equal(byReference.sums(), want.sums()) {
		t.Errorf("seed %d: blocks by reference give another result", seed)
	}
	if len(want.clicks) != 240_000 || !slices.Equal(got.clicks, want.clicks) {
		t.Errorf("seed %d: got %d clicks, want the %d of a run that nothing happened to", seed, len(got.clicks), len(want.clicks))
	}
	if !slices.Equal(got.sums(), want.sums()) {
		t.Errorf("seed %d: the rows differ", seed)
	}
}
