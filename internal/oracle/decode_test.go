package oracle

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

func TestDeadLetterReasons(t *testing.T) {
	t.Parallel()
	at := noon * 1000
	tests := []struct {
		name string
		give event
		want schemas.Reason
	}{
		{"good", event{}, ""},
		{"no click id", event{id: "-"}, "missing_click_id"},
		{"no ad id", event{ad: "-"}, "missing_ad_id"},
		{"no advertiser id", event{advertiser: "-"}, "missing_advertiser_id"},
		{"no campaign id", event{campaign: "-"}, "missing_campaign_id"},
		{"64 characters", event{id: strings.Repeat("é", 64)}, ""},
		{"65 characters", event{id: strings.Repeat("é", 65)}, "overlong_click_id"},
		{"overlong ad", event{ad: strings.Repeat("a", 65)}, "overlong_ad_id"},
		{"overlong advertiser", event{advertiser: strings.Repeat("a", 65)}, "overlong_advertiser_id"},
		{"overlong campaign", event{campaign: strings.Repeat("a", 65)}, "overlong_campaign_id"},
		{"control in id", event{id: "a\x00b"}, "bad_id"},
		{"C1 control in campaign", event{campaign: "a\u0085"}, "bad_id"},
		{"format character is no control", event{id: "a\u200b"}, ""},
		{"overlong comes before control", event{id: strings.Repeat("\n", 65)}, "overlong_click_id"},
		{"field by field: bad click id before missing ad", event{id: "\n", ad: "-"}, "bad_id"},
		{"user of 256", event{user: strings.Repeat("ü", 256)}, ""},
		{"user of 257", event{user: strings.Repeat("u", 257)}, "overlong_user_id"},
		{"control in user is allowed", event{user: "a\nb"}, ""},
		{"ids before user", event{campaign: "-", user: strings.Repeat("u", 257)}, "missing_campaign_id"},
		{"nan cost", event{cost: math.NaN()}, "bad_cost"},
		{"infinite cost", event{cost: math.Inf(1)}, "bad_cost"},
		{"negative infinite cost", event{cost: math.Inf(-1)}, "bad_cost"},
		{"negative cost", event{cost: -1}, "bad_cost"},
		{"negative before rounding", event{cost: -0.0000001}, "bad_cost"},
		{"negative zero", event{cost: math.Copysign(0, -1)}, ""},
		{"maximum allowed", event{cost: 1000}, ""},
		{"rounded down to the maximum", event{cost: 1000.0000004}, ""},
		{"over the maximum", event{cost: 1000.000001}, "bad_cost"},
		{"huge", event{cost: math.MaxFloat64}, "bad_cost"},
		{"user before cost", event{user: strings.Repeat("u", 257), cost: -1}, "overlong_user_id"},
		{"ipv4", event{ip: "192.0.2.1"}, ""},
		{"ipv6", event{ip: "2001:DB8::1"}, ""},
		{"mapped", event{ip: "::ffff:192.0.2.1"}, ""},
		{"zone", event{ip: "fe80::1%eth0"}, "bad_ip"},
		{"leading zeros", event{ip: "192.0.02.1"}, "bad_ip"},
		{"not an address", event{ip: "localhost"}, "bad_ip"},
		{"port", event{ip: "192.0.2.1:80"}, "bad_ip"},
		{"cost before ip", event{cost: -1, ip: "x"}, "bad_cost"},
		{"5 min ahead", event{receivedMicros: at - 300e6}, ""},
		{"1 us more", event{receivedMicros: at - 300e6 - 1}, "future"},
		{"24 h behind", event{receivedMicros: at + 86400e6}, ""},
		{"1 us more behind", event{receivedMicros: at + 86400e6 + 1}, "stale"},
		{"ip before future", event{ip: "x", receivedMicros: at - 400e6}, "bad_ip"},
		{"most negative timestamp", event{timestamp: math.MinInt64}, "stale"},
		{"largest timestamp", event{timestamp: math.MaxInt64}, "future"},
		{"unknown field ignored", event{extra: protowire.AppendString(protowire.AppendTag(nil, 99, protowire.BytesType), "\xff")}, ""},
		{"known field of another type ignored", event{extra: protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)}, ""},
		{"invalid utf-8", event{agent: "\xff"}, "undecodable"},
		{"invalid utf-8 before missing id", event{id: "-", agent: "\xff"}, "undecodable"},
		{"cut off", event{extra: []byte{0x0a, 0x7f, 'x'}}, "undecodable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Judge(log(tt.give), policy.Default()).Outcomes[0]
			if got.Reason != tt.want || (got.Verdict == schemas.DeadLettered) != (tt.want != "") {
				t.Errorf("got verdict %s, reason %q; want reason %q", got.Verdict, got.Reason, tt.want)
			}
		})
	}
}

func TestOversize(t *testing.T) {
	t.Parallel()
	base := len(click(event{}).encode())
	pad := func(total int) event { // a referrer of 3 bytes of length prefix and 1 of tag
		n := total - base - 4
		return event{extra: protowire.AppendString(protowire.AppendTag(nil, 10, protowire.BytesType), strings.Repeat("r", n))}
	}
	records := log(pad(65536), pad(65537))
	if len(records[0].Value) != 65536 || len(records[1].Value) != 65537 {
		t.Fatalf("got sizes %d, %d", len(records[0].Value), len(records[1].Value))
	}
	res := Judge(records, policy.Default())
	if got := verdicts(t, res); got != "BX" || res.Outcomes[1].Reason != "oversize" {
		t.Errorf("got %s, %q; want BX, oversize", got, res.Outcomes[1].Reason)
	}
	garbage := []schemas.Record{{Value: make([]byte, 65537), TimestampMicros: noon * 1000}, {Position: schemas.Position{Offset: 1}, Value: []byte{0xff}}}
	res = Judge(garbage, policy.Default())
	if res.Outcomes[0].Reason != "oversize" || res.Outcomes[1].Reason != "undecodable" {
		t.Errorf("got %q, %q", res.Outcomes[0].Reason, res.Outcomes[1].Reason)
	}
}

func TestEventTimeUnits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		timestamp int64
		want      int64
	}{
		{"seconds", 1762776000, 1762776000000},
		{"last second", 99_999_999_999, 99_999_999_999_000},
		{"first millisecond", 100_000_000_000, 100_000_000_000},
		{"milliseconds", 1762776000123, 1762776000123},
		{"last millisecond", 99_999_999_999_999, 99_999_999_999_999},
		{"first microsecond", 100_000_000_000_000, 100_000_000_000},
		{"microseconds cut down", 1762776000123999, 1762776000123},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := Judge(log(event{timestamp: tt.timestamp, receivedMicros: tt.want * 1000}), policy.Default())
			if o := res.Outcomes[0]; o.Reason != "" || o.Click.EventTimeMillis != tt.want {
				t.Errorf("got %d, reason %q; want %d", o.Click.EventTimeMillis, o.Reason, tt.want)
			}
		})
	}
}

func TestMoneyRoundsHalfToEven(t *testing.T) {
	t.Parallel()
	for cost, want := range map[float64]int64{
		0: 0, 0.5: 500_000, 0.0000005: 0, 0.0000015: 2, 0.0000025: 2, 0.1: 100_000, 999.9999996: 1_000_000_000,
	} {
		if got := Judge(log(event{cost: cost}), policy.Default()).Outcomes[0].Click.CostMicros; got != want {
			t.Errorf("cost %v: got %d micros, want %d", cost, got, want)
		}
	}
}

func TestReceivedAtFallsBackToTheRecord(t *testing.T) {
	t.Parallel()
	records := log(event{noReceivedAt: true}, event{id: "b", receivedMicros: noon*1000 + 7})
	records[0].TimestampMicros = noon*1000 + 5
	res := Judge(records, policy.Default())
	if got := res.Outcomes[0].Click.ReceivedAtMicros; got != noon*1000+5 {
		t.Errorf("without field 11: got %d", got)
	}
	if got := res.Outcomes[1].Click.ReceivedAtMicros; got != noon*1000+7 {
		t.Errorf("with field 11: got %d", got)
	}
}
