package parity

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

const (
	hour   = 60 * minute
	victim = "adv-victim" // has the clicks that are judged wrong
)

// wrongRule is an error in one rule that stream and batch share, as they share the transforms, and
// the clicks on which it shows. Nobody but the audit can see it.
type wrongRule struct {
	name  string
	log   []event
	wrong func(*policy.Revision)
	// day is the billing day, by default the first. more is what the wrong layers bill more.
	day  time.Time
	more effect
}

// users and addresses are bursts of the victim, n clicks from at on, step apart.
func usersOf(n int, at, step int64) []event {
	list := burst(n, at, step, event{id: fmt.Sprint("user-", at), ad: "ad-user", adv: victim, user: "fast"})
	for i := range list {
		list[i].ip = fmt.Sprintf("192.0.2.%d", 10+i)
	}
	return list
}

func addressesOf(n int, at, step int64) []event {
	list := burst(n, at, step, event{id: fmt.Sprint("ip-", at), ad: "ad-ip", adv: victim, ip: "203.0.113.9"})
	for i := range list {
		list[i].user = fmt.Sprint("user-of-", list[i].id)
	}
	return list
}

// remember makes both layers forget a click_id after so long.
func remember(r *policy.Revision, long time.Duration) {
	r.Dedup.Lookback, r.Dedup.TTL = long, long
	r.MaxEventAge, r.MaxEventAhead = long/2, long/2 // or the policy is refused
}

func wrongRules() []wrongRule {
	next := day.AddDate(0, 0, 1)
	one, two := effect{Clicks: 1, Micros: 250_000}, effect{Clicks: 2, Micros: 500_000}
	less := effect{Clicks: -1, Micros: -250_000}
	cooling := func(ahead int64) []event {
		list := addressesOf(31, noon, 100) // it trips at noon + 3 s
		return append(list, event{id: "edge", ad: "ad-ip", adv: victim, ip: "203.0.113.9", at: noon + 3*second + hour + ahead})
	}
	return []wrongRule{
		{name: "velocity_user_ad allows one more", log: usersOf(31, noon, 100), more: one,
			wrong: func(r *policy.Revision) { r.Velocity.MaxClicks = 31 }},
		{name: "velocity_ip_ad allows one more", log: addressesOf(32, noon, 100), more: one, // the 32nd trips it, in place of the 31st
			wrong: func(r *policy.Revision) { r.Velocity.MaxClicks = 31 }},
		{name: "velocity_ip_ad allows one less", log: addressesOf(30, noon, 100), more: less,
			wrong: func(r *policy.Revision) { r.Velocity.MaxClicks = 29 }},
		{name: "the begin of the window is inside", log: append(addressesOf(1, noon, 0), addressesOf(30, noon+10*second-29*100, 100)...), more: less,
			wrong: func(r *policy.Revision) { r.Velocity.Window += time.Millisecond }},
		{name: "the window is too short", log: append(addressesOf(1, noon, 0), addressesOf(30, noon+10*second-1-29*100, 100)...), more: one,
			wrong: func(r *policy.Revision) { r.Velocity.Window -= time.Millisecond }},
		{name: "the end of the cooling time is inside", log: cooling(0), more: less,
			wrong: func(r *policy.Revision) { r.Velocity.Cooling += time.Millisecond }},
		{name: "the cooling time is too short", log: cooling(-1), more: one,
			wrong: func(r *policy.Revision) { r.Velocity.Cooling -= time.Millisecond }},
		{name: "no cooling time", log: cooling(-30 * minute), more: one,
			wrong: func(r *policy.Revision) { r.Velocity.Cooling = 0 }},
		{name: "a copy beyond the stream's time to live is billed", more: one,
			log:   []event{{id: "a", adv: victim, at: noon}, {id: "a", adv: victim, at: noon + 11*minute}},
			wrong: func(r *policy.Revision) { remember(r, r.Dedup.TTL) }},
		{name: "a copy within the time to live is billed", more: two,
			log:   []event{{id: "a", adv: victim, at: noon}, {id: "a", adv: victim, at: noon + 5*minute}, {id: "a", adv: victim, at: noon + 10*minute}},
			wrong: func(r *policy.Revision) { remember(r, time.Minute) }},
		{name: "the end of the look-back is outside", day: next, more: one,
			log:   []event{{id: "a", adv: victim, at: noon}, {id: "a", adv: victim, at: noon + 25*hour}},
			wrong: func(r *policy.Revision) { r.Dedup.Lookback -= time.Millisecond }},
		{name: "the look-back is too long", day: next, more: less,
			log:   []event{{id: "a", adv: victim, at: noon}, {id: "a", adv: victim, at: noon + 25*hour + 1}},
			wrong: func(r *policy.Revision) { r.Dedup.Lookback += time.Millisecond }},
		{name: "a click of the greatest age is a dead letter", more: less,
			log:   []event{{id: "a", adv: victim, at: noon, received: noon + 24*hour}},
			wrong: func(r *policy.Revision) { r.MaxEventAge -= time.Millisecond }},
		{name: "a dead letter by its age is billed", more: one,
			log:   []event{{id: "a", adv: victim, at: noon, received: noon + 24*hour + 1}},
			wrong: func(r *policy.Revision) { r.MaxEventAge += time.Millisecond }},
		{name: "a click ahead of its receipt is a dead letter", more: less,
			log:   []event{{id: "a", adv: victim, at: noon + 5*minute, received: noon}},
			wrong: func(r *policy.Revision) { r.MaxEventAhead -= time.Millisecond }},
		{name: "the highest cost is a dead letter", more: effect{Clicks: -1, Micros: -1_000_000_000},
			log:   []event{{id: "a", adv: victim, at: noon, cost: 1000}},
			wrong: func(r *policy.Revision) { r.MaxCostMicros-- }},
		{name: "a cost above the highest is billed", more: effect{Clicks: 1, Micros: 1_000_000_001},
			log:   []event{{id: "a", adv: victim, at: noon, cost: 1000.000001}},
			wrong: func(r *policy.Revision) { r.MaxCostMicros++ }},
		{name: "a bot is billed", more: one,
			log:   []event{{id: "a", adv: victim, at: noon, agent: "Googlebot"}},
			wrong: func(r *policy.Revision) { r.BotUserAgents.Patterns = r.BotUserAgents.Patterns[1:] }},
		{name: "a listed network is billed", more: one,
			log:   []event{{id: "a", adv: victim, at: noon, ip: "::ffff:198.51.100.255"}},
			wrong: func(r *policy.Revision) { r.ListedNetworks.CIDRs = []string{"198.51.100.0/25"} }},
	}
}

// TestAuditBlocks makes stream and batch wrong in one rule after the other. They agree, so nothing is
// unexplained; the SQL audit alone holds the advertiser, and nobody else.
func TestAuditBlocks(t *testing.T) {
	for _, tc := range wrongRules() {
		t.Run(tc.name, func(t *testing.T) {
			right, wrong := policy.Default(), policy.Default()
			tc.wrong(&wrong.Revisions[0]) // the hash stays: a wrong program says that it is the right policy
			on := day
			if !tc.day.IsZero() {
				on = tc.day
			}
			b := newBed(t, 1, wrong)
			var l clickLog
			l.add(flow(noon-hour, 3)...)
			l.add(tc.log...)
			end := tc.log[len(tc.log)-1]
			l.add(flow(max(end.at, end.received)+2*hour, 3)...)
			b.produce(&l)
			b.stream()
			b.policy = right // the archiver is right
			b.keep()
			b.policy = wrong
			b.batch(on)
			b.policy = right
			ledger := newLedger(t, victim, "adv-flow")
			rep := b.reconcile(on, ledger)
			wantBlocked(t, rep)
			held, bills := ledgerOf(t, ledger, on), billsOf(&l, right, on)
			if got := (effect{Clicks: rep.Batch.BillableClicks - clicksOf(&l, right, on), Micros: rep.Batch.SpendMicros - sumOf(bills)}); got != tc.more {
				t.Errorf("the wrong batch bills %+v more, want %+v: the case shows nothing", got, tc.more)
			}
			delete(bills, victim)
			if !maps.Equal(held, bills) || len(held) == 0 {
				t.Errorf("the ledger holds %v, want %v", held, bills)
			}
		})
	}
}

// wantBlocked wants the audit alone to object, and the victim alone to be held.
func wantBlocked(t *testing.T, rep *reconcile.Report) {
	t.Helper()
	for _, check := range rep.Gate {
		if check.Name != "sql_audit" && !check.IsOK {
			t.Errorf("%s: %s", check.Name, check.Detail)
		}
	}
	if !failed(rep, "sql_audit") || rep.UnexplainedClicks != 0 || !slices.Equal(rep.HeldAdvertisers, []string{victim}) {
		t.Errorf("not blocked: %+v", rep)
	}
}

func failed(rep *reconcile.Report, name string) bool {
	return slices.ContainsFunc(rep.Gate, func(c reconcile.Check) bool { return c.Name == name && !c.IsOK })
}

func billsOf(l *clickLog, p *policy.Policy, on time.Time) map[string]int64 {
	m := map[string]int64{}
	for id, b := range oracle.Judge(l.recs, p).Totals(oracle.Day(on.UnixMilli())).Advertisers {
		m[id] = b.Micros
	}
	return m
}

func clicksOf(l *clickLog, p *policy.Policy, on time.Time) int64 {
	return oracle.Judge(l.recs, p).Totals(oracle.Day(on.UnixMilli())).Billable
}

func sumOf(bills map[string]int64) (sum int64) {
	for _, micros := range bills {
		sum += micros
	}
	return sum
}

// ledgerOf is what a sound ledger holds for a day, by advertiser.
func ledgerOf(t testing.TB, l *ledgerpg.Ledger, on time.Time) map[string]int64 {
	t.Helper()
	totals, err := l.DayTotals(t.Context(), on)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int64{}
	for _, d := range totals {
		m[d.AdvertiserID] = int64(d.SpendMicros)
	}
	return m
}

// TestAuditBlocksAMicro: a cost that both layers round to a micro too much is found by the audit, and so
// is a verdict that costs nothing.
func TestAuditBlocksAMicro(t *testing.T) {
	for name, tc := range map[string]struct {
		change string // of the batch's row
		served func(*schemas.MinuteRow)
	}{
		"a micro": {"spend_micros + 1 as spend_micros", func(r *schemas.MinuteRow) { r.SpendMicros++ }},
		"a duplicate that is invalid": {"duplicate_clicks - 1 as duplicate_clicks, invalid_clicks + 1 as invalid_clicks", func(r *schemas.MinuteRow) {
			r.DuplicateClicks, r.InvalidClicks = r.DuplicateClicks-1, r.InvalidClicks+1
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, 1, policy.Default())
			var l clickLog
			// Halves are rounded to even: 0, 2 and 2 micros.
			l.add(event{id: "a", adv: victim, at: noon, cost: 0.0000005}, event{id: "b", adv: victim, at: noon, cost: 0.0000015},
				event{id: "c", adv: victim, at: noon, cost: 0.0000025}, event{id: "a", adv: victim, at: noon + second})
			l.add(flow(noon+2*second, 3)...)
			b.produce(&l)
			b.stream()
			b.keep()
			b.batch(day)
			b.changeResult(victim, tc.change)
			b.changeServed(victim, tc.served)
			ledger := newLedger(t, victim, "adv-flow")
			wantBlocked(t, b.reconcile(day, ledger))
			want := billsOf(&l, b.policy, day)
			if want[victim] != 4 {
				t.Errorf("the oracle bills %d micros", want[victim])
			}
			delete(want, victim)
			if held := ledgerOf(t, ledger, day); !maps.Equal(held, want) {
				t.Errorf("the ledger holds %v, want %v", held, want)
			}
		})
	}
}

// changeServed changes the provisional row of an advertiser.
func (b *bed) changeServed(advertiser string, change func(*schemas.MinuteRow)) {
	b.t.Helper()
	progress, err := b.open().LoadProgress(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, row := range rows(b.t, b.open(), serving.Provisional, always) {
		if row.AdvertiserID != advertiser {
			continue
		}
		change(&row)
		row.Version++
		if err := b.open().Upsert(b.ctx, []schemas.MinuteRow{row}, progress); err != nil {
			b.t.Fatal(err)
		}
	}
}

// changeResult changes the rows of an advertiser in the first result of the day, and the manifest so
// that it agrees: as a batch would write it that is wrong, not as somebody who tampers.
func (b *bed) changeResult(advertiser, change string) {
	b.t.Helper()
	dir := filepath.Join(strings.TrimPrefix(b.archive, "file://"), "results", "dt="+day.Format(time.DateOnly), "rev=1")
	path, changed := filepath.Join(dir, batch.MinutesFile), filepath.Join(b.t.TempDir(), batch.MinutesFile)
	db, err := sql.Open("duckdb", "")
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	//nolint:unqueryvet // all columns are kept
	query := fmt.Sprintf(`copy (select * replace (%s) from '%s' where advertiser_id = '%s' union all select * from '%s' where advertiser_id <> '%s'
		order by all) to '%s' (format parquet)`, change, path, advertiser, path, advertiser, changed)
	if _, err := db.ExecContext(b.ctx, query); err != nil {
		b.t.Fatal(err)
	}
	before, after := b.digest(path), b.digest(changed)
	if err := os.Rename(changed, path); err != nil {
		b.t.Fatal(err)
	}
	manifest := filepath.Join(dir, batch.ManifestFile)
	doc, err := os.ReadFile(manifest)
	if err != nil {
		b.t.Fatal(err)
	}
	text := strings.Replace(string(doc), before, after, 1)
	if head, _, isSealed := strings.Cut(text, ",\n  \"document_sha256\""); isSealed {
		sum := sha256.Sum256([]byte(head))
		text = head + ",\n  \"document_sha256\": \"" + hex.EncodeToString(sum[:]) + "\"\n}\n"
	}
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) digest(path string) string {
	b.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
