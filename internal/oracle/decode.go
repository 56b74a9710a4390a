package oracle

import (
	"math"
	"math/big"
	"net/netip"
	"regexp"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/clickpb"
	"github.com/clickledger/clickledger/schemas/policy"
)

// decode turns a record into a click, or into a dead letter by the first reason that applies.
func decode(rec schemas.Record, p *policy.Policy) Outcome {
	o := Outcome{Winner: rec.Position}
	o.Click.Position = rec.Position
	o.Click.ReceivedAtMicros = rec.TimestampMicros
	dead := func(reason schemas.Reason) Outcome {
		o.Verdict, o.Reason = schemas.DeadLettered, reason
		return o
	}
	// An event time is not known yet: the record's own time picks the limit.
	if len(rec.Value) > p.At(floorDiv(rec.TimestampMicros, 1000)).MaxRecordBytes {
		return dead("oversize")
	}
	var msg clickpb.ClickEvent
	if proto.Unmarshal(rec.Value, &msg) != nil {
		return dead("undecodable")
	}
	c := &o.Click
	c.ClickID, c.AdID, c.AdvertiserID, c.CampaignID = msg.ClickId, msg.AdId, msg.AdvertiserId, msg.CampaignId
	c.UserID, c.CostPerClick, c.IPAddress, c.UserAgent = msg.UserId, msg.CostPerClick, msg.IpAddress, msg.UserAgent
	c.Timestamp, c.Referrer, c.CountryCode, c.DeviceType = msg.Timestamp, msg.Referrer, msg.CountryCode, msg.DeviceType
	if msg.ReceivedAt != 0 {
		c.ReceivedAtMicros = msg.ReceivedAt
	}
	if reason := validate(&o, p); reason != "" {
		return dead(reason)
	}
	return o
}

// validate fills in what is derived from the fields and returns the first reason that applies.
func validate(o *Outcome, p *policy.Policy) schemas.Reason {
	c := &o.Click
	millis := eventTimeMillis(c.Timestamp)
	c.EventTimeMillis = clamp(millis)
	rev := p.At(c.EventTimeMillis)
	for _, f := range []struct{ name, value string }{
		{"click_id", c.ClickID}, {"ad_id", c.AdID}, {"advertiser_id", c.AdvertiserID}, {"campaign_id", c.CampaignID},
	} {
		if f.value == "" {
			return schemas.Reason("missing_" + f.name)
		}
		if utf8.RuneCountInString(f.value) > 64 {
			return schemas.Reason("overlong_" + f.name)
		}
		for _, r := range f.value {
			if unicode.Is(unicode.Cc, r) {
				return "bad_id"
			}
		}
	}
	if utf8.RuneCountInString(c.UserID) > 256 {
		return "overlong_user_id"
	}
	if math.IsNaN(c.CostPerClick) || math.IsInf(c.CostPerClick, 0) || c.CostPerClick < 0 {
		return "bad_cost"
	}
	micros := math.RoundToEven(c.CostPerClick * 1e6)
	if micros > float64(rev.MaxCostMicros) {
		return "bad_cost"
	}
	c.CostMicros = int64(micros)
	if c.IPAddress != "" {
		addr, err := netip.ParseAddr(c.IPAddress)
		if err != nil || addr.Zone() != "" {
			return "bad_ip"
		}
		o.ip = addr.Unmap().String()
	}
	ahead := new(big.Int).Mul(millis, big.NewInt(1000))
	ahead.Sub(ahead, big.NewInt(c.ReceivedAtMicros))
	if ahead.Cmp(micros64(rev.MaxEventAhead)) > 0 {
		return "future"
	}
	if ahead.Cmp(new(big.Int).Neg(micros64(rev.MaxEventAge))) < 0 {
		return "stale"
	}
	return ""
}

// eventTimeMillis reads a timestamp by its size: under 1e11 it is seconds, under 1e14
// milliseconds, else microseconds, cut down to milliseconds.
func eventTimeMillis(timestamp int64) *big.Int {
	t := big.NewInt(timestamp)
	switch {
	case timestamp < 100_000_000_000:
		return t.Mul(t, big.NewInt(1000))
	case timestamp < 100_000_000_000_000:
		return t
	default:
		return t.Quo(t, big.NewInt(1000))
	}
}

// clamp cuts what int64 cannot hold; so old a click is stale whatever its exact time.
func clamp(millis *big.Int) int64 {
	if millis.IsInt64() {
		return millis.Int64()
	}
	return math.MinInt64
}

func micros64(d time.Duration) *big.Int { return big.NewInt(d.Microseconds()) }

var compiled sync.Map // pattern -> *regexp.Regexp

func isBot(userAgent string, rev *policy.Revision) bool {
	for _, pattern := range rev.BotUserAgents.Patterns {
		re, ok := compiled.Load(pattern)
		if !ok {
			re, _ = compiled.LoadOrStore(pattern, regexp.MustCompile(pattern))
		}
		if re.(*regexp.Regexp).MatchString(userAgent) {
			return true
		}
	}
	return false
}

func isListed(ip string, rev *policy.Revision) bool {
	if ip == "" {
		return false
	}
	addr := netip.MustParseAddr(ip)
	for _, cidr := range rev.ListedNetworks.CIDRs {
		network := netip.MustParsePrefix(cidr)
		if network.Addr().Is4In6() && network.Bits() >= 96 { // an IPv4 network, mapped
			network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
		}
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
