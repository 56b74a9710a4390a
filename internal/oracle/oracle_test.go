package oracle

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

func rep(s string, n int) string { return strings.Repeat(s, n) }

func TestDedup(t *testing.T) {
	t.Parallel()
	at, h := noon*1000, int64(3600_000_000)
	tests := []struct {
		name string
		log  []event
		want string
	}{
		{"first recorded wins", []event{{receivedMicros: at + 2}, {receivedMicros: at + 1}}, "DB"},
		{"position breaks a tie", []event{{receivedMicros: at}, {receivedMicros: at}}, "BD"},
		{"25 h after the winner, end included", []event{{}, {atMillis: noon + 25*3600_000}}, "BD"},
		{"beyond is a new winner", []event{{}, {atMillis: noon + 25*3600_000, receivedMicros: at + 25*h + 1}}, "BB"},
		{"the window is the winner's, not sliding", []event{{},
			{atMillis: noon + 20*3600_000}, {atMillis: noon + 40*3600_000}, {atMillis: noon + 60*3600_000}}, "BDBD"},
		{"a dead letter does not use up its id", []event{{cost: -1}, {}}, "XB"},
		{"nor after a click", []event{{}, {cost: -1}, {}}, "BXD"},
		{"an invalid click does", []event{{agent: "Googlebot"}, {}}, "ID"},
		{"an empty id is no id", []event{{id: "-"}, {id: "-"}}, "XX"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := verdicts(t, Judge(log(tt.log...), policy.Default())); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestConflictsAndWinners(t *testing.T) {
	t.Parallel()
	res := Judge(log(event{cost: 1}, event{cost: 1}, event{cost: 2}, event{cost: 1, ad: "other"},
		event{cost: 1, advertiser: "other"}), policy.Default())
	if got := verdicts(t, res); got != "BDDDD" {
		t.Fatalf("got %s", got)
	}
	var got []bool
	for _, o := range res.Outcomes {
		got = append(got, o.IsConflict)
		if o.Winner.Offset != 0 {
			t.Errorf("winner of %s: got %s", o.Click.Position, o.Winner)
		}
	}
	if want := []bool{false, false, true, true, false}; !slices.Equal(got, want) {
		t.Errorf("conflicts: got %v, want %v", got, want)
	}
}

func TestVelocity(t *testing.T) {
	t.Parallel()
	ip, user := event{ip: "192.0.2.1"}, event{user: "u"}
	cooled := func(at int64) event { return event{id: "later", ip: "192.0.2.1", atMillis: at} }
	midnight := noon + 12*3600_000
	tests := []struct {
		name string
		log  []event
		want string
	}{
		{"exactly 30 in 10 s", burst(30, "a", noon, 333, ip), rep("B", 30)},
		{"the 31st", burst(31, "a", noon, 333, ip), rep("B", 30) + "I"},
		{"by user", burst(31, "a", noon, 333, user), rep("B", 30) + "I"},
		{"40 in one millisecond", burst(40, "a", noon, 0, ip), rep("B", 30) + rep("I", 10)},
		{"31 of which the first is 10 s old", append(burst(1, "a", noon, 0, ip), burst(30, "b", noon+10_000, 0, ip)...), rep("B", 31)},
		{"and 1 ms less", append(burst(1, "a", noon, 0, ip), burst(30, "b", noon+9_999, 0, ip)...), rep("B", 30) + "I"},
		{"cooling, last millisecond", append(burst(31, "a", noon, 0, ip), cooled(noon+3600_000-1)), rep("B", 30) + "II"},
		{"cooling is over", append(burst(31, "a", noon, 0, ip), cooled(noon+3600_000)), rep("B", 30) + "IB"},
		{"cooling across midnight", append(burst(31, "a", midnight-60_000, 0, ip), cooled(midnight+3540_000-1)), rep("B", 30) + "II"},
		{"clicks in cooling trip it again", slices.Concat(burst(31, "a", noon, 0, ip),
			burst(31, "b", noon+1800_000, 0, ip), []event{cooled(noon + 5400_000 - 1)}), rep("B", 30) + rep("I", 33)},
		{"another ad is another identity", append(burst(31, "a", noon, 0, ip), event{id: "x", ad: "other", ip: "192.0.2.1"}), rep("B", 30) + "IB"},
		{"empty ip and user are no identity", burst(40, "a", noon, 0, event{}), rep("B", 40)},
		{"mapped is the same address", append(burst(30, "a", noon, 0, ip), event{id: "x", ip: "::ffff:192.0.2.1"}), rep("B", 30) + "I"},
		{"spellings of one IPv6 address", append(burst(30, "a", noon, 0, event{ip: "2001:db8::1"}),
			event{id: "x", ip: "2001:0DB8:0:0:0:0:0:1"}), rep("B", 30) + "I"},
		{"duplicates do not count", append(burst(30, "a", noon, 0, ip), burst(30, "a", noon, 0, ip)...), rep("B", 30) + rep("D", 30)},
		{"earlier clicks that arrive later count", append(burst(1, "z", noon+5, 0, ip), burst(30, "a", noon, 0, ip)...), "I" + rep("B", 30)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := verdicts(t, Judge(log(tt.log...), policy.Default())); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestVelocityAcrossRevisions: a click is judged by the revision of its own event time.
func TestVelocityAcrossRevisions(t *testing.T) {
	t.Parallel()
	p := revisions(t, `
revisions:
  - {effective_from: 2020-01-01T00:00:00Z, velocity: {window: 10s, max_clicks: 5, cooling: 1h}}
  - {effective_from: 2026-11-10T12:00:00Z, velocity: {window: 20s, max_clicks: 2, cooling: 1m}}
`)
	ip := event{ip: "192.0.2.1"}
	tests := []struct {
		name string
		log  []event
		want string
	}{
		// Two clicks 15 s before noon count in the new revision's window of 20 s.
		{"window spans the change", append(burst(2, "a", noon-15_000, 0, ip), burst(1, "b", noon, 0, ip)...), "BBI"},
		{"earlier clicks keep their verdict", append(burst(4, "a", noon-1000, 0, ip), burst(1, "b", noon, 0, ip)...), "BBBBI"},
		// A trip by the old revision cools for the new revision's minute only.
		{"cooling of the judged click", append(burst(6, "a", noon-30_000, 0, ip),
			event{id: "x", ip: "192.0.2.1", atMillis: noon + 29_999}, event{id: "y", ip: "192.0.2.1", atMillis: noon + 30_000}), "BBBBBIIB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := verdicts(t, Judge(log(tt.log...), p)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestListsAndRules(t *testing.T) {
	t.Parallel()
	velocity := schemas.RuleVelocityIPAd | schemas.RuleVelocityUserAd
	tests := []struct {
		name string
		give event
		want schemas.Rules
	}{
		{"bot in the middle", event{agent: "Mozilla/5.0 (compatible; Googlebot/2.1)"}, schemas.RuleBotUserAgent},
		{"case matters", event{agent: "googlebot"}, 0},
		{"listed", event{ip: "198.51.100.255"}, schemas.RuleListedIP},
		{"next to it", event{ip: "198.51.101.0"}, 0},
		{"listed, mapped", event{ip: "::ffff:198.51.100.1"}, schemas.RuleListedIP},
		{"listed, IPv6", event{ip: "2001:db8:bad:ffff::1"}, schemas.RuleListedIP},
		{"both", event{ip: "198.51.100.1", agent: "bingbot"}, schemas.RuleListedIP | schemas.RuleBotUserAgent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Judge(log(tt.give), policy.Default()).Outcomes[0].Rules; got != tt.want {
				t.Errorf("got %v, want %v", got.Names(), tt.want.Names())
			}
		})
	}
	all := Judge(log(burst(31, "a", noon, 0, event{ip: "198.51.100.1", user: "u", agent: "bingbot"})...), policy.Default())
	if got, want := all.Outcomes[30].Rules, velocity|schemas.RuleListedIP|schemas.RuleBotUserAgent; got != want {
		t.Errorf("all rules: got %v", got.Names())
	}
}

func TestRowsAndTotals(t *testing.T) {
	t.Parallel()
	day := noon - 12*3600_000
	res := Judge(log(
		event{id: "a", cost: 0.25, device: "mobile", country: "DE"},
		event{id: "a", cost: 0.5, atMillis: noon + 60_000}, // counted in the row of its own minute and fields
		event{id: "b", cost: 1, agent: "bingbot", device: "mobile", country: "DE"},
		event{id: "c", cost: 2, atMillis: day},
		event{id: "d", cost: 4, atMillis: day + dayMillis},                                               // the next day
		event{id: "e", cost: 8, atMillis: day + dayMillis - 1, receivedMicros: (day + dayMillis) * 1000}, // this day by event time
		event{id: "f", cost: -1, atMillis: day + 5, receivedMicros: day*1000 - 1},                        // the day before by received time
		event{id: "g", cost: -1},
	), policy.Default())
	key := func(millis int64, device, country string) schemas.MinuteKey {
		return schemas.MinuteKey{MinuteMillis: millis, AdvertiserID: "adv", CampaignID: "camp", AdID: "ad", DeviceType: device, CountryCode: country}
	}
	wantRows := []schemas.MinuteRow{
		{MinuteKey: key(day, "", ""), RawClicks: 1, UniqueClicks: 1, SpendMicros: 2_000_000},
		{MinuteKey: key(noon, "mobile", "DE"), RawClicks: 2, InvalidClicks: 1, UniqueClicks: 1, SpendMicros: 250_000},
		{MinuteKey: key(noon+60_000, "", ""), RawClicks: 1, DuplicateClicks: 1},
		{MinuteKey: key(day+dayMillis-60_000, "", ""), RawClicks: 1, UniqueClicks: 1, SpendMicros: 8_000_000},
	}
	if got := res.Rows(Day(day)); !reflect.DeepEqual(got, wantRows) {
		t.Errorf("rows: got  %+v\nwant %+v", got, wantRows)
	}
	got := res.Totals(Day(day))
	want := Totals{Records: 6, Billable: 3, Duplicates: 1, Conflicts: 1, Invalid: 1, DeadLetters: 1,
		InvalidByRule: map[string]int64{"bot_user_agent": 1}, DeadLettersByReason: map[schemas.Reason]int64{"bad_cost": 1},
		SpendMicros: 10_250_000, Advertisers: map[string]Bill{"adv": {3, 10_250_000}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("totals: got  %+v\nwant %+v", got, want)
	}
	if all := res.Totals(All); all.Records != 8 || all.Records != all.Billable+all.Duplicates+all.Invalid+all.DeadLetters {
		t.Errorf("all: got %+v", all)
	}
	if got := res.Outcomes[6].DayMillis(); got != day-dayMillis {
		t.Errorf("day of a dead letter: got %d, want %d", got, day-dayMillis)
	}
}

// TestOrderDoesNotMatter: the verdicts are a function of the log, not of the order of reading it.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, 0))
	var events []event
	for i := range 2000 {
		events = append(events, event{id: fmt.Sprint(rng.IntN(1500)), ip: fmt.Sprintf("192.0.2.%d", rng.IntN(3)),
			user: fmt.Sprint(rng.IntN(5)), atMillis: noon + rng.Int64N(60_000), cost: float64(i%3) - 0.5})
	}
	records := log(events...)
	want := Judge(records, policy.Default())
	rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	if got := Judge(records, policy.Default()); !reflect.DeepEqual(got, want) {
		t.Errorf("seed %d: a shuffled log gives other verdicts", seed)
	}
}
