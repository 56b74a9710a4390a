// Package signedurl signs the URLs of clicks and impressions and checks them: HMAC-SHA256 over the
// path and every parameter that the gateway knows, with the id of the key and a time of expiry.
//
// The signature stands in three parameters of the query: key_id, expires (Unix seconds) and signature
// (base64url without padding). What it covers is
//
//	clickledger-url-v1 LF path LF name=value&name=value…
//
// with the known parameters and key_id and expires in the order of their names, decoded and encoded
// again, so that it does not matter how a URL was written. A known parameter that is added, taken
// away, changed or given twice makes another URL. Others, which networks append, are not covered, and
// the gateway ignores them.
//
// Several keys may be in force: the first signs, all check. To rotate, give every gateway the new key
// after the old one, then sign with it, and drop the old one when its last URL has expired.
package signedurl

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Names of the parameters that make a signature.
const (
	KeyID     = "key_id"
	Expires   = "expires"
	Signature = "signature"
)

// QueryBytesMax is the longest query that is checked.
const QueryBytesMax = 64 << 10

// expiresMax ends the year 9999. What expires later does so then: far beyond, a time.Time overflows,
// and is before the present.
const expiresMax = 253402300799

// What may be wrong with a URL. None of them says which part did not fit.
var (
	ErrUnsigned  = errors.New("the URL is not signed")
	ErrKey       = errors.New("the URL is signed with a key that is not known")
	ErrExpired   = errors.New("the URL has expired")
	ErrSignature = errors.New("the signature does not fit the URL")
	ErrTwice     = errors.New("a parameter is given twice")
	ErrEscape    = errors.New("a parameter is not well encoded")
)

// known are the parameters that a signature covers, sorted.
var known = []string{
	"ad_id", "advertiser_id", "campaign_id", "click_id", "cost_per_click", Expires, "impression_id", "ip_address",
	KeyID, "redirect_url", "timestamp", "user_id",
}

func index(name string) int {
	i, ok := slices.BinarySearch(known, name)
	if !ok {
		return -1
	}
	return i
}

// parsed is what a query says, by the place of the name in known.
type parsed struct {
	values    [12]string
	given     [12]bool
	signature string
	signed    bool
}

func parse(query string) (p parsed, err error) {
	if len(query) > QueryBytesMax {
		return p, ErrEscape
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if strings.IndexByte(name, '%') >= 0 || strings.IndexByte(name, '+') >= 0 {
			// An escaped name could be one that we know under another spelling.
			plain, err := url.QueryUnescape(name)
			if err != nil || index(plain) >= 0 || plain == Signature {
				return p, ErrEscape
			}
			continue
		}
		i := index(name)
		if i < 0 && name != Signature {
			continue
		}
		if strings.IndexByte(value, '%') >= 0 || strings.IndexByte(value, '+') >= 0 {
			if value, err = url.QueryUnescape(value); err != nil {
				return p, ErrEscape
			}
		}
		if i < 0 && p.signed || i >= 0 && p.given[i] {
			return p, ErrTwice
		}
		if i < 0 {
			p.signature, p.signed = value, true
		} else {
			p.values[i], p.given[i] = value, true
		}
	}
	return p, nil
}

func (p *parsed) canonical(path string) []byte {
	b := make([]byte, 0, 512)
	b = append(b, "clickledger-url-v1\n"...)
	b = append(append(b, path...), '\n')
	for i, name := range known {
		if !p.given[i] {
			continue
		}
		if b[len(b)-1] != '\n' {
			b = append(b, '&')
		}
		b = append(append(b, name...), '=')
		b = append(b, url.QueryEscape(p.values[i])...)
	}
	return b
}

func (p *parsed) value(name string) (string, bool) {
	i := index(name)
	return p.values[i], p.given[i]
}

func (p *parsed) set(name, value string) {
	i := index(name)
	p.values[i], p.given[i] = value, true
}

// Sign returns the URL with a signature by the first key that ends at expires, cut to seconds. Its
// query may have been signed before: that signature is replaced.
func (k *Keys) Sign(u *url.URL, expires time.Time) (*url.URL, error) {
	p, err := parse(u.RawQuery)
	if err != nil {
		return nil, err
	}
	rest := slices.DeleteFunc(strings.Split(u.RawQuery, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return name == KeyID || name == Expires || name == Signature || pair == ""
	})
	key := &k.keys[0]
	at := strconv.FormatInt(expires.Unix(), 10)
	p.set(KeyID, key.id)
	p.set(Expires, at)
	rest = append(rest, KeyID+"="+url.QueryEscape(key.id), Expires+"="+at,
		Signature+"="+base64.RawURLEncoding.EncodeToString(key.sum(p.canonical(u.Path))))
	signed := *u
	signed.RawQuery = strings.Join(rest, "&")
	return &signed, nil
}

// Checked is what a URL that passed says of its signature.
type Checked struct {
	KeyID   string
	Expires time.Time
}

// Check returns nil if the query, as it came, is signed for this path and has not expired at now.
func (k *Keys) Check(path, query string, now time.Time) (Checked, error) {
	p, err := parse(query)
	if err != nil {
		return Checked{}, err
	}
	id, hasID := p.value(KeyID)
	at, hasExpiry := p.value(Expires)
	if !p.signed || !hasID || !hasExpiry {
		return Checked{}, ErrUnsigned
	}
	key := k.find(id)
	if key == nil {
		return Checked{}, ErrKey
	}
	// Texts are compared, not what they decode to: decoders pass over line breaks.
	want := base64.RawURLEncoding.AppendEncode(make([]byte, 0, 64), key.sum(p.canonical(path)))
	if !hmac.Equal([]byte(p.signature), want) {
		return Checked{}, ErrSignature
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || seconds < 0 {
		return Checked{}, ErrSignature
	}
	c := Checked{KeyID: id, Expires: time.Unix(min(seconds, expiresMax), 0).UTC()}
	if !now.Before(c.Expires) {
		return c, fmt.Errorf("%w at %s", ErrExpired, c.Expires.Format(time.RFC3339))
	}
	return c, nil
}

func (k *key) sum(b []byte) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write(b)
	return h.Sum(make([]byte, 0, sha256.Size))
}
