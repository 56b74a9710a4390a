package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/signedurl"
)

// TestStandaloneReadsKeysAgain runs the whole program, and changes the file of keys under it: what is signed by the
// new key is taken after SIGHUP, what is signed by the old one no longer, and a file without keys changes nothing.
func TestStandaloneReadsKeysAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.txt")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	newKey := func(id string) string {
		t.Helper()
		line, err := signedurl.NewKey(id)
		if err != nil {
			t.Fatal(err)
		}
		return line + "\n"
	}
	keyOld, keyNew := newKey("old"), newKey("new")
	write(keyOld)
	at := startServer(t, plainEnviron(), []string{"gateway"}, "standalone", "--dir", newFolder(t), "--listen", "127.0.0.1:0",
		"--api-listen", "127.0.0.1:0", "--url-keys-file", path)
	plain := at["gateway"] + "/api/v1/clicks?" + url.Values{"click_id": {"clk_keys"}, "ad_id": {"ad_1"}, "campaign_id": {"cmp_1"},
		"advertiser_id": {"adv_1"}, "cost_per_click": {"0.45"}, "redirect_url": {"https://shop.example/"}}.Encode()
	signed := func(key string) string {
		t.Helper()
		got := start(t, []string{"CLICK_URL_KEYS=" + strings.TrimSpace(key)}, "url", "sign", plain)
		if got.code != config.ExitOK {
			t.Fatalf("url sign: %+v", got)
		}
		return strings.TrimSpace(got.out)
	}
	byOld, byNew := signed(keyOld), signed(keyNew)
	status := func(place string) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, place, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	expect := func(when string, unsigned, old, latest int) {
		t.Helper()
		if u, o, l := status(plain), status(byOld), status(byNew); u != unsigned || o != old || l != latest {
			t.Errorf("%s: got %d without a signature, %d by the old key, %d by the new one; want %d, %d, %d", when, u, o, l, unsigned, old, latest)
		}
	}
	pid, err := strconv.Atoi(at["pid"])
	if err != nil {
		t.Fatal(err)
	}
	hup := func() {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}

	expect("at first", http.StatusForbidden, http.StatusFound, http.StatusForbidden)
	write(keyNew)
	expect("before the signal", http.StatusForbidden, http.StatusFound, http.StatusForbidden)
	hup()
	for deadline := time.Now().Add(20 * time.Second); status(byNew) != http.StatusFound; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new key is not in force 20 s after SIGHUP")
		}
	}
	expect("after the signal", http.StatusForbidden, http.StatusForbidden, http.StatusFound)
	write("# no key\n")
	hup()
	time.Sleep(time.Second) // there is nothing to wait for
	expect("a file without keys", http.StatusForbidden, http.StatusForbidden, http.StatusFound)
}
