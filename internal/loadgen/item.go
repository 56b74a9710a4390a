package loadgen

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/clickledger/clickledger/schemas"
)

// Units of a timestamp on the wire.
const (
	unitMillis = iota
	unitSeconds
	unitMicros
)

// oversizeBytes is the length of a text that makes a record larger than 64 KiB.
const oversizeBytes = 66_000

var oversizeText = bytes.Repeat([]byte("x"), oversizeBytes)

// Item is one record of the log. Its bytes are valid until it is filled anew.
type Item struct {
	// Kind of an impression is Ordinary, or Duplicate for a copy.
	Kind Kind
	// IsImpression says that the record is a csp.adimpression.v1.ImpressionEvent, which has the fields of a
	// click under the same numbers: Click, whose ClickID is the impression_id, and which costs nothing.
	IsImpression bool
	// IsClicked says that an impression is that of a visitor who clicks, not one of the audience.
	IsClicked bool
	// ReceivedAtMicros is when the record arrives, Unix microseconds UTC. Items come in its order.
	ReceivedAtMicros int64
	// Click is the event. Its ReceivedAt is ReceivedAtMicros, or 0 in a few that leave it to the
	// record's timestamp.
	Click schemas.RawClick

	adID, advertiserID string // before anything was broken
	garbageLength      int    // of a Garbage record: how much of the event is left
	text               []byte
}

// AppendKey appends the record's Kafka key, which is never nil.
func (it *Item) AppendKey(dst []byte, key schemas.ClickKey, salts int) []byte {
	return key.AppendTo(dst, &it.Click, salts)
}

// AppendValue appends the record's value.
func (it *Item) AppendValue(dst []byte) []byte {
	from := len(dst)
	dst = it.Click.AppendTo(dst)
	if it.Kind == Garbage {
		dst = dst[:from+it.garbageLength]
	}
	return dst
}

// Shift moves the record in time: when it arrives, and the time of the click.
func (it *Item) Shift(micros int64) {
	it.ReceivedAtMicros += micros
	c := &it.Click
	if c.ReceivedAt != 0 {
		c.ReceivedAt += micros
	}
	switch { // by the unit on the wire
	case c.Timestamp < 1e11:
		c.Timestamp += micros / 1_000_000
	case c.Timestamp < 1e14:
		c.Timestamp += micros / 1_000
	default:
		c.Timestamp += micros
	}
}

// Landing is the page to which the click leads: a URL that is sound whatever is broken in the event.
func (it *Item) Landing() string {
	return "https://www.shop-" + it.advertiserID + ".example/landing?ad=" + it.adID
}

// AppendURL appends path and query with which a browser comes to the gateway. What the URL does not
// carry is in headers: Click.UserAgent, Click.Referrer and Click.CountryCode.
func (it *Item) AppendURL(dst []byte) []byte {
	c := &it.Click
	path, idName := "/api/v1/clicks?", "click_id="
	if it.IsImpression {
		path, idName = "/api/v1/impressions?", "impression_id="
	}
	dst = append(dst, path...)
	for _, p := range [...]struct {
		name  string
		value []byte
	}{
		{"ad_id=", c.AdID}, {"advertiser_id=", c.AdvertiserID}, {"campaign_id=", c.CampaignID},
		{idName, c.ClickID}, {"user_id=", c.UserID},
	} {
		if len(p.value) > 0 {
			dst = append(appendEscaped(append(dst, p.name...), p.value), '&')
		}
	}
	if !it.IsImpression {
		dst = append(dst, "cost_per_click="...)
		dst = append(strconv.AppendFloat(dst, c.CostPerClick, 'f', -1, 64), '&')
	}
	dst = append(dst, "ip_address="...)
	dst = appendEscaped(dst, c.IPAddress)
	dst = append(dst, "&timestamp="...)
	dst = strconv.AppendInt(dst, c.Timestamp, 10)
	if it.IsImpression {
		return dst
	}
	dst = append(dst, "&redirect_url=https%3A%2F%2Fwww.shop-"...)
	dst = append(dst, it.advertiserID...)
	dst = append(dst, ".example%2Flanding%3Fad%3D"...)
	return append(dst, it.adID...)
}

func appendEscaped(dst, s []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range s {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' ||
			c == '-' || c == '_' || c == '.' || c == '~' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// render writes the texts of a draft, and breaks what its kind says.
func (g *Generator) render(it *Item, d *draft, kind Kind) {
	it.Kind, it.IsImpression, it.IsClicked = kind, d.isImpression, d.isClicked
	it.ReceivedAtMicros, it.garbageLength = d.receivedMicros, 0
	b := it.text[:0]
	take := func() []byte { // what was written since the last call
		s := slices.Clip(b)
		b = b[len(b):]
		return s
	}
	if cap(b) < 256 {
		b = make([]byte, 0, 256)
	}
	whole := b
	a, c := &g.catalog.ads[d.ad], &it.Click
	prefix, salt := "clk_", saltClick
	if d.isImpression {
		prefix, salt = "imp_", saltImpression
	}
	b = append(b, prefix...)
	b = appendHex(b, mix64(d.serial^mix64(g.cfg.Seed+salt)), 16)
	c.ClickID = take()
	b = g.catalog.appendID(b, "usr_", saltUser, d.user)
	c.UserID = take()
	b = d.addr.AppendTo(b)
	c.IPAddress = take()
	b = append(b, a.id...)
	c.AdID = take()
	b = append(b, a.advertiserID...)
	c.AdvertiserID = take()
	b = append(b, a.campaignID...)
	c.CampaignID = take()
	it.text, it.adID, it.advertiserID = whole, a.id, a.advertiserID
	who := &g.catalog.agents[d.agent]
	if d.bot > 0 {
		who = &bots[d.bot-1]
	}
	c.UserAgent, c.DeviceType = bytesOf(who.text), bytesOf(who.device)
	c.Referrer = bytesOf(g.catalog.pages[d.page])
	c.CountryCode = bytesOf(g.catalog.places[d.place])
	c.CostPerClick, c.ReceivedAt = d.cost, d.receivedMicros
	if d.withoutReceipt {
		c.ReceivedAt = 0
	}
	switch d.unit {
	case unitMillis:
		c.Timestamp = d.eventMicros / 1_000
	case unitSeconds:
		c.Timestamp = d.eventMicros / 1_000_000
	default:
		c.Timestamp = d.eventMicros
	}
	breakClick(it, kind, int(d.variant))
}

// breakClick makes a record what its kind says; variant chooses the way.
func breakClick(it *Item, kind Kind, variant int) {
	c := &it.Click
	ids := [...]*[]byte{&c.ClickID, &c.AdID, &c.AdvertiserID, &c.CampaignID}
	id := ids[variant%len(ids)]
	switch kind {
	case Missing:
		*id = nil
	case Overlong:
		if variant%5 == 4 {
			c.UserID = append(c.UserID, strings.Repeat("u", 257)...)
			return
		}
		*id = append(*id, strings.Repeat("0", 65)...)
	case BadID:
		*id = append(*id, [...]string{"\x07", "\x00", "\u0085"}[variant/4%3]...)
	case BadUTF8:
		*id = append(*id, "\xff\xfe"...)
	case BadCost:
		c.CostPerClick = [...]float64{math.NaN(), math.Inf(1), -0.01, 1000.000001}[variant%4]
	case BadIP:
		c.IPAddress = []byte([...]string{"999.1.2.3", "fe80::1%eth0", "010.1.2.3", "localhost"}[variant%4])
	case Garbage:
		it.garbageLength = 3 + variant%15 // within the first text
	case Oversize:
		c.Referrer = oversizeText
	default: // sound
	}
}

// bytesOf is a view of a text of the catalog, which nobody writes to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
