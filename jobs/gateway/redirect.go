package gateway

import (
	"errors"
	"net/url"
	"strings"
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
		if below, ok := strings.CutPrefix(strings.ToLower(h), "*"); ok {
			a.suffix = append(a.suffix, below)
		} else {
			a.exact[strings.ToLower(h)] = true
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
// character, nothing that Go and browsers read differently. What is not printable ASCII is
// percent-encoded, all else is returned as it came.
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
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return "", errBadRedirect
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", errBadRedirect
	}
	if authority := text[len(u.Scheme)+len("://"):]; strings.ContainsRune(authorityOf(authority), '\\') {
		return "", errBadRedirect
	}
	if !hosts.allows(u.Hostname()) {
		return "", errHostRedirect
	}
	if escapes == 0 {
		return text, nil
	}
	out := make([]byte, 0, len(target)+2*escapes)
	for _, c := range target {
		if c == ' ' || c >= 0x80 {
			out = append(out, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out), nil
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
