package signedurl

import (
	"encoding/base64"
	"errors"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const lesson = "http://gateway.example/api/v1/clicks?ad_id=ad_99a2c3d4&advertiser_id=adv_88f7e6d5&click_id=clk_abc123xyz456" +
	"&cost_per_click=0.45&redirect_url=https%3A%2F%2Fwww.advertisersite.com%2Flanding"

var now = time.Unix(1782236500, 0)

func secret(c byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(c), 32)))
}

func keys(t testing.TB, text string) *Keys {
	t.Helper()
	k, err := ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, k *Keys, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := k.Sign(u, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestKnownSignature pins the format: URLs that are out there must stay good.
func TestKnownSignature(t *testing.T) {
	t.Parallel()
	u := sign(t, keys(t, "k1:"+secret('a')), lesson)
	const want = "&key_id=k1&expires=1782240100&signature=qXw3UxVNkcCMe7uBH1Pu5rYxG2nlaF9fiy8SON-bxio"
	if !strings.HasSuffix(u.String(), want) {
		t.Errorf("got %s, want it to end in %s", u, want)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	k := keys(t, "k1:"+secret('a')+"\nk2:"+secret('b'))
	good := sign(t, k, lesson).RawQuery
	swap := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, with, 1)
	}
	pairs := strings.Split(good, "&")
	slices.Reverse(pairs)
	u, err := url.Parse(lesson)
	if err != nil {
		t.Fatal(err)
	}
	forever, err := k.Sign(u, time.Unix(math.MaxInt64, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, query string
		want        error
	}{
		{"as signed", good, nil},
		{"another order", strings.Join(pairs, "&"), nil},
		{"another spelling", swap("ad_99a2c3d4", "%61d_99a2c3d4"), nil},
		{"a parameter of others", good + "&utm_source=x&%zz=1", ErrEscape},
		{"a parameter of others, sound", good + "&utm_source=x&gclid=%zz", nil},
		{"forged price", swap("cost_per_click=0.45", "cost_per_click=0.01"), ErrSignature},
		{"the same price written otherwise", swap("cost_per_click=0.45", "cost_per_click=0.450"), ErrSignature},
		{"another advertiser", swap("adv_88f7e6d5", "adv_00000000"), ErrSignature},
		{"another target", swap("www.advertisersite.com", "evil.example"), ErrSignature},
		{"a known parameter more", good + "&user_id=usr_1", ErrSignature},
		{"one less", strings.Join(slices.DeleteFunc(strings.Split(good, "&"), func(p string) bool { return strings.HasPrefix(p, "ad_id") }), "&"), ErrSignature},
		{"one twice", good + "&cost_per_click=0.01", ErrTwice},
		{"one twice in front", "cost_per_click=0.01&" + good, ErrTwice},
		{"one twice, escaped", good + "&cost%5Fper_click=0.01", ErrEscape},
		{"a line break in the signature", swap("&signature=", "&signature=%0A"), ErrSignature},
		{"a line break behind the signature", good + "%0d%0a", ErrSignature},
		{"a padded signature", good + "%3D", ErrSignature},
		{"an expiry beyond all times", forever.RawQuery, nil},
		{"a later expiry", swap("expires=1782240100", "expires=1882240100"), ErrSignature},
		{"an expiry that is no number", swap("expires=1782240100", "expires=never"), ErrSignature},
		{"another key", swap("key_id=k1", "key_id=k2"), ErrSignature},
		{"an unknown key", swap("key_id=k1", "key_id=k3"), ErrKey},
		{"no key", swap("key_id=k1", "x=k1"), ErrUnsigned},
		{"no signature", swap("signature=", "x="), ErrUnsigned},
		{"a signature cut short", good[:len(good)-4], ErrSignature},
		{"an empty signature", good[:strings.Index(good, "signature=")+len("signature=")], ErrSignature},
		{"a signature in other bits", good[:len(good)-1] + "d", ErrSignature}, // the last two bits do not count
		{"nothing", "", ErrUnsigned},
		{"a broken escape", good + "&user_id=%zz", ErrEscape},
		{"too long", good + "&x=" + strings.Repeat("x", QueryBytesMax), ErrEscape},
	} {
		if _, err := k.Check("/api/v1/clicks", tc.query, now); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, err := k.Check("/api/v1/impressions", good, now); !errors.Is(err, ErrSignature) {
		t.Errorf("another path: got %v", err)
	}
	if _, err := k.Check("/api/v1/clicks", good, now.Add(time.Hour)); !errors.Is(err, ErrExpired) {
		t.Errorf("an hour later: got %v", err)
	}
	if c, err := k.Check("/api/v1/clicks", good, now.Add(time.Hour-time.Second)); err != nil || c.KeyID != "k1" || !c.Expires.Equal(now.Add(time.Hour)) {
		t.Errorf("just before: got %+v, %v", c, err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	before, during, after := "old:"+secret('a'), "old:"+secret('a')+",new:"+secret('b'), "new:"+secret('b')
	check := func(signer, checker string) error {
		_, err := keys(t, checker).Check("/api/v1/clicks", sign(t, keys(t, signer), lesson).RawQuery, now)
		return err
	}
	for _, c := range []struct {
		signer, checker string
		want            error
	}{{before, during, nil}, {after, during, nil}, {before, after, ErrKey}, {after, after, nil}} {
		if err := check(c.signer, c.checker); !errors.Is(err, c.want) {
			t.Errorf("got %v, want %v", err, c.want)
		}
	}
}

func TestSignAgain(t *testing.T) {
	t.Parallel()
	k := keys(t, "k1:"+secret('a'))
	once := sign(t, k, lesson)
	if twice := sign(t, k, once.String()); twice.String() != once.String() {
		t.Errorf("got %s, want %s", twice, once)
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                       "no keys",
		"# only a note":                          "no keys",
		"k1":                                     "colon",
		"k1:!!!":                                 "base64",
		"k1:" + "c2hvcnQ=":                       "fewer than 32",
		"k 1:" + secret('a'):                     "an id is",
		"k:" + secret('a') + ",k:" + secret('b'): "twice",
	} {
		if _, err := ParseKeys(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret('a')) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	line, err := NewKey("2026-11")
	if err != nil {
		t.Fatal(err)
	}
	if ids := keys(t, "# in force\n\n"+line+"\n").IDs(); !slices.Equal(ids, []string{"2026-11"}) {
		t.Errorf("got %q", ids)
	}
}

func FuzzCheck(f *testing.F) {
	k := keys(f, "k1:"+secret('a'))
	good := sign(f, k, lesson).RawQuery
	f.Add(good)
	f.Add(good + "&ad_id=x")
	f.Fuzz(func(t *testing.T, query string) {
		if _, err := k.Check("/api/v1/clicks", query, now); err != nil {
			return
		}
		// What passes says what was signed.
		got, _ := url.ParseQuery(query)
		want, _ := url.ParseQuery(good)
		for name := range want {
			if got.Get(name) != want.Get(name) {
				t.Fatalf("%s: got %q, want %q", name, got.Get(name), want.Get(name))
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	k := keys(b, "k1:"+secret('a'))
	query := sign(b, k, lesson).RawQuery
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Check("/api/v1/clicks", query, now); err != nil {
			b.Fatal(err)
		}
	}
}
