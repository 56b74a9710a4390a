package gateway

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

func TestDeviceType(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]string{
		"":               "",
		"curl/8.5.0":     deviceBot,
		"something else": deviceDesktop,
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36":           deviceDesktop,
		"Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0":                                                    deviceDesktop,
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36":           deviceMobile,
		"Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36":           deviceTablet,
		"Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148":         deviceTablet,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148":             deviceMobile,
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                                  deviceBot,
		"Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)":                                               deviceBot,
		"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)":                                                 deviceBot,
		"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) Chrome/141 Mobile Safari/537.36 (compatible; bingbot/2.0; +http://bing.com/)": deviceBot,
	} {
		if got := deviceType(agent); got != want {
			t.Errorf("%s: got %q, want %q", agent, got, want)
		}
	}
}

// TestDevicesAreForgotten: what is remembered is what is told, and bounded.
func TestDevicesAreForgotten(t *testing.T) {
	t.Parallel()
	var d devices
	const phone = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range devicesMax {
				if got := d.of(fmt.Appendf(nil, "agent %d of %d", i, w)); got != deviceDesktop {
					t.Errorf("got %q", got)
				}
				if got := d.of([]byte(phone)); got != deviceMobile {
					t.Errorf("a phone: got %q", got)
				}
			}
		})
	}
	group.Wait()
	if n := len(d.newer) + len(d.older); n > 2*devicesMax {
		t.Errorf("%d are remembered", n)
	}
	before := len(d.newer)
	if got := d.of([]byte(strings.Repeat("x", 600))); got != deviceDesktop || len(d.newer) != before {
		t.Errorf("a long one: got %q, remembered %t", got, len(d.newer) != before)
	}
}

func TestDeviceVersion(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "github.com/"+deviceVersion+"\n") {
		t.Errorf("go.mod does not have %s: rows change their device with it", deviceVersion)
	}
}

func FuzzDeviceType(f *testing.F) {
	f.Add("Mozilla/5.0 (Linux; Android 10)")
	f.Fuzz(func(t *testing.T, agent string) {
		switch got := deviceType(agent); got {
		case "", deviceBot, deviceDesktop, deviceMobile, deviceTablet:
		default:
			t.Errorf("got %q", got)
		}
	})
}
