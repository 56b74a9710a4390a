package gateway

import (
	"math"
	"net/url"
	"testing"
)

func TestParseQuery(t *testing.T) {
	t.Parallel()
	p := parseQuery("ad_id=ad_1&advertiser_id=adv_1&campaign_id=cmp_1&click_id=clk%5F1&user_id=a+b&cost_per_click=0.45"+
		"&ip_address=2001%3Adb8%3A%3A1&timestamp=1782236500&redirect_url=https%3a%2f%2fa.example%2F&other=1"+
		"&ad_id=ad_2&%zz&&=&user_id", "click_id")
	c := &p.click
	for _, f := range []struct{ name, got, want string }{
		{"ad_id", string(c.AdID), "ad_1"}, {"advertiser_id", string(c.AdvertiserID), "adv_1"},
		{"campaign_id", string(c.CampaignID), "cmp_1"}, {"click_id", string(c.ClickID), "clk_1"},
		{"user_id", string(c.UserID), "a b"}, {"ip_address", string(c.IPAddress), "2001:db8::1"},
		{"redirect_url", string(p.redirectURL), "https://a.example/"},
	} {
		if f.got != f.want {
			t.Errorf("%s: got %q, want %q", f.name, f.got, f.want)
		}
	}
	if c.CostPerClick != 0.45 || c.Timestamp != 1782236500 {
		t.Errorf("got cost %v and timestamp %d", c.CostPerClick, c.Timestamp)
	}
}

func TestParseQueryKeepsWhatIsBroken(t *testing.T) {
	t.Parallel()
	p := parseQuery("click_id=a%4;b%&ad_id=%zz1&user_id=%ff;x", "click_id")
	for _, f := range []struct{ got, want string }{
		{string(p.click.ClickID), "a%4;b%"}, {string(p.click.AdID), "%zz1"}, {string(p.click.UserID), "\xff;x"},
	} {
		if f.got != f.want {
			t.Errorf("got %q, want %q", f.got, f.want)
		}
	}
}

func TestParseNumbers(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for text, want := range map[string]float64{
		"0.45": 0.45, "1e-3": 0.001, "-1": -1, "0": 0, "": nan, "abc": nan, "0x10": nan, "Inf": nan,
		"NaN": nan, "1,5": nan, "1e999": math.Inf(1), "1_000": nan, "--1": nan,
	} {
		if got := parseCost([]byte(text)); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("cost %q: got %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]int64{
		"1782236500": 1782236500, "": 0, "x": 0, "1.5": 0, "-7": -7,
		"99999999999999999999": math.MaxInt64, "-99999999999999999999": math.MinInt64,
	} {
		if got := parseTimestamp([]byte(text)); got != want {
			t.Errorf("timestamp %q: got %d, want %d", text, got, want)
		}
	}
}

// FuzzParseQuery compares with net/url wherever that takes the query.
func FuzzParseQuery(f *testing.F) {
	f.Add("click_id=a+b%20&ad_id=%ff&user_id")
	f.Fuzz(func(t *testing.T, query string) {
		p := parseQuery(query, "click_id")
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		// A name with an escape in it is a name that the gateway does not know.
		if got, want := string(p.click.ClickID), values.Get("click_id"); got != want && len(got) > 0 {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
