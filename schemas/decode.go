package schemas

import (
	"math"
	"net/netip"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"github.com/clickledger/clickledger/schemas/policy"
)

// The reasons for which a record is a dead letter, in the order in which they are tested.
const (
	ReasonOversize    Reason = "oversize"
	ReasonUndecodable Reason = "undecodable"

	// Between these two come missing_X and overlong_X for X in idFields, field by field.

	ReasonBadID          Reason = "bad_id"
	ReasonOverlongUserID Reason = "overlong_user_id"
	ReasonBadCost        Reason = "bad_cost"
	ReasonBadIP          Reason = "bad_ip"
	ReasonFuture         Reason = "future"
	ReasonStale          Reason = "stale"
)

const (
	maxIDRunes     = 64
	maxUserIDRunes = 256
)

var idFields = [...]struct{ missing, overlong Reason }{
	{"missing_click_id", "overlong_click_id"},
	{"missing_ad_id", "overlong_ad_id"},
	{"missing_advertiser_id", "overlong_advertiser_id"},
	{"missing_campaign_id", "overlong_campaign_id"},
}

// Decoder reads records as clicks, by one policy. It is safe for use by several goroutines.
type Decoder struct{ policy *policy.Policy }

// NewDecoder returns a decoder that validates by the policy.
func NewDecoder(p *policy.Policy) *Decoder { return &Decoder{policy: p} }

// Judged is what decoding derives from the wire fields.
type Judged struct {
	ReceivedAtMicros int64
	EventTimeMillis  int64
	CostMicros       int64
	Addr             netip.Addr // canonical, the zero Addr where the click has none
	Revision         *policy.Revision
}

// DecodeRaw parses and validates one record into raw without copying. The reason is empty for a
// valid click; ReceivedAtMicros is set in every case.
func (d *Decoder) DecodeRaw(rec *Record, raw *RawClick) (Judged, Reason) {
	j := Judged{ReceivedAtMicros: rec.TimestampMicros}
	if len(rec.Value) > d.policy.At(rec.TimestampMicros/1000).MaxRecordBytes {
		return j, ReasonOversize
	}
	if raw.Unmarshal(rec.Value) != nil {
		return j, ReasonUndecodable
	}
	return d.Validate(raw, rec.TimestampMicros)
}

// Validate tests a parsed click by the rules of the billing contract, in its order.
func (d *Decoder) Validate(raw *RawClick, recordMicros int64) (Judged, Reason) {
	j := Judged{ReceivedAtMicros: raw.ReceivedAt}
	if raw.ReceivedAt == 0 {
		j.ReceivedAtMicros = recordMicros
	}
	j.EventTimeMillis = EventTimeMillis(raw.Timestamp)
	j.Revision = d.policy.At(j.EventTimeMillis)
	for i, id := range [...][]byte{raw.ClickID, raw.AdID, raw.AdvertiserID, raw.CampaignID} {
		if len(id) == 0 {
			return j, idFields[i].missing
		}
		if longer(id, maxIDRunes) {
			return j, idFields[i].overlong
		}
		if hasControl(id) {
			return j, ReasonBadID
		}
	}
	if longer(raw.UserID, maxUserIDRunes) {
		return j, ReasonOverlongUserID
	}
	var ok bool
	if j.CostMicros, ok = CostMicros(raw.CostPerClick, j.Revision.MaxCostMicros); !ok {
		return j, ReasonBadCost
	}
	if len(raw.IPAddress) > 0 {
		if j.Addr, ok = parseAddr(raw.IPAddress); !ok {
			return j, ReasonBadIP
		}
	}
	ahead := saturatingSub(j.EventTimeMillis*1000, j.ReceivedAtMicros)
	if ahead > j.Revision.MaxEventAhead.Microseconds() {
		return j, ReasonFuture
	}
	if ahead < -j.Revision.MaxEventAge.Microseconds() {
		return j, ReasonStale
	}
	return j, ""
}

// Decode parses and validates one record. A dead letter's click has at least its position and
// ReceivedAtMicros.
func (d *Decoder) Decode(rec Record) (Click, Reason) {
	var raw RawClick
	j, reason := d.DecodeRaw(&rec, &raw)
	return Click{
		Position: rec.Position,
		ClickID:  string(raw.ClickID), AdID: string(raw.AdID), AdvertiserID: string(raw.AdvertiserID),
		CampaignID: string(raw.CampaignID), UserID: string(raw.UserID), CostPerClick: raw.CostPerClick,
		IPAddress: string(raw.IPAddress), UserAgent: string(raw.UserAgent), Timestamp: raw.Timestamp,
		Referrer: string(raw.Referrer), CountryCode: string(raw.CountryCode), DeviceType: string(raw.DeviceType),
		ReceivedAtMicros: j.ReceivedAtMicros, EventTimeMillis: j.EventTimeMillis, CostMicros: j.CostMicros,
	}, reason
}

// EventTimeMillis reads a timestamp by its size: under 1e11 as seconds, under 1e14 as milliseconds,
// else as microseconds, cut down to milliseconds.
func EventTimeMillis(timestamp int64) int64 {
	switch {
	case timestamp < -1e12: // seconds before the year -29700: stale whatever it is, and must not overflow
		return -1e15
	case timestamp < 1e11:
		return timestamp * 1000
	case timestamp < 1e14:
		return timestamp
	default:
		return timestamp / 1000
	}
}

// CostMicros converts a cost to micros, rounded half to even; false where the cost is NaN,
// infinite, negative before rounding or above maxMicros after it.
func CostMicros(cost float64, maxMicros int64) (int64, bool) {
	if math.IsNaN(cost) || math.IsInf(cost, 0) || cost < 0 {
		return 0, false
	}
	micros := math.RoundToEven(cost * 1e6)
	if micros > float64(maxMicros) {
		return 0, false
	}
	return int64(micros), true
}

// parseAddr reads an address in canonical form, IPv4-mapped IPv6 as IPv4.
func parseAddr(b []byte) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b), len(b)))
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// longer reports whether b holds more than n characters.
func longer(b []byte, n int) bool { return len(b) > n && utf8.RuneCount(b) > n }

// hasControl reports whether b holds a character of the Unicode category Cc.
func hasControl(b []byte) bool {
	for i, c := range b {
		if c < 0x20 || c == 0x7f {
			return true
		}
		if c >= utf8.RuneSelf {
			for _, r := range string(b[i:]) {
				if unicode.Is(unicode.Cc, r) {
					return true
				}
			}
			return false
		}
	}
	return false
}

func saturatingSub(a, b int64) int64 {
	d := a - b
	switch {
	case a >= 0 && b < 0 && d < 0:
		return math.MaxInt64
	case a < 0 && b > 0 && d >= 0:
		return math.MinInt64
	}
	return d
}
