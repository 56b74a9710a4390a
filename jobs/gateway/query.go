package gateway

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/clickledger/clickledger/schemas"
)

// parameters are those of a URL, decoded.
type parameters struct {
	click       schemas.RawClick // without what comes from headers, the socket and the clock
	idName      string           // of the parameter that is the click_id, or the impression_id in its place
	isTimed     bool             // there is a timestamp
	redirectURL []byte
	buf         []byte // what the fields are views of
}

// parseQuery reads the query of a URL; idName is the parameter with the id. Nothing in it is an error, so that no click is lost:
// an escape that is broken stays as it is written, of a parameter given twice the first counts, and
// others are ignored. A cost or a timestamp that is not a number becomes one that readers refuse.
func parseQuery(query, idName string) parameters {
	var p parameters
	p.parse(query, idName)
	return p
}

// parse is parseQuery with the room of the last query.
func (p *parameters) parse(query, idName string) {
	*p = parameters{idName: idName, buf: slices.Grow(p.buf[:0], len(query))}
	var cost, timestamp []byte
	buf := p.buf
	for len(query) > 0 {
		pair := query
		if i := strings.IndexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = ""
		}
		name, value := pair, ""
		if i := strings.IndexByte(pair, '='); i >= 0 {
			name, value = pair[:i], pair[i+1:]
		}
		field := p.field(name, &cost, &timestamp)
		if field == nil || *field != nil {
			continue
		}
		from := len(buf)
		buf = appendUnescaped(buf, value)
		*field = buf[from:len(buf):len(buf)]
	}
	p.click.CostPerClick = parseCost(cost)
	p.click.Timestamp, p.isTimed = parseTimestamp(timestamp), timestamp != nil
}

func (p *parameters) field(name string, cost, timestamp *[]byte) *[]byte {
	switch name {
	case p.idName:
		return &p.click.ClickID
	case "ad_id":
		return &p.click.AdID
	case "advertiser_id":
		return &p.click.AdvertiserID
	case "campaign_id":
		return &p.click.CampaignID
	case "user_id":
		return &p.click.UserID
	case "ip_address":
		return &p.click.IPAddress
	case "redirect_url":
		return &p.redirectURL
	case "cost_per_click":
		return cost
	case "timestamp":
		return timestamp
	}
	return nil
}

// parseCost reads a decimal number. Anything else, and no cost at all, is NaN: a click whose price
// nobody named is never billed, it becomes a dead letter bad_cost.
func parseCost(text []byte) float64 {
	for _, c := range text {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return math.NaN()
		}
	}
	cost, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !math.IsInf(cost, 0) {
		return math.NaN()
	}
	return cost
}

// parseTimestamp reads a whole number. Anything else is 0, the year 1970:
// the click becomes a dead letter stale. One that is too large for the wire becomes the largest
// there is, and the click a dead letter future.
func parseTimestamp(text []byte) int64 {
	v, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil && v != math.MaxInt64 && v != math.MinInt64 {
		return 0
	}
	return v
}

// appendUnescaped decodes a query's value: '+' is a space, %XX a byte. A '%' that does not begin such
// an escape stays as it is.
func appendUnescaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			dst = append(dst, ' ')
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			dst = append(dst, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
