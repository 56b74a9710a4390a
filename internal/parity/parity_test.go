package parity

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // the driver

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// twoRevisions changes every number seven minutes past midnight.
const twoRevisions = `
revisions:
  - effective_from: 2020-01-01T00:00:00Z
  - effective_from: 2026-03-02T00:07:00Z
    max_cost_micros: 900000
    dedup: {ttl: 20m, lookback: 25h}
    velocity: {window: 5s, max_clicks: 12, cooling: 20m}
    allowed_skew: 3s
    allowed_lateness: 15m
    bot_user_agents: {version: "2", patterns: ["(?i)firefox"]}
    listed_networks: {version: "2", cidrs: ["203.0.113.0/28", "198.51.100.128/25"]}
`

func parsePolicy(t testing.TB, doc string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestParity takes seeded logs through both layers. The batch is the oracle's to the click and to
// the micro; so is the stream for everything that is on time; and the reconciliation explains the rest.
func TestParity(t *testing.T) {
	random := rand.Uint64()
	for _, tc := range []struct {
		name   string
		log    seeded
		policy *policy.Policy
	}{
		{"fixed seed", seeded{seed: 1, clicks: 12_000, rate: 1.8}, policy.Default()},
		{"two revisions", seeded{seed: 2, clicks: 12_000, rate: 1.8}, parsePolicy(t, twoRevisions)},
		{"copies in other partitions", seeded{seed: 3, clicks: 8_000, rate: 1.2, isScattered: true}, policy.Default()},
		{"late clicks and old copies", seeded{seed: 4, clicks: 12_000, rate: 1.8, isLate: true}, policy.Default()},
		{"late clicks and two revisions", seeded{seed: 5, clicks: 12_000, rate: 1.8, isLate: true}, parsePolicy(t, twoRevisions)},
		{"random seed", seeded{seed: random, clicks: 12_000, rate: 1.8}, policy.Default()},
		{"random seed, late", seeded{seed: random, clicks: 12_000, rate: 1.8, isLate: true}, parsePolicy(t, twoRevisions)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%+v", tc.log)
				}
			})
			b := newBed(t, logPartitions, tc.policy)
			l := tc.log.log(t)
			b.produce(l)
			st := b.stream()
			if st.Records != int64(len(l.recs)) || st.Judged() != st.Records {
				t.Errorf("stream: %d records, %d judged, the log has %d", st.Records, st.Judged(), len(l.recs))
			}
			b.keep()
			want := oracle.Judge(l.recs, tc.policy)
			if len(tc.policy.Revisions) == 1 {
				checkThresholds(t, want)
			}
			if tc.log.isLate {
				b.checkDifferences(want)
			} else {
				b.checkStream(want)
			}
			for _, d := range days(want) {
				date := time.UnixMilli(d).UTC()
				b.checkBatch(b.batch(date), want, d)
				b.checkReport(b.reconcile(date, nil), want, d, !tc.log.isLate)
			}
		})
	}
}

// checkThresholds holds the oracle to figures that were worked out by hand, for each of three attackers.
func checkThresholds(t *testing.T, want *oracle.Result) {
	t.Helper()
	got := map[string]int{}
	for i := range want.Outcomes {
		if o := &want.Outcomes[i]; o.Verdict == schemas.Invalid {
			name, _, _ := strings.Cut(o.Click.ClickID, "-")
			got[name]++
		}
	}
	for name, n := range map[string]int{
		"limit":    0,      // 30 in ten seconds, and the 31st when the first no longer counts
		"over":     2,      // the 31st, and one a millisecond before the end of the cooling time
		"instant":  10,     // of 40 in one millisecond
		"again":    1 + 33, // the trip; within the cooling time 31, which trip again, and two held by that
		"midnight": 2,      // of 32
	} {
		if got[name] != 3*n {
			t.Errorf("%s: %d invalid, want %d", name, got[name], 3*n)
		}
	}
}

// days are the billing days that the log touches.
func days(res *oracle.Result) []int64 {
	var list []int64
	for i := range res.Outcomes {
		list = append(list, res.Outcomes[i].DayMillis())
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// checkStream wants the oracle's rows and verdicts of the stream.
func (b *bed) checkStream(want *oracle.Result) {
	b.t.Helper()
	sameRows(b.t, "stream", bare(rows(b.t, b.open(), serving.Provisional, always)), want.Rows(oracle.All))
	b.checkDecisions(want, b.decisions())
}

// checkDecisions wants the oracle's verdict on every click.
func (b *bed) checkDecisions(want *oracle.Result, got map[schemas.Position]schemas.Decision) {
	b.t.Helper()
	bad := 0
	for i := range want.Outcomes {
		o := &want.Outcomes[i]
		d, ok := got[o.Click.Position]
		verdict := o.Verdict
		if verdict == schemas.DeadLettered {
			verdict = schemas.Billable // no decision: dead letters have a topic of their own
		}
		if ok != (verdict != schemas.Billable) && (!ok || !d.IsLate || d.Verdict != schemas.Billable) ||
			ok && (d.Verdict != verdict || d.Rules != o.Rules || d.Winner != o.Winner || d.IsConflict != o.IsConflict) {
			if bad++; bad <= 5 {
				b.t.Errorf("stream: %s %s: got %+v (%t), want %s %v winner %s", o.Click.Position, o.Click.ClickID, d, ok,
					o.Verdict, o.Rules.Names(), o.Winner)
			}
		}
	}
	if bad > 5 {
		b.t.Errorf("stream: %d verdicts differ", bad)
	}
}

// checkDifferences wants every verdict of the stream that is not the oracle's to be of a click that
// is late itself, or a copy beyond the stream's memory, or near to one of these of its identity.
func (b *bed) checkDifferences(want *oracle.Result) {
	b.t.Helper()
	got := b.decisions()
	type identity struct{ who, ad string }
	disturbed := map[identity][]int64{}
	of := func(o *oracle.Outcome) []identity {
		ip := strings.TrimPrefix(o.Click.IPAddress, "::ffff:")
		return []identity{{"ip " + ip, o.Click.AdID}, {"user " + o.Click.UserID, o.Click.AdID}}
	}
	isLate := func(o *oracle.Outcome) bool {
		d := got[o.Click.Position]
		return d.IsLate || d.Verdict == schemas.Late
	}
	isOldCopy := func(o *oracle.Outcome) bool {
		return o.Verdict == schemas.Duplicate && got[o.Click.Position].Verdict != schemas.Duplicate
	}
	late, old := 0, 0
	for i := range want.Outcomes {
		o := &want.Outcomes[i]
		if l, c := isLate(o), isOldCopy(o); l || c {
			late, old = late+btoi(l), old+btoi(c)
			for _, id := range of(o) {
				disturbed[id] = append(disturbed[id], o.Click.EventTimeMillis)
			}
		}
	}
	history := policy.Max(b.policy, func(r *policy.Revision) int64 { return (r.Velocity.Cooling + r.Velocity.Window).Milliseconds() })
	for i := range want.Outcomes {
		o := &want.Outcomes[i]
		d := got[o.Click.Position]
		if o.Verdict == schemas.DeadLettered || d.Verdict == o.Verdict || isLate(o) || isOldCopy(o) {
			continue
		}
		near := slices.ContainsFunc(of(o), func(id identity) bool {
			return slices.ContainsFunc(disturbed[id], func(at int64) bool {
				return at <= o.Click.EventTimeMillis && at > o.Click.EventTimeMillis-history
			})
		})
		if !near {
			b.t.Errorf("stream: %s %s: got %s without a cause, want %s", o.Click.Position, o.Click.ClickID, d.Verdict, o.Verdict)
		}
	}
	if late < 100 || old < 20 {
		b.t.Errorf("only %d late clicks and %d old copies: nothing was tried", late, old)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkBatch wants the oracle's totals, rows and decisions of a day.
func (b *bed) checkBatch(got batch.Result, want *oracle.Result, dayMillis int64) {
	b.t.Helper()
	totals := want.Totals(oracle.Day(dayMillis))
	if got.Records != totals.Records || got.BillableClicks != totals.Billable || got.DuplicateClicks != totals.Duplicates ||
		got.InvalidClicks != totals.Invalid || got.DeadLetters != totals.DeadLetters || got.SpendMicros != totals.SpendMicros ||
		got.ConflictClicks != totals.Conflicts || got.Advertisers != int64(len(totals.Advertisers)) {
		b.t.Errorf("batch %s: got %+v, want %+v", got.Date, got, totals)
	}
	for _, rule := range schemas.RuleNames {
		if got.InvalidByRule[rule] != totals.InvalidByRule[rule] {
			b.t.Errorf("batch %s: %s: got %d, want %d", got.Date, rule, got.InvalidByRule[rule], totals.InvalidByRule[rule])
		}
	}
	for reason, n := range totals.DeadLettersByReason {
		if got.DeadByReason[string(reason)] != n {
			b.t.Errorf("batch %s: %s: got %d, want %d", got.Date, reason, got.DeadByReason[string(reason)], n)
		}
	}
	store, err := objectstore.Open(b.ctx, b.archive)
	if err != nil {
		b.t.Fatal(err)
	}
	loaded, err := batch.Load(b.ctx, store, got.Date, b.t.TempDir())
	if err != nil {
		b.t.Fatal(err)
	}
	sameRows(b.t, "batch "+got.Date, batchRows(b.t, loaded.Minutes), want.Rows(oracle.Day(dayMillis)))
	var lines []string
	for i := range want.Outcomes {
		o := &want.Outcomes[i]
		if o.DayMillis() == dayMillis && (o.Verdict == schemas.Duplicate || o.Verdict == schemas.Invalid) {
			lines = append(lines, fmt.Sprintf("%s %s %s [%s] winner %s conflict %t", o.Click.Position, o.Click.ClickID, o.Verdict,
				strings.Join(o.Rules.Names(), ", "), o.Winner, o.IsConflict))
		}
	}
	decided := query(b.t, `select format('{}/{} {} {} {} winner {}/{} conflict {}', partition, "offset", click_id, verdict, rules::varchar,
		winner_partition, winner_offset, is_conflict) from read_parquet($1) order by partition, "offset"`, loaded.Decisions)
	for i := range max(len(lines), len(decided)) {
		if i >= len(lines) || i >= len(decided) || lines[i] != decided[i] {
			b.t.Errorf("batch %s: %d decisions, want %d; the first that differs: got %s, want %s", got.Date, len(decided), len(lines),
				decided[min(i, len(decided)):min(i+1, len(decided))], lines[min(i, len(lines)):min(i+1, len(lines))])
			return
		}
	}
}

// checkReport wants a clean reconciliation; where nothing is late, without any cause.
func (b *bed) checkReport(rep *reconcile.Report, want *oracle.Result, dayMillis int64, isOnTime bool) {
	b.t.Helper()
	checkSound(b.t, rep)
	if !rep.IsClean() || !rep.IsComplete {
		b.t.Errorf("reconcile %s: not clean: %+v", rep.Date, rep)
	}
	totals := want.Totals(oracle.Day(dayMillis))
	if rep.Batch.BillableClicks != totals.Billable || rep.Batch.SpendMicros != totals.SpendMicros ||
		rep.AuditBillableClicks != totals.Billable || rep.AuditSpendMicros != totals.SpendMicros {
		b.t.Errorf("reconcile %s: batch %+v, audit %d clicks, %d micros; want %+v", rep.Date, rep.Batch, rep.AuditBillableClicks,
			rep.AuditSpendMicros, totals)
	}
	if isOnTime && rep.Stream != rep.Batch {
		b.t.Errorf("reconcile %s: stream %+v, batch %+v", rep.Date, rep.Stream, rep.Batch)
	}
	if isOnTime {
		for cause, e := range rep.Causes {
			if e.Gross != 0 || e.Clicks != 0 || e.Micros != 0 {
				b.t.Errorf("reconcile %s: %s: %+v", rep.Date, cause, e)
			}
		}
	}
}

// checkSound wants causes that add up to the difference.
func checkSound(t testing.TB, rep *reconcile.Report) {
	t.Helper()
	clicks, micros := rep.Stream.BillableClicks-rep.Batch.BillableClicks, rep.Stream.SpendMicros-rep.Batch.SpendMicros
	for _, e := range rep.Causes {
		clicks, micros = clicks+e.Clicks, micros+e.Micros
	}
	if rep.UnexplainedClicks == 0 && (clicks != 0 || micros != 0) {
		t.Errorf("reconcile %s: the causes are off by %d clicks, %d micros: %+v", rep.Date, clicks, micros, rep)
	}
}

// batchRows reads a result's minutes.
func batchRows(t testing.TB, path string) []schemas.MinuteRow {
	t.Helper()
	db := openDuck(t)
	res, err := db.QueryContext(t.Context(), `select epoch_ms(click_minute)::bigint, advertiser_id, campaign_id, ad_id, device_type, country_code,
		raw_clicks, duplicate_clicks, invalid_clicks, unique_clicks, spend_micros from read_parquet($1)`, path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	var list []schemas.MinuteRow
	for res.Next() {
		var r schemas.MinuteRow
		if err := res.Scan(&r.MinuteMillis, &r.AdvertiserID, &r.CampaignID, &r.AdID, &r.DeviceType, &r.CountryCode,
			&r.RawClicks, &r.DuplicateClicks, &r.InvalidClicks, &r.UniqueClicks, &r.SpendMicros); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func openDuck(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// query returns the one text column of a query.
func query(t testing.TB, text string, args ...any) []string {
	t.Helper()
	res, err := openDuck(t).QueryContext(t.Context(), text, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	var list []string
	for res.Next() {
		var s string
		if err := res.Scan(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}
