package gateway

import (
	"strings"
	"testing"
)

func TestLocation(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, target, want string }{
		{"lesson", "https://www.advertisersite.com/landing", "https://www.advertisersite.com/landing"},
		{"http with all parts", "http://a.example:8080/p?q=1&r=%2F#f", "http://a.example:8080/p?q=1&r=%2F#f"},
		{"no path", "https://a.example", "https://a.example"},
		{"upper-case scheme", "HTTPS://a.example/", "HTTPS://a.example/"},
		{"address", "http://[2001:db8::1]/x", "http://[2001:db8::1]/x"},
		{"space and letters", "https://a.example/a b/ä", "https://a.example/a%20b/%C3%A4"},
		{"not UTF-8", "https://a.example/\xff", "https://a.example/%FF"},
		{"letters of another script", "https://bücher.example:8443/ä?ö", "https://xn--bcher-kva.example:8443/%C3%A4?%C3%B6"},
		{"those, percent-encoded", "https://b%C3%BCcher.example/", "https://xn--bcher-kva.example/"},
		{"its ASCII form", "https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"},
		{"underscore", "https://a_b.example/", "https://a_b.example/"},
		{"dot at the end", "https://a.example./", "https://a.example./"},
		{"no port behind the colon", "https://a.example:/", "https://a.example/"},

		{"missing", "", ""},
		{"script", "javascript:alert(1)", ""},
		{"data", "data:text/html,x", ""},
		{"ftp", "ftp://a.example/", ""},
		{"no scheme", "//evil.example/x", ""},
		{"three slashes", "https:///evil.example", ""},
		{"backslashes", `https:\\evil.example`, ""},
		{"backslash in the host", `https://good.example\@evil.example/`, ""},
		{"slash and backslash", `/\evil.example`, ""},
		{"path", "/local", ""},
		{"opaque", "https:evil.example", ""},
		{"user name", "https://good.example@evil.example/", ""},
		{"header injection", "https://a.example/\r\nSet-Cookie: x=1", ""},
		{"line feed", "https://a.example/\nx", ""},
		{"nul", "https://a.example/\x00", ""},
		{"delete", "https://a.example/\x7f", ""},
		{"tab in the scheme", "java\tscript:alert(1)", ""},
		{"leading space", " https://a.example/", ""},
		{"only a port", "https://:443/", ""},
		{"bad port", "https://a.example:x/", ""},
		{"a port that is none", "https://a.example:65536/", ""},
		{"a zone", "http://[fe80::1%25eth0]/", ""},
		{"a slash once it is normalised", "https://evil.example／.a.example/", ""},
		{"that, percent-encoded", "https://evil.example%EF%BC%8F.a.example/", ""},
		{"a letter that becomes two and a slash", "https://evil.ex℀.a.example/", ""},
		{"not UTF-8 in the host", "https://\xff.example/", ""},
		{"semicolon", "https://evil.example;.a.example/", ""},
		{"comma", "https://evil.example,.a.example/", ""},
		{"less than", "https://evil<.a.example/", ""},
		{"asterisk", "https://*.a.example/", ""},
		{"no name before a dot", "https://.a.example/", ""},
		{"no name between dots", "https://a..example/", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := location([]byte(tc.target), newAllowedHosts(nil))
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestAllowedHosts(t *testing.T) {
	t.Parallel()
	hosts := newAllowedHosts([]string{"Shop.example", "*.brand.example", "bücher.example", "*.Straße.example"})
	for target, want := range map[string]bool{
		"https://shop.example/x":          true,
		"https://SHOP.example./x":         true,
		"https://shop.example:444/x":      true,
		"https://a.b.brand.example/":      true,
		"https://brand.example/":          false,
		"https://evilbrand.example/":      false,
		"https://www.shop.example/":       false,
		"https://shop.example.evil.test/": false,
		"https://evil.test/shop.example":  false,

		"https://xn--bcher-kva.example/":              true,
		"https://BÜCHER.example/":                     true,
		"https://a.xn--strae-oqa.example/":            true,
		"https://a.straße.example/":                   true,
		"http://[2001:db8::1]/":                       false,
		"http://[2001:db8::1%25.brand.example]/":      false,
		"http://[2001:db8::1%25x.brand.example]:80/":  false,
		"https://evil.test／.brand.example/":           false,
		"https://evil.test%EF%BC%8F.brand.example/":   false,
		"https://evil.test;.brand.example/":           false,
		"https://.brand.example/":                     false,
		"https://ſhop.example/":                       true, // it is looked up as shop.example
		"https://shop.example。evil.test/":             false,
		"https://a.b。brand.example/":                  true,
		"https://x.brand.example。/":                   true,
		"https://x.brand.example.%e3%80%82evil.test/": false,
	} {
		if _, err := location([]byte(target), hosts); (err == nil) != want {
			t.Errorf("%s: got %v, want allowed: %v", target, err, want)
		}
	}
}

func TestCookieValue(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"usr_55c4b3a2":            "usr_55c4b3a2",
		"":                        "",
		"a; Domain=evil.example":  "a%3B%20Domain=evil.example",
		"a\r\nX: y":               "a%0D%0AX:%20y",
		`"quoted",\`:              "%22quoted%22%2C%5C",
		"ä%":                      "%C3%A4%25",
		strings.Repeat("u", 1025): "",
	} {
		if got := cookieValue([]byte(id)); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
}

func FuzzLocation(f *testing.F) {
	f.Add("https://a.example/x")
	f.Add("https://a\\@b")
	f.Fuzz(func(t *testing.T, target string) {
		got, err := location([]byte(target), newAllowedHosts(nil))
		if err != nil {
			return
		}
		for _, c := range []byte(got) {
			if c <= ' ' || c >= 0x7f {
				t.Fatalf("%q holds the byte %#x", got, c)
			}
		}
		if l := strings.ToLower(got); !strings.HasPrefix(l, "http://") && !strings.HasPrefix(l, "https://") {
			t.Fatalf("%q is not of http or https", got)
		}
	})
}
