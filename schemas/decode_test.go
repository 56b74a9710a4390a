package schemas

import (
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas/policy"
)

// noon is a received time, in seconds.
const noon = 1_782_302_400

// valid returns a click that passes every rule.
func valid() RawClick {
	c := rawClicks()["full"]
	c.Timestamp, c.ReceivedAt = noon, noon*1_000_000
	return c
}

func judge(t testing.TB, c RawClick, recordMicros int64) (Click, Reason) {
	t.Helper()
	rec := Record{Position: Position{Partition: 3, Offset: 44}, TimestampMicros: recordMicros, Value: c.AppendTo(nil)}
	click, reason := NewDecoder(policy.Default()).Decode(rec)
	if click.Position != rec.Position {
		t.Fatalf("position: got %s, want %s", click.Position, rec.Position)
	}
	return click, reason
}

// TestReasonsInOrder gives a click every defect from some rule on: the first rule must speak.
func TestReasonsInOrder(t *testing.T) {
	t.Parallel()
	long := []byte(strings.Repeat("é", 65))
	var rules []struct {
		reason Reason
		spoil  func(*RawClick)
	}
	rule := func(reason Reason, spoil func(*RawClick)) {
		rules = append(rules, struct {
			reason Reason
			spoil  func(*RawClick)
		}{reason, spoil})
	}
	for i, name := range []string{"click_id", "ad_id", "advertiser_id", "campaign_id"} {
		id := func(c *RawClick) *[]byte {
			return []*[]byte{&c.ClickID, &c.AdID, &c.AdvertiserID, &c.CampaignID}[i]
		}
		rule(Reason("missing_"+name), func(c *RawClick) { *id(c) = nil })
		rule(Reason("overlong_"+name), func(c *RawClick) { *id(c) = append([]byte{7}, long...) })
		rule(ReasonBadID, func(c *RawClick) { *id(c) = []byte("a\nb") })
	}
	rule(ReasonOverlongUserID, func(c *RawClick) { c.UserID = []byte(strings.Repeat("u", 257)) })
	rule(ReasonBadCost, func(c *RawClick) { c.CostPerClick = -1 })
	rule(ReasonBadIP, func(c *RawClick) { c.IPAddress = []byte("nowhere") })
	rule(ReasonFuture, func(c *RawClick) { c.Timestamp = noon + 301 })
	for i := range rules {
		c := valid()
		for j := len(rules) - 1; j >= i; j-- {
			rules[j].spoil(&c)
		}
		if _, got := judge(t, c, 0); got != rules[i].reason {
			t.Errorf("defects from rule %d on: got %q, want %q", i, got, rules[i].reason)
		}
	}
	d := NewDecoder(policy.Default())
	garbage := []byte(strings.Repeat("\xff", 65_537))
	if _, got := d.Decode(Record{Value: garbage}); got != ReasonOversize {
		t.Errorf("undecodable and too large: got %q, want %q", got, ReasonOversize)
	}
	click, got := d.Decode(Record{Value: garbage[:65_536], TimestampMicros: 5})
	if got != ReasonUndecodable || click.ReceivedAtMicros != 5 {
		t.Errorf("undecodable: got %q received at %d, want %q received at the record's time", got, click.ReceivedAtMicros, ReasonUndecodable)
	}
	if _, got := d.Decode(Record{}); got != "missing_click_id" {
		t.Errorf("empty value: got %q, want missing_click_id", got)
	}
}

func TestReasonBoundaries(t *testing.T) {
	t.Parallel()
	text := func(set func(*RawClick, []byte), s string) func(*RawClick) {
		return func(c *RawClick) { set(c, []byte(s)) }
	}
	clickID := func(c *RawClick, b []byte) { c.ClickID = b }
	campaignID := func(c *RawClick, b []byte) { c.CampaignID = b }
	userID := func(c *RawClick, b []byte) { c.UserID = b }
	ip := func(c *RawClick, b []byte) { c.IPAddress = b }
	cost := func(v float64) func(*RawClick) { return func(c *RawClick) { c.CostPerClick = v } }
	at := func(timestamp, received int64) func(*RawClick) {
		return func(c *RawClick) { c.Timestamp, c.ReceivedAt = timestamp, received }
	}
	const n = noon * 1_000_000
	for name, tc := range map[string]struct {
		change func(*RawClick)
		want   Reason
	}{
		"as it is":                  {func(*RawClick) {}, ""},
		"64 letters":                {text(clickID, strings.Repeat("a", 64)), ""},
		"65 letters":                {text(clickID, strings.Repeat("a", 65)), "overlong_click_id"},
		"64 characters of 2 bytes":  {text(campaignID, strings.Repeat("é", 64)), ""},
		"65 characters of 2 bytes":  {text(campaignID, strings.Repeat("é", 65)), "overlong_campaign_id"},
		"64 characters of 4 bytes":  {text(clickID, strings.Repeat("\U0001f600", 64)), ""},
		"65 characters, one long":   {text(clickID, strings.Repeat("a", 64)+"\U0001f600"), "overlong_click_id"},
		"user of 256 characters":    {text(userID, strings.Repeat("ü", 256)), ""},
		"user of 257 characters":    {text(userID, strings.Repeat("ü", 257)), ReasonOverlongUserID},
		"user with control":         {text(userID, "a\x00b"), ""},
		"user empty":                {text(userID, ""), ""},
		"NUL":                       {text(clickID, "a\x00"), ReasonBadID},
		"tab":                       {text(clickID, "\ta"), ReasonBadID},
		"U+001F":                    {text(clickID, "a\x1fb"), ReasonBadID},
		"space":                     {text(clickID, " "), ""},
		"U+007F":                    {text(clickID, "a\x7f"), ReasonBadID},
		"U+0080":                    {text(clickID, "a\u0080"), ReasonBadID},
		"U+009F":                    {text(clickID, "é\u009f"), ReasonBadID},
		"U+00A0":                    {text(clickID, "a\u00a0"), ""},
		"U+00AD, Cf":                {text(clickID, "a\u00ad"), ""},
		"U+200B, Cf":                {text(clickID, "\u200b"), ""},
		"U+2028, Zl":                {text(clickID, "\u2028"), ""},
		"U+FFFD":                    {text(clickID, "\ufffd"), ""},
		"control after multi-byte":  {text(clickID, "é\n"), ReasonBadID},
		"NaN":                       {cost(math.NaN()), ReasonBadCost},
		"infinite":                  {cost(math.Inf(1)), ReasonBadCost},
		"minus infinite":            {cost(math.Inf(-1)), ReasonBadCost},
		"minus zero":                {cost(math.Copysign(0, -1)), ""},
		"negative, rounds to zero":  {cost(-1e-9), ReasonBadCost},
		"least negative":            {cost(-math.SmallestNonzeroFloat64), ReasonBadCost},
		"maximum":                   {cost(1000), ""},
		"rounds to the maximum":     {cost(1000.0000004), ""},
		"rounds past the maximum":   {cost(1000.0000006), ReasonBadCost},
		"maximum and a micro":       {cost(1000.000001), ReasonBadCost},
		"largest double":            {cost(math.MaxFloat64), ReasonBadCost},
		"no ip":                     {text(ip, ""), ""},
		"ip of 6":                   {text(ip, "2001:DB8::1"), ""},
		"ip mapped":                 {text(ip, "::ffff:192.0.2.1"), ""},
		"ip with zone":              {text(ip, "fe80::1%eth0"), ReasonBadIP},
		"ip mapped with zone":       {text(ip, "::ffff:192.0.2.1%1"), ReasonBadIP},
		"ip with empty zone":        {text(ip, "fe80::1%"), ReasonBadIP},
		"ip with leading zero":      {text(ip, "192.0.2.01"), ReasonBadIP},
		"ip mapped, leading zero":   {text(ip, "::ffff:192.0.2.01"), ReasonBadIP},
		"ip of 256":                 {text(ip, "192.0.2.256"), ReasonBadIP},
		"ip of three":               {text(ip, "192.0.2"), ReasonBadIP},
		"ip with a space":           {text(ip, "192.0.2.1 "), ReasonBadIP},
		"ip with port":              {text(ip, "192.0.2.1:80"), ReasonBadIP},
		"ip in brackets":            {text(ip, "[::1]"), ReasonBadIP},
		"5 min ahead":               {at(noon+300, n), ""},
		"5 min and 1 us ahead":      {at(noon+300, n-1), ReasonFuture},
		"24 h behind":               {at(noon-86_400, n), ""},
		"24 h and 1 us behind":      {at(noon-86_400, n+1), ReasonStale},
		"24 h and 1 ms, as millis":  {at((noon-86_400)*1000-1, n), ReasonStale},
		"micros are cut, future":    {at(n+300_000_999, n), ""},
		"micros past 1 ms, future":  {at(n+300_001_000, n), ReasonFuture},
		"epoch":                     {at(0, n), ReasonStale},
		"time of the largest int":   {at(math.MaxInt64, n), ReasonFuture},
		"time of the least int":     {at(math.MinInt64, n), ReasonStale},
		"largest, received least":   {at(math.MaxInt64, math.MinInt64), ReasonFuture},
		"least, received largest":   {at(math.MinInt64, math.MaxInt64), ReasonStale},
		"largest and largest":       {at(math.MaxInt64, math.MaxInt64), ""},
		"least and least":           {at(math.MinInt64, math.MinInt64), ReasonFuture},
		"received at, record's own": {at(noon, 0), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := valid()
			tc.change(&c)
			click, got := judge(t, c, n)
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			want := c.ReceivedAt
			if want == 0 {
				want = n
			}
			if click.ReceivedAtMicros != want {
				t.Errorf("received at: got %d, want %d", click.ReceivedAtMicros, want)
			}
		})
	}
}

func TestEventTimeMillis(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ timestamp, want int64 }{
		{0, 0}, {1, 1000}, {-1, -1000},
		{1e11 - 1, 1e14 - 1000}, {1e11, 1e11},
		{1e14 - 1, 1e14 - 1}, {1e14, 1e11}, {1e14 + 999, 1e11}, {1e14 + 1000, 1e11 + 1},
		{-1e12, -1e15}, {-1e12 - 1, -1e15},
		{math.MinInt64, -1e15}, {math.MaxInt64, math.MaxInt64 / 1000},
	} {
		if got := EventTimeMillis(tc.timestamp); got != tc.want {
			t.Errorf("%d: got %d, want %d", tc.timestamp, got, tc.want)
		}
	}
}

func TestCostMicrosRoundsHalfToEven(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cost float64
		want int64
	}{
		{0, 0}, {0.45, 450_000}, {0.0000005, 0}, {0.0000015, 2}, {0.0000025, 2}, {1e-9, 0},
		{0.1 + 0.2, 300_000}, {1.005, 1_005_000}, {math.SmallestNonzeroFloat64, 0}, {999.9999995, 1e9},
	} {
		got, ok := CostMicros(tc.cost, 1e9)
		if want := int64(math.RoundToEven(tc.cost * 1e6)); !ok || got != tc.want || got != want {
			t.Errorf("%g: got %d %t, want %d", tc.cost, got, ok, tc.want)
		}
	}
	if _, ok := CostMicros(0.000001, 0); ok {
		t.Error("a micro over a maximum of zero was allowed")
	}
	if got, ok := CostMicros(0, 0); !ok || got != 0 {
		t.Errorf("zero under a maximum of zero: got %d %t", got, ok)
	}
}

// TestAgeIsExact compares the age test with arithmetic that cannot overflow.
func TestAgeIsExact(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 2))
	p := policy.Default()
	d, rev := NewDecoder(p), p.At(0)
	extremes := []int64{math.MinInt64, math.MinInt64 + 1, -1e15, -1, 0, 1, 1e11, 1e14, 1e17, math.MaxInt64 - 1, math.MaxInt64}
	pick := func() int64 {
		v := extremes[rng.IntN(len(extremes))]
		if rng.IntN(2) == 0 {
			v = int64(rng.Uint64() >> rng.IntN(64))
		}
		return v + rng.Int64N(5) - 2
	}
	for range 50_000 {
		c := valid()
		c.Timestamp, c.ReceivedAt = pick(), pick()
		record := pick()
		j, got := d.Validate(&c, record)
		ahead := new(big.Int).Mul(big.NewInt(j.EventTimeMillis), big.NewInt(1000))
		ahead.Sub(ahead, big.NewInt(j.ReceivedAtMicros))
		want := Reason("")
		if ahead.Cmp(big.NewInt(rev.MaxEventAhead.Microseconds())) > 0 {
			want = ReasonFuture
		} else if ahead.Cmp(big.NewInt(-rev.MaxEventAge.Microseconds())) < 0 {
			want = ReasonStale
		}
		if got != want {
			t.Fatalf("seed %d: timestamp %d received %d record %d: got %q, want %q", seed, c.Timestamp, c.ReceivedAt, record, got, want)
		}
	}
}

func TestAddressesAreCanonical(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "::FFFF:c000:201": "192.0.2.1",
		"2001:DB8:0:0::1": "2001:db8::1", "::": "::", "": "",
	} {
		c := valid()
		c.IPAddress = []byte(in)
		j, reason := NewDecoder(policy.Default()).Validate(&c, 0)
		if reason != "" {
			t.Fatalf("%q: got %q, want a click", in, reason)
		}
		var addr netip.Addr
		if want != "" {
			addr = netip.MustParseAddr(want)
		}
		if j.Addr != addr {
			t.Errorf("%q: got %s, want %s", in, j.Addr, addr)
		}
	}
}

// TestDecodeUsesTheRevisionOfTheEvent has limits change at a minute of event time.
func TestDecodeUsesTheRevisionOfTheEvent(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse([]byte("revisions:\n  - max_cost_micros: 1000000\n  - effective_from: " +
		time.Unix(noon, 0).UTC().Format(time.RFC3339) + "\n    max_cost_micros: 2000000\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []Reason
	for _, millis := range []int64{noon*1000 - 1, noon * 1000} {
		c := valid()
		c.Timestamp, c.CostPerClick = millis, 2
		j, reason := NewDecoder(p).Validate(&c, 0)
		if j.Revision != p.At(millis) {
			t.Errorf("%d: not the revision of the event time", millis)
		}
		got = append(got, reason)
	}
	if want := []Reason{ReasonBadCost, ""}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
