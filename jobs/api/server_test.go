package api

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// The environment of TestPageOfAServer: a server that runs, with its gateway.
const (
	envPage       = "CLICKLEDGER_TEST_PAGE" // http://host:port of API and page
	envToken      = "CLICKLEDGER_TEST_TOKEN"
	envGateway    = "CLICKLEDGER_TEST_GATEWAY"    // http://host:port
	envAdvertiser = "CLICKLEDGER_TEST_ADVERTISER" // with clicks in the last hour
)

// TestPageOfAServer looks at the page of a server that was started elsewhere, such as standalone: its
// numbers are those of the API, and a click that is sent to the gateway is on the page within five
// seconds.
func TestPageOfAServer(t *testing.T) {
	page, token, gateway, advertiser := os.Getenv(envPage), os.Getenv(envToken), os.Getenv(envGateway), os.Getenv(envAdvertiser)
	if page == "" || token == "" || gateway == "" || advertiser == "" {
		t.Skipf("%s, %s, %s and %s name no server to look at", envPage, envToken, envGateway, envAdvertiser)
	}
	ctx := browser(t)
	do(t, ctx, chromedp.Navigate(page))
	signIn(t, ctx, token)
	do(t, ctx, chromedp.WaitVisible("#advertiser"), chromedp.SendKeys("#advertiser", advertiser+"\r"))
	wait(t, ctx, 20*time.Second, `+document.getElementById("total-clicks").dataset.value > 0 && document.querySelectorAll("#top-ads tbody tr").length > 0`)
	wait(t, ctx, 20*time.Second, `document.getElementById("balance").dataset.value || document.getElementById("balance-note").textContent`)
	wait(t, ctx, 20*time.Second, `document.getElementById("reconciliation").textContent || document.getElementById("reconciliation-note").textContent`)
	screenshot(t, ctx, "dashboard-server.png")

	// The totals also lose the oldest minute as time goes on: the minute of the click tells more.
	do(t, ctx, chromedp.Click("#series-details summary"))
	wait(t, ctx, 5*time.Second, `document.querySelectorAll("#series-table tbody tr").length > 0`)
	minute := time.Now().UTC().Format("2006-01-02 15:04")
	clicks := fmt.Sprintf(`[...document.querySelectorAll("#series-table tbody tr")].filter((r) => r.cells[0].textContent === %q)
		.reduce((n, r) => n + Number(r.cells[1].textContent.replace(/,/g, "")), 0)`, minute)
	before := value[int64](t, ctx, clicks)
	click := url.Values{"ad_id": {"ad_page"}, "advertiser_id": {advertiser}, "campaign_id": {"cmp_page"}, "user_id": {"usr_page"},
		"click_id": {fmt.Sprintf("clk_page_%d", time.Now().UnixNano())}, "cost_per_click": {"0.45"}, "timestamp": {fmt.Sprint(time.Now().Unix())},
		"redirect_url": {"https://shop.example/landing"}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, gateway+"/api/v1/clicks?"+click.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	sent := time.Now()
	answer, err := (&http.Transport{}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusFound {
		t.Fatalf("the gateway: got %s", answer.Status)
	}
	wait(t, ctx, 5*time.Second, fmt.Sprintf(`%s > %d`, clicks, before))
	t.Logf("a click was on the page %s after it was sent to the gateway", time.Since(sent).Round(time.Millisecond))
}
