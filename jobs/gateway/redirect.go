package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const hexDigits = "0123456789ABCDEF"

var (
	errNoRedirect   = errors.New("redirect_url is missing")
	errBadRedirect  = errors.New("redirect_url is not an absolute http or https URL")
	errHostRedirect = errors.New("redirect_url leads to a host that is not allowed")
)

// allowedHosts is the list of hosts that a redirect may lead to; empty, as only signed URLs permit, it
// allows every host.
type allowedHosts struct {
	exact  map[string]bool
	suffix []string
}

func newAllowedHosts(hosts []string) allowedHosts {
	a := allowedHosts{exact: map[string]bool{}}
	for _, h := range hosts {
		below, ok := strings.CutPrefix(h, "*.")
		if ascii, err := idna.Lookup.ToASCII(below); err == nil {
			below = ascii // redirects are compared in this form
		}
		if below = strings.ToLower(below); ok {
			a.suffix = append(a.suffix, "."+below)
		} else {
			a.exact[below] = true
		}
	}
	return a
}

func (a allowedHosts) allows(host string) bool {
	if len(a.exact) == 0 && len(a.suffix) == 0 {
		return true
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if a.exact[host] {
		return true
	}
	for _, s := range a.suffix {
		if strings.HasSuffix(host, s) && len(host) > len(s) {
			return true
		}
	}
	return false
}

// location checks a redirect_url and returns the value of the Location header. It takes absolute
// http and https URLs with a host only: no other scheme, no "//host", no user name, no control
// character, nothing that Go and browsers read differently. The host is a name or an address in the
// form in which it is looked up, see hostOf. Behind it, what is not printable ASCII is
// percent-encoded, and all else is returned as it came.
func location(target []byte, hosts allowedHosts) (string, error) {
	if len(target) == 0 {
		return "", errNoRedirect
	}
	escapes := 0
	for _, c := range target {
		if c < 0x20 || c == 0x7f {
			return "", errBadRedirect
		}
		if c == ' ' || c >= 0x80 {
			escapes++
		}
	}
	text := string(target)
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errBadRedirect
	}
	host, ok := hostOf(u)
	if !ok {
		return "", errBadRedirect
	}
	if !hosts.allows(strings.Trim(host, "[]")) {
		return "", errHostRedirect
	}
	head := len(u.Scheme) + len("://")
	authority := authorityOf(text[head:])
	if port := u.Port(); port != "" {
		host += ":" + port
	}
	if escapes == 0 && strings.EqualFold(authority, host) {
		return text, nil // as nearly all are
	}
	out := make([]byte, 0, len(target)+len(host)+2*escapes)
	out = append(append(out, text[:head]...), host...)
	for _, c := range target[head+len(authority):] {
		if c == ' ' || c >= 0x80 {
			out = append(out, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out), nil
}

var (
	errPath = errors.New("the path is neither " + clicksPath + " nor " + impressionsPath)
	errLong = fmt.Errorf("the URL is longer than %d bytes", DefaultURLBytesMax)
)

// CheckURL says why a gateway that lets redirects lead to the hosts, or to any if there are none,
// refuses a URL whatever its signature; nil if it does not.
func CheckURL(u *url.URL, hosts []string) error {
	if len(u.RequestURI()) > DefaultURLBytesMax {
		return errLong
	}
	switch u.Path {
	case clicksPath:
		var p parameters
		p.parse(u.RawQuery, "click_id")
		_, err := location(p.redirectURL, newAllowedHosts(hosts))
		return err
	case impressionsPath:
		return nil
	default:
		return errPath
	}
}

const portMax = 1<<16 - 1

// hostOf returns the host that a URL leads to as it is looked up: letters of other scripts in their
// ASCII form, an IPv6 address in brackets. It is false for what is no host to some readers and another
// to others: a zone of an address, a letter that becomes a slash once it is normalised, and any
// character that is in no host's name.
func hostOf(u *url.URL) (host string, ok bool) {
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n > portMax {
			return "", false
		}
	}
	host = u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		addr, err := netip.ParseAddr(host)
		return "[" + host + "]", err == nil && addr.Zone() == ""
	}
	if strings.IndexFunc(host, func(r rune) bool { return r >= 0x80 }) >= 0 {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil || !utf8.ValidString(host) {
			return "", false
		}
		host = ascii
	}
	if host == "" || host[0] == '.' || strings.Contains(host, "..") || strings.IndexFunc(host, isNoHostRune) >= 0 {
		return "", false
	}
	return host, true
}

func isNoHostRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
}

// authorityOf cuts off the path, query and fragment.
func authorityOf(s string) string {
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		return s[:i]
	}
	return s
}

// cookieValue encodes a user_id for the tracking cookie: what a cookie's value must not hold is
// percent-encoded, ids of the usual form stay as they are. It is empty for an id that is empty or
// too long to be one.
func cookieValue(userID []byte) string {
	if len(userID) == 0 || len(userID) > cookieBytesMax {
		return ""
	}
	out := make([]byte, 0, len(userID))
	for _, c := range userID {
		if c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\' || c == '%' {
			out = append(out, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

const cookieBytesMax = 1024
