package auditduck

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// asAudit writes the oracle's totals of a span in the audit's shape.
func asAudit(r *oracle.Result, span oracle.Span) Totals {
	o := r.Totals(span)
	t := Totals{Records: o.Records, BillableClicks: o.Billable, DuplicateClicks: o.Duplicates, ConflictClicks: o.Conflicts,
		InvalidClicks: o.Invalid, InvalidByRule: o.InvalidByRule, DeadLetters: o.DeadLetters,
		DeadLettersByReason: map[string]int64{}, SpendMicros: o.SpendMicros}
	for reason, n := range o.DeadLettersByReason {
		t.DeadLettersByReason[string(reason)] = n
	}
	sums := map[string]AdvertiserTotal{}
	for _, row := range r.Rows(span) {
		sum := sums[row.AdvertiserID]
		sums[row.AdvertiserID] = AdvertiserTotal{row.AdvertiserID, sum.BillableClicks + row.UniqueClicks, sum.DuplicateClicks + row.DuplicateClicks,
			sum.InvalidClicks + row.InvalidClicks, sum.SpendMicros + row.SpendMicros}
	}
	t.Advertisers = slices.Collect(maps.Values(sums))
	slices.SortFunc(t.Advertisers, func(a, b AdvertiserTotal) int { return cmp.Compare(a.AdvertiserID, b.AdvertiserID) })
	return t
}

const changing = `
revisions:
  - effective_from: 2020-01-01T00:00:00Z
    velocity: {window: 10s, max_clicks: 30, cooling: 1h}
  - effective_from: 2026-11-10T00:00:00Z
    velocity: {window: 20s, max_clicks: 5, cooling: 2m}
    dedup: {lookback: 30h}
    listed_networks: {version: a, cidrs: ["198.51.100.0/29", "::/127", "::ffff:192.0.2.2/128", "2001:db8:bad::/63"]}
    bot_user_agents: {version: a, patterns: ['^curl/\d$', '(?i)GOOGLE', 'x\.y', '\Qa.']}
  - effective_from: 2026-11-10T11:07:00Z
    velocity: {window: 5s, max_clicks: 0, cooling: 0s}
    listed_networks: {version: b, cidrs: ["0.0.0.0/0"]}
    bot_user_agents: {version: b, patterns: []}
  - effective_from: 2026-11-10T12:00:00Z
    listed_networks: {version: c, cidrs: []}
    bot_user_agents: {version: c, patterns: ['a.bot', '']}
`

func TestAgreesWithTheOracle(t *testing.T) {
	t.Parallel()
	policies := map[string]*policy.Policy{"default": policy.Default(), "changing": parse(t, changing)}
	cut := day + 40_000_000 + 1_200_000
	for name, p := range policies {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s/seed %d", name, seed), func(t *testing.T) {
				t.Parallel()
				res := oracle.Judge(randomLog(rand.New(rand.NewPCG(seed, 1)), 6000), p)
				dir := t.TempDir()
				clicks, deadLetters := archived(t, dir, res)
				in := Input{ClickFiles: clicks, DeadLetterFiles: deadLetters, DayStartMillis: day,
					DayEndMillis: day + dayMillis, Policy: p, TempDir: dir}
				for _, end := range []int64{day + dayMillis, cut} {
					in.CutMillis = end
					got, err := Audit(t.Context(), in)
					if err != nil {
						t.Fatal(err)
					}
					if name == "default" && got.InvalidByRule["velocity_ip_ad"]*got.InvalidByRule["velocity_user_ad"] == 0 {
						t.Errorf("the log tries no velocity rule: %v", got.InvalidByRule)
					}
					span := oracle.Span{FromMillis: day, ToMillis: end}
					if want := asAudit(res, span); !reflect.DeepEqual(got, want) {
						t.Errorf("totals to %d: got  %+v\nwant %+v", end, got, want)
					}
					if got, want := minutes(t, in), res.Rows(span); !reflect.DeepEqual(got, want) {
						t.Errorf("minutes to %d: %d rows differ from the oracle's %d", end, len(got), len(want))
					}
				}
			})
		}
	}
}

// minutes reads back what Minutes writes.
func minutes(t *testing.T, in Input) []schemas.MinuteRow {
	t.Helper()
	path := filepath.Join(in.TempDir, "minutes.parquet")
	if err := Minutes(t.Context(), in, path); err != nil {
		t.Fatal(err)
	}
	type fileRow struct {
		ClickMinute     int64  `parquet:"click_minute,timestamp(microsecond)"`
		AdvertiserID    string `parquet:"advertiser_id"`
		CampaignID      string `parquet:"campaign_id"`
		AdID            string `parquet:"ad_id"`
		DeviceType      string `parquet:"device_type"`
		CountryCode     string `parquet:"country_code"`
		RawClicks       int64  `parquet:"raw_clicks"`
		DuplicateClicks int64  `parquet:"duplicate_clicks"`
		InvalidClicks   int64  `parquet:"invalid_clicks"`
		UniqueClicks    int64  `parquet:"unique_clicks"`
		SpendMicros     int64  `parquet:"spend_micros"`
	}
	read, err := parquet.ReadFile[fileRow](path)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	rows := make([]schemas.MinuteRow, len(read))
	for i, r := range read {
		rows[i] = schemas.MinuteRow{MinuteKey: schemas.MinuteKey{MinuteMillis: r.ClickMinute / 1000, AdvertiserID: r.AdvertiserID,
			CampaignID: r.CampaignID, AdID: r.AdID, DeviceType: r.DeviceType, CountryCode: r.CountryCode},
			RawClicks: r.RawClicks, DuplicateClicks: r.DuplicateClicks, InvalidClicks: r.InvalidClicks,
			UniqueClicks: r.UniqueClicks, SpendMicros: r.SpendMicros}
	}
	return rows
}

// TestRejudgesByThePolicyGiven: what the archive took as clicks is a dead letter by a stricter policy.
func TestRejudgesByThePolicyGiven(t *testing.T) {
	t.Parallel()
	strict := parse(t, `
revisions:
  - {effective_from: 2020-01-01T00:00:00Z, max_cost_micros: 500000, max_event_age: 30m, max_event_ahead: 10s}
`)
	log := randomLog(rand.New(rand.NewPCG(1, 2)), 3000)
	clicks, deadLetters := archived(t, t.TempDir(), oracle.Judge(log, policy.Default()))
	got, err := Audit(t.Context(), Input{ClickFiles: clicks, DeadLetterFiles: deadLetters, DayStartMillis: day,
		DayEndMillis: day + dayMillis, Policy: strict})
	if err != nil {
		t.Fatal(err)
	}
	want := asAudit(oracle.Judge(log, strict), oracle.Day(day))
	got.DeadLettersByReason, want.DeadLettersByReason = nil, nil // the archive's dead letters keep their first reason
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNoFilesAndBadInput(t *testing.T) {
	t.Parallel()
	in := Input{DayStartMillis: day, DayEndMillis: day + dayMillis, Policy: policy.Default()}
	got, err := Audit(t.Context(), in)
	if err != nil || got.Records != 0 {
		t.Errorf("no files: got %+v, %v", got, err)
	}
	for name, change := range map[string]func(*Input){
		"no policy":    func(in *Input) { in.Policy = nil },
		"cut outside":  func(in *Input) { in.CutMillis = day + dayMillis + 1 },
		"no day":       func(in *Input) { in.DayEndMillis = day },
		"missing file": func(in *Input) { in.ClickFiles = []string{filepath.Join(t.TempDir(), "none.parquet")} },
	} {
		bad := in
		change(&bad)
		if _, err := Audit(t.Context(), bad); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestOpenAnalyst(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "archive [1]") // glob characters stand for themselves
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	counts := func() (clicks, dead, decisions int) {
		t.Helper()
		db, err := OpenAnalyst(t.Context(), dir, AnalystOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = db.QueryRowContext(t.Context(), `select (select count(*) from clicks where dt = date '2026-11-10' and hr = '07' and "partition" >= 0),
			(select count(reason) from dead_letters), (select count(verdict) from decisions)`).Scan(&clicks, &dead, &decisions)
		if err != nil {
			t.Fatal(err)
		}
		return clicks, dead, decisions
	}
	if clicks, dead, decisions := counts(); clicks != 0 || dead != 0 || decisions != 0 {
		t.Errorf("empty archive: got %d, %d, %d", clicks, dead, decisions)
	}
	res := oracle.Judge(randomLog(rand.New(rand.NewPCG(3, 3)), 500), policy.Default())
	archived(t, dir, res)
	want := res.Totals(oracle.All)
	if clicks, dead, decisions := counts(); int64(clicks) != want.Records-want.DeadLetters || int64(dead) != want.DeadLetters || decisions != 0 {
		t.Errorf("got %d, %d, %d; want %+v", clicks, dead, decisions, want)
	}
}
