package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/explain"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas"
)

// noon is when the log of TestExplain plays.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sent is a click of that log; what is not given has a good value.
type sent struct {
	id, adv, ad, user, ip, agent string
	at                           time.Duration // after noon
	delay                        time.Duration // until it is received
	cost                         float64       // 0 is 0.25
}

func (s sent) record() kafkaio.OutRecord {
	or := func(text, otherwise string) []byte {
		if text == "" {
			text = otherwise
		}
		return []byte(text)
	}
	if s.cost == 0 {
		s.cost = 0.25
	}
	event, received := noon.Add(s.at), noon.Add(s.at+s.delay)
	click := schemas.RawClick{ClickID: []byte(s.id), AdID: or(s.ad, "ad-1"), AdvertiserID: or(s.adv, "adv-1"), CampaignID: []byte("camp"),
		UserID: or(s.user, "user-of-"+s.id), IPAddress: or(s.ip, "192.0.2.1"), UserAgent: or(s.agent, "Mozilla/5.0"),
		CountryCode: []byte("DE"), DeviceType: []byte("mobile"), CostPerClick: s.cost, Timestamp: event.UnixMilli(),
		ReceivedAt: received.UnixMicro()}
	return kafkaio.OutRecord{Topic: schemas.TopicClicks, Key: []byte(s.id), Value: click.AppendTo(nil), TimestampMicros: received.UnixMicro()}
}

// explainedLog has a click of every verdict, rule and reason that TestExplain asks about, in order of
// receipt, all in partition 0.
func explainedLog() []kafkaio.OutRecord {
	list := []sent{
		{id: "billed", cost: 1.234567},
		{id: "twice"},
		{id: "bot", agent: "Mozilla/5.0 (compatible; Googlebot/2.1)", at: time.Second},
		{id: "listed", ip: "::ffff:198.51.100.7", at: time.Second},
		{id: "expensive", cost: 2000, at: time.Second},
		{id: "nan", cost: math.NaN(), at: time.Second},
		{id: "nowhere", ip: "no address", at: time.Second},
		{id: "twice", cost: 0.5, at: 2 * time.Second},
	}
	for i := range 32 { // the 31st and the 32nd are over the limit
		at := 3*time.Second + time.Duration(i)*100*time.Millisecond
		list = append(list,
			sent{id: fmt.Sprintf("ip-%02d", i), ad: "ad-ip", ip: []string{"203.0.113.9", "::ffff:203.0.113.9"}[i%2], at: at},
			sent{id: fmt.Sprintf("user-%02d", i), ad: "ad-user", user: "fast", ip: fmt.Sprintf("192.0.2.%d", 10+i), at: at})
	}
	for i := range 20 {
		list = append(list, sent{id: fmt.Sprintf("flow-%02d", i), adv: "adv-flow", at: 10*time.Second + time.Duration(i)*time.Second})
	}
	list = append(list,
		sent{id: "late", adv: "adv-late", at: -3 * time.Hour, delay: 3*time.Hour + 30*time.Second, cost: 0.75},
		sent{id: "behind", adv: "adv-late", at: -time.Minute, delay: time.Minute + 31*time.Second},
		sent{id: "stale", at: -25 * time.Hour, delay: 25*time.Hour + 32*time.Second},
		sent{id: "cooled", ad: "ad-ip", ip: "203.0.113.9", at: 30 * time.Minute},
		sent{id: "cold", ad: "ad-ip", ip: "203.0.113.9", at: 90 * time.Minute})
	records := make([]kafkaio.OutRecord, 0, len(list)+1)
	for _, s := range list {
		records = append(records, s.record())
	}
	return append(records, kafkaio.OutRecord{Topic: schemas.TopicClicks, Key: []byte("broken"), Value: []byte{0xff},
		TimestampMicros: noon.Add(2 * time.Hour).UnixMicro()})
}

// settleExplained takes the log through every command up to the ledger.
func settleExplained(t *testing.T) (env []string) {
	t.Helper()
	env, _ = newPlaces(t, "duckdb://"+filepath.Join(t.TempDir(), "serving.duckdb"))
	startJSON(t, env, &migrateResult{}, "migrate")
	brokers, err := kafkaio.ParseURL(strings.TrimPrefix(env[0], "CLICKLEDGER_LOG="))
	if err != nil {
		t.Fatal(err)
	}
	p, err := kafkaio.OpenProducer(t.Context(), brokers, kafkaio.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.ProduceAll(t.Context(), explainedLog()); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"stream --until-end", "archive --until-end",
		"ledger advertisers register --advertiser adv-1 --name One"} {
		if got := start(t, env, strings.Fields(args)...); got.code != config.ExitOK {
			t.Fatalf("%s: exit code %d: %s", args, got.code, got.err)
		}
	}
	startJSON(t, env, &batch.Result{}, "batch", "--date", "2026-03-01")
	var report reconcile.Report
	startJSON(t, env, &report, "reconcile", "--date", "2026-03-01", "--post")
	if report.UnexplainedClicks != 0 || report.PostedEntries != 3 {
		t.Fatalf("settled %+v", report)
	}
	return env
}

// explained is what TestExplain wants of a click.
type explained struct {
	id            string
	answer        string   // a part of it
	stream, batch string   // verdicts of the last copy
	rules         []string // of the batch
	text          []string // parts of the evidence as text
	check         func(*testing.T, *explain.Report)
}

// last is the last copy.
func last(r *explain.Report) *explain.Copy { return &r.Copies[len(r.Copies)-1] }

func explainedCases() []explained {
	window := func(rule, who string, trip string) func(*testing.T, *explain.Report) {
		return func(t *testing.T, r *explain.Report) {
			if n := len(last(r).Evidence.Velocity); n != 1 {
				t.Fatalf("%d items of evidence", n)
			}
			v := last(r).Evidence.Velocity[0]
			if v.Rule != rule || v.Who != who || v.Trip == nil || v.Trip.ClickID != trip || len(v.Clicks) != v.Trip.Count ||
				v.Clicks[len(v.Clicks)-1].ClickID != trip {
				t.Errorf("evidence %+v", v)
			}
		}
	}
	return []explained{
		{id: "billed", answer: "billable: 1.234567 to advertiser adv-1", stream: "billable", batch: "billable",
			text: []string{"sent as 1.234567", "debit", "receivable adv-1", "as posted", "link "}, check: checkBilled},
		{id: "twice", answer: "billable", stream: "duplicate", batch: "duplicate",
			text: []string{"with another ad or cost", "first copy", "2s before this one (look-back 25h0m0s)", "cost 0.25, billable"}},
		{id: "bot", answer: "invalid traffic, by bot_user_agent", stream: "invalid", batch: "invalid", rules: []string{"bot_user_agent"},
			text: []string{`matches "Googlebot" of list 2026-11`}},
		{id: "listed", answer: "invalid traffic, by listed_ip", stream: "invalid", batch: "invalid", rules: []string{"listed_ip"},
			text: []string{`matches "198.51.100.0/24"`, "::ffff:198.51.100.7 = 198.51.100.7"}},
		{id: "ip-29", answer: "billable", stream: "billable", batch: "billable"},
		{id: "ip-30", answer: "by velocity_ip_ad", stream: "invalid", batch: "invalid", rules: []string{"velocity_ip_ad"},
			text:  []string{"203.0.113.9 on ad ad-ip, click 31 in 10s where 30 are allowed", "itself over the limit"},
			check: window("velocity_ip_ad", "203.0.113.9", "ip-30")},
		{id: "user-31", answer: "by velocity_user_ad", stream: "invalid", batch: "invalid", rules: []string{"velocity_user_ad"},
			text: []string{"fast on ad ad-user, click 32 in 10s"}, check: window("velocity_user_ad", "fast", "user-31")},
		{id: "cooled", answer: "by velocity_ip_ad", stream: "invalid", batch: "invalid", rules: []string{"velocity_ip_ad"},
			text: []string{"click 1 in 10s", `passed at 2026-03-01T12:00:06.100Z by "ip-31", click 32 in its window`}, check: window("velocity_ip_ad", "203.0.113.9", "ip-31")},
		{id: "cold", answer: "billable", stream: "billable", batch: "billable"},
		{id: "late", answer: "billable: 0.75 to advertiser adv-late", stream: "late", batch: "billable",
			text: []string{"late: received 3h0m30s after it happened", "its partition had come to 2026-03-01T12:00:29Z",
				"late_in_stream: +1 clicks, 0.75", "charge, in suspense of"}, check: checkLate},
		{id: "behind", answer: "billable", stream: "billable", batch: "billable", text: []string{"billable, late", "late: received 1m31s after"}},
		{id: "expensive", answer: "a dead letter, bad_cost", stream: "dead_letter", batch: "dead_letter",
			text: []string{"bad_cost: 2000 was sent, and allowed is 0 to 1000"}},
		{id: "nan", answer: "a dead letter, bad_cost", stream: "dead_letter", batch: "dead_letter", text: []string{"NaN was sent"}},
		{id: "nowhere", answer: "a dead letter, bad_ip", stream: "dead_letter", batch: "dead_letter", text: []string{`"no address" is no address`}},
		{id: "stale", answer: "a dead letter, stale", stream: "dead_letter", batch: "dead_letter",
			text: []string{"25h0m32s behind its receipt, and allowed is 24h0m0s"}},
		{id: "broken", answer: "a dead letter, undecodable", stream: "dead_letter", batch: "dead_letter", text: []string{"undecodable: read tag"}},
	}
}

func checkBilled(t *testing.T, r *explain.Report) {
	t.Helper()
	c := last(r)
	if c.Provisional == nil || c.ByBatch == nil || c.Final == nil || *c.Provisional != *c.ByBatch || *c.Final != *c.ByBatch {
		t.Errorf("rows %+v, %+v, %+v", c.Provisional, c.ByBatch, c.Final)
	}
	if len(r.Bills) != 1 || len(r.Bills[0].Entries) != 1 {
		t.Fatalf("bills %+v", r.Bills)
	}
	place := r.Bills[0].Entries[0].Place
	if !place.IsIntact || place.LinkID == 0 || len(place.LinkHash) != 64 || len(place.Postings) != 2 {
		t.Errorf("place %+v", place)
	}
}

func checkLate(t *testing.T, r *explain.Report) {
	t.Helper()
	c := last(r)
	if c.Provisional != nil || c.Final == nil || c.Final.UniqueClicks != 1 || c.Difference == nil || c.Difference.DeltaMicros != 750_000 {
		t.Errorf("rows %+v, %+v, difference %+v", c.Provisional, c.Final, c.Difference)
	}
}

// TestExplain asks about a click of every verdict, each invalid rule and dead letters, and about rows.
func TestExplain(t *testing.T) {
	t.Parallel()
	env := settleExplained(t)
	for _, tc := range explainedCases() {
		t.Run(tc.id, func(t *testing.T) {
			var r explain.Report
			startJSON(t, env, &r, "explain", tc.id)
			c := last(&r)
			if !strings.Contains(r.Answer, tc.answer) || c.Stream.Verdict != tc.stream || c.Batch.Verdict != tc.batch ||
				!slices.Equal(c.Batch.Rules, tc.rules) {
				t.Errorf("answer %q, stream %+v, batch %+v", r.Answer, c.Stream, c.Batch)
			}
			if c.Record.Source != "log" || c.Record.IsAsArchived == nil || !*c.Record.IsAsArchived || c.Object == "" {
				t.Errorf("record %+v in %q", c.Record, c.Object)
			}
			if tc.check != nil {
				tc.check(t, &r)
			}
			text := start(t, env, "explain", tc.id)
			for _, part := range append(tc.text, tc.answer) {
				if text.code != config.ExitOK || !strings.Contains(text.out, part) {
					t.Errorf("exit code %d, %q is not in\n%s%s", text.code, part, text.out, text.err)
				}
			}
		})
	}
	explainWithoutLog(t, env)
	explainRows(t, env)
	explainNothing(t, env)
}

// explainWithoutLog: the archive has the bytes of what was not billed.
func explainWithoutLog(t *testing.T, env []string) {
	t.Helper()
	away := append(slices.Clone(env[1:]), "CLICKLEDGER_LOG=kafka://127.0.0.1:1")
	for id, want := range map[string]string{"bot": "dlq", "broken": "dead_letters", "billed": ""} {
		var r explain.Report
		startJSON(t, away, &r, "explain", id)
		if c := last(&r); c.Record.Source != want || !strings.Contains(c.Record.Note, "not reachable") ||
			want != "" && (c.Record.IsAsArchived == nil || !*c.Record.IsAsArchived) {
			t.Errorf("%s: record %+v", id, c.Record)
		}
	}
}

func explainRows(t *testing.T, env []string) {
	t.Helper()
	var r explain.RowReport
	startJSON(t, env, &r, "explain", "--advertiser", "adv-late", "--minute", "2026-03-01T09:00Z")
	if len(r.Rows) != 1 || r.Rows[0].DeltaClicks != 1 || r.Rows[0].DeltaMicros != 750_000 || len(r.Rows[0].Causes) != 1 ||
		r.Rows[0].Causes[0].Cause != "late_in_stream" || r.Rows[0].Stream["late"] != 1 || r.Rows[0].Clicks[0].Cause != "late_in_stream" ||
		r.Bill == nil || len(r.Bill.Entries) != 1 {
		t.Errorf("the late click's row: %+v", r)
	}
	startJSON(t, env, &r, "explain", "--advertiser", "adv-1", "--minute", "2026-03-01T12:00Z")
	counts := map[string]int64{}
	for _, row := range r.Rows {
		var raw, unique int64
		for verdict, n := range row.Batch {
			counts[verdict] += n
			raw += n
			if verdict == "billable" {
				unique += n
			}
			if row.Stream[verdict] != n {
				t.Errorf("row %+v: the stream has other verdicts", row)
			}
		}
		if row.ByBatch == nil || row.ByBatch.RawClicks != raw || row.ByBatch.UniqueClicks != unique || row.DeltaClicks != 0 || len(row.Causes) != 0 {
			t.Errorf("row %+v: its clicks do not come to it", row)
		}
	}
	if want := map[string]int64{"billable": 62, "invalid": 6, "duplicate": 1}; fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("clicks by verdict %v, want %v", counts, want)
	}
	text := start(t, env, "explain", "--advertiser", "adv-late", "--minute", "2026-03-01T09:00:00Z")
	for _, part := range []string{"+1 clicks, 0.75 more than the stream's rows: late_in_stream", "before            none", "stream: late", "1 late"} {
		if text.code != config.ExitOK || !strings.Contains(text.out, part) {
			t.Errorf("exit code %d, %q is not in\n%s%s", text.code, part, text.out, text.err)
		}
	}
}

func explainNothing(t *testing.T, env []string) {
	t.Helper()
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"no-such-click", config.ExitFailed, "holds no record"},
		{"--advertiser adv-1 --minute 2026-03-01T13:59Z", config.ExitFailed, "has no click of it"},
		{"--advertiser nobody --minute 2026-03-01T12:00Z", config.ExitFailed, "nobody"},
		{"", config.ExitUsage, "--advertiser and --minute"},
		{"billed --minute 2026-03-01T12:00Z", config.ExitUsage, "--advertiser and --minute"},
		{"--advertiser adv-1", config.ExitUsage, "--advertiser and --minute"},
		{"--advertiser adv-1 --minute 12:00", config.ExitUsage, "a whole minute"},
		{"--advertiser adv-1 --minute 2026-03-01T12:00:01Z", config.ExitUsage, "a whole minute"},
		{"a b", config.ExitUsage, "at most 1"},
	} {
		got := start(t, env, append([]string{"explain"}, strings.Fields(tc.args)...)...)
		if got.code != tc.code || !strings.Contains(got.err, tc.want) || got.out != "" {
			t.Errorf("explain %s: exit code %d, %q, want %d and %q", tc.args, got.code, got.err, tc.code, tc.want)
		}
	}
}
