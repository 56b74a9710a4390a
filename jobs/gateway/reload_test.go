package gateway

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/signedurl"
)

// edition is a file of countries that knows one.
type edition string

func (e edition) Country(netip.Addr) string { return string(e) }
func (e edition) Version() string           { return "edition " + string(e) }

// lines gathers a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestReload changes keys and countries while clicks come: what is new counts, what is broken is
// reported and changes nothing, and no click is answered otherwise than by the old or the new.
func TestReload(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys")
	line := func(id string, secret byte) string {
		return id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(secret), 32))) + "\n"
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(line("k1", 'a'))
	keys, err := signedurl.ReadKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	log, f, asked := &lines{}, &failing{}, make(chan os.Signal)
	country, countryErr := "DE", error(nil)
	base, stop := running(t, Config{Keys: keys}, Deps{Producer: f, Countries: edition("DE"), Logger: slog.New(slog.NewTextHandler(log, nil)),
		Reload: Reload{Asked: asked, Keys: func() (*signedurl.Keys, error) { return signedurl.ReadKeys(file) },
			Countries: func() (Countries, error) { return edition(country), countryErr }}})
	query := func(id string, secret byte) string {
		return signedQuery(t, testKeys(t, id, secret), clicksPath, lessonQuery, time.Now().Add(time.Hour))
	}
	k1, k2 := query("k1", 'a'), query("k2", 'b')
	client := &http.Client{CheckRedirect: noRedirects}
	code := func(query string) int {
		resp, err := client.Get(base + clicksPath + "?" + query)
		if err != nil {
			t.Error(err)
			return 0
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode
	}
	stopCrowd, crowd := make(chan struct{}), sync.WaitGroup{}
	for range 4 {
		crowd.Go(func() {
			for {
				select {
				case <-stopCrowd:
					return
				default:
					if got := code(k2); got != http.StatusFound && got != http.StatusForbidden {
						t.Errorf("got %d in between", got)
					}
				}
			}
		})
	}
	reload := func(text string) string {
		t.Helper()
		write(text)
		before := strings.Count(log.String(), "read again")
		asked <- syscall.SIGHUP
		for tries := 0; strings.Count(log.String(), "read again") < before+2; tries++ {
			if tries > 2000 {
				t.Fatalf("nothing was read again: %s", log)
			}
			time.Sleep(5 * time.Millisecond)
		}
		resp, err := client.Get(base + metricsPath)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		metrics, _ := io.ReadAll(resp.Body)
		return string(metrics)
	}
	check := func(step string, want1, want2 int, metrics string, wants ...string) {
		t.Helper()
		if got1, got2 := code(k1), code(k2); got1 != want1 || got2 != want2 {
			t.Errorf("%s: got %d and %d, want %d and %d", step, got1, got2, want1, want2)
		}
		for _, want := range wants {
			if !strings.Contains(metrics, want) {
				t.Errorf("%s: no %s in the metrics", step, want)
			}
		}
	}
	const sound = `clickledger_gateway_reload_successful{file=%q} %d`
	info := func(version string) string {
		return fmt.Sprintf(`clickledger_gateway_info{country=%q,device=%q} 1`, version, deviceVersion)
	}
	check("before", 302, 403, "")
	country = "FR"
	check("a key more", 302, 302, reload(line("k1", 'a')+line("k2", 'b')), info("edition FR"), fmt.Sprintf(sound, fileKeys, 1),
		fmt.Sprintf(sound, fileCountries, 1), "clickledger_gateway_reload_success_timestamp_seconds")
	country, countryErr = "", errors.New("cut in the middle")
	check("broken", 302, 302, reload("k1:short\n"), info("edition FR"), fmt.Sprintf(sound, fileKeys, 0), fmt.Sprintf(sound, fileCountries, 0))
	country, countryErr = "US", nil
	metrics := reload(line("k2", 'b'))
	check("the old key dropped", 403, 302, metrics, info("edition US"), fmt.Sprintf(sound, fileKeys, 1), fmt.Sprintf(sound, fileCountries, 1))
	if strings.Contains(metrics, "edition FR") {
		t.Error("the metrics name a file that is not in force")
	}
	check("empty", 403, 302, reload("# nothing\n"), fmt.Sprintf(sound, fileKeys, 0)) // never a gateway without keys
	close(stopCrowd)
	crowd.Wait()
	if text := log.String(); strings.Contains(text, strings.Repeat("a", 10)) || strings.Contains(text, "YWFh") ||
		!strings.Contains(text, "cut in the middle") || !strings.Contains(text, "key_ids=\"[k1 k2]\"") {
		t.Errorf("the log: %s", text)
	}
	if got := stop(); got.Redirected == 0 || got.Redirected != got.Shipped {
		t.Errorf("got %+v", got)
	}
}
