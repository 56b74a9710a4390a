package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/config"
)

// TestURL makes a key, signs with it, and checks: as signed, with another price, and with another key.
func TestURL(t *testing.T) {
	t.Parallel()
	made := start(t, nil, "url", "key", "k1")
	if made.code != config.ExitOK || !strings.HasPrefix(made.out, "k1:") {
		t.Fatalf("got %+v", made)
	}
	file := filepath.Join(t.TempDir(), "keys.txt")
	if err := os.WriteFile(file, []byte("# in force\n"+made.out), 0o600); err != nil {
		t.Fatal(err)
	}
	signed := start(t, nil, "url", "sign", "--url-keys-file", file,
		"http://gw.example/api/v1/clicks?click_id=c1&cost_per_click=0.45&redirect_url="+url.QueryEscape("https://shop.example/"))
	if signed.code != config.ExitOK {
		t.Fatalf("got %+v", signed)
	}
	good := strings.TrimSpace(signed.out)
	sign := func(text string) string {
		t.Helper()
		got := start(t, nil, "url", "sign", "--url-keys-file", file, "http://gw.example"+text)
		if got.code != config.ExitOK {
			t.Fatalf("%s: got %+v", text, got)
		}
		return strings.TrimSpace(got.out)
	}
	env := []string{"CLICK_URL_KEYS=" + strings.TrimSpace(made.out)}
	other := start(t, nil, "url", "key", "k1")
	for _, tc := range []struct {
		name, url, stderr string
		env               []string
		code              int
	}{
		{"as signed", good, "", env, config.ExitOK},
		{"another price", strings.Replace(good, "0.45", "0.01", 1), "does not fit", env, config.ExitFailed},
		{"another secret", good, "does not fit", []string{"CLICK_URL_KEYS=" + strings.TrimSpace(other.out)}, config.ExitFailed},
		{"an impression", sign("/api/v1/impressions?impression_id=i1"), "", env, config.ExitOK},
		{"another path", sign("/api/v1/orders?click_id=c1"), "the path is neither", env, config.ExitFailed},
		{"a script", sign("/api/v1/clicks?click_id=c1&redirect_url=javascript:alert(1)"), "not an absolute http", env, config.ExitFailed},
		{"no redirect", sign("/api/v1/clicks?click_id=c1"), "redirect_url is missing", env, config.ExitFailed},
		{"a host that is not allowed", good, "a host that is not allowed", append(env, "CLICKLEDGER_GATEWAY_REDIRECT_HOSTS=other.example"), config.ExitFailed},
		{"a host that is", good, "", append(env, "CLICKLEDGER_GATEWAY_REDIRECT_HOSTS=*.example"), config.ExitOK},
		{"too long", good + "&x=" + strings.Repeat("x", 9000), "longer than", env, config.ExitFailed},
		{"no keys", good, "no keys", nil, config.ExitUsage},
		{"bad keys", good, "key 1", []string{"CLICK_URL_KEYS=x"}, config.ExitUsage},
		{"no URL", "::", "not the URL", env, config.ExitUsage},
	} {
		got := start(t, tc.env, "url", "check", tc.url)
		if got.code != tc.code || !strings.Contains(got.err, tc.stderr) {
			t.Errorf("%s: exit code %d, stderr %q", tc.name, got.code, got.err)
		}
	}
	if got := start(t, nil, "url", "key", "a b"); got.code != config.ExitUsage {
		t.Errorf("a bad id: got %+v", got)
	}
	if got := start(t, env, "url", "sign", "--valid", "-1h", good); got.code != config.ExitUsage {
		t.Errorf("a bad time: got %+v", got)
	}
}
