package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/clickledger/clickledger/internal/browsertest"
	"github.com/clickledger/clickledger/internal/ledgerpg"
)

// brief is how long the page may take; these tests run beside each other.
const brief = 20 * time.Second

// noNumbers finds nothing in the page of what was shown before, hidden or not.
func noNumbers(t *testing.T, ctx context.Context) {
	t.Helper()
	left := browsertest.Value[string](t, ctx, `[...document.querySelectorAll(".figure, td, dd, #who, [role=img]")].map((e) => e.textContent + (e.getAttribute("aria-label") || "")).join("")`)
	if strings.ContainsAny(left, "0123456789") {
		t.Errorf("numbers are left in the page: %q", left)
	}
}

// manyBooks also knows adv_new, who was never billed.
type manyBooks struct{ books }

func (b manyBooks) Balance(ctx context.Context, id string) (ledgerpg.Balance, error) {
	if id == "adv_new" {
		return ledgerpg.Balance{AdvertiserID: id, Name: "New", CreditLimitMicros: 1_000_000_000}, nil
	}
	return b.books.Balance(ctx, id)
}

// TestPageOfAnotherAdvertiser: who signs in after another sees nothing of him, whatever he has himself.
func TestPageOfAnotherAdvertiser(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, withPage, func(_ *Config, d *Deps) { d.Ledger = manyBooks{} })
	live(t, r)
	ctx := browsertest.Open(t)
	browsertest.Do(t, ctx, chromedp.Navigate(r.url))
	browsertest.SignIn(t, ctx, today(r, "adv_1"))
	browsertest.Wait(t, ctx, brief, `+document.getElementById("total-clicks").dataset.value > 0 && document.getElementById("causes").innerText.includes("late in stream")
		&& document.querySelector("#campaign option[value=cmp_1]")`)
	browsertest.Choose(t, ctx, "campaign", "cmp_1")
	browsertest.Do(t, ctx, chromedp.Click("#sign-out"))
	noNumbers(t, ctx)
	browsertest.SignIn(t, ctx, today(r, "adv_new"))
	browsertest.Wait(t, ctx, brief, `document.getElementById("status").textContent.includes("No clicks were recorded")`)
	browsertest.Wait(t, ctx, brief, `document.getElementById("balance").dataset.value === "0.0000" && document.getElementById("reconciliation").children.length > 0
		&& document.getElementById("rules-note").textContent`)
	text := browsertest.Value[string](t, ctx, `document.getElementById("dashboard").innerText`)
	for _, want := range []string{"none in this range", "No clicks in this range.", "0.0000 USD", "1,000.00 USD"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page of an advertiser without clicks lacks %q", want)
		}
	}
	for _, bad := range []string{"cmp_", "ad_0", "22.35", "NaN", "undefined", "null"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page of an advertiser without clicks has %q:\n%s", bad, text)
		}
	}
	browsertest.Screenshot(t, ctx, "dashboard-no-clicks.png")
}

func TestPageWithATokenThatExpires(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, withPage)
	live(t, r)
	ctx := browsertest.Open(t)
	browsertest.Do(t, ctx, chromedp.Navigate(r.url))
	browsertest.SignIn(t, ctx, today(r, "adv_1"))
	browsertest.Wait(t, ctx, brief, `+document.getElementById("total-clicks").dataset.value > 0`)
	r.clock.Add(2 * time.Hour.Milliseconds())
	browsertest.Wait(t, ctx, brief, `document.getElementById("dashboard").hidden && document.getElementById("sign-in-error").textContent.includes("it has expired")`)
	browsertest.Wait(t, ctx, brief, `sessionStorage.length === 0 && document.activeElement.id === "token"`)
	noNumbers(t, ctx)
	browsertest.Screenshot(t, ctx, "dashboard-expired.png")
}

// away is a server that can go away: requests find their connection closed, or none who answers.
type away struct {
	handler http.Handler
	isAway  atomic.Bool
	status  atomic.Int64 // answers with this, but to who signs in
}

func (a *away) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := int(a.status.Load()); status != 0 && strings.HasPrefix(r.URL.Path, "/api/v1/advertisers/") {
		writeProblem(w, &problem{Status: status, Detail: "no, try again"})
		return
	}
	if a.isAway.Load() && strings.HasPrefix(r.URL.Path, "/api/") {
		panic(http.ErrAbortHandler)
	}
	a.handler.ServeHTTP(w, r)
}

// setupAway has live numbers behind a server that can go away.
func setupAway(t *testing.T) (r *rig, server *away, url string) {
	t.Helper()
	r = setup(t, nil, withPage)
	live(t, r)
	server = &away{handler: r.handler}
	srv := httptest.NewServer(server)
	t.Cleanup(srv.Close)
	return r, server, srv.URL
}

// TestPageWhileTheServerIsAway: the page says so, keeps what it has and when that was, and goes on by itself;
// one that is loaded meanwhile keeps its token.
func TestPageWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	r, server, url := setupAway(t)
	const says = `.textContent.includes("The server does not answer; trying again.")`
	const shown = `+document.getElementById("total-clicks").dataset.value > 0`
	const isLive = `document.getElementById("status").textContent === "" && document.getElementById("updated").textContent.endsWith(", live")`

	ctx := browsertest.Open(t)
	server.isAway.Store(true)
	browsertest.Do(t, ctx, chromedp.Navigate(url))
	browsertest.SignIn(t, ctx, today(r, "adv_1"))
	browsertest.Wait(t, ctx, brief, `document.getElementById("sign-in-error")`+says)
	server.isAway.Store(false)
	browsertest.Wait(t, ctx, brief, shown+` && document.getElementById("sign-in").hidden`)

	server.isAway.Store(true)
	browsertest.Wait(t, ctx, brief, `document.getElementById("status")`+says+` && document.getElementById("updated").textContent.startsWith("as of ") && `+shown)
	browsertest.Screenshot(t, ctx, "dashboard-away.png")
	server.isAway.Store(false)
	took := browsertest.Wait(t, ctx, brief, isLive)
	t.Logf("the page went on %s after the server returned", took.Round(time.Millisecond))

	server.isAway.Store(true)
	browsertest.Do(t, ctx, chromedp.Reload())
	browsertest.Wait(t, ctx, brief, `document.getElementById("sign-in-error")`+says+` && sessionStorage.length === 1`)
	server.isAway.Store(false)
	browsertest.Wait(t, ctx, brief, shown+` && `+isLive)
}

// TestPageOfAServerThatRefuses: the page says what is wrong, keeps what it has, and goes on by itself.
func TestPageOfAServerThatRefuses(t *testing.T) {
	t.Parallel()
	r, server, url := setupAway(t)
	ctx := browsertest.Open(t)
	browsertest.Do(t, ctx, chromedp.Navigate(url))
	browsertest.SignIn(t, ctx, today(r, "adv_1"))
	const shown = `+document.getElementById("total-clicks").dataset.value > 0`
	for _, tc := range []struct {
		status int
		says   string
	}{
		{http.StatusServiceUnavailable, "The server has no answer now; trying again."},
		{http.StatusForbidden, "The numbers cannot be shown: no, try again."},
		{http.StatusTooManyRequests, "The server was asked too often; trying again more slowly."}, // last: then the page waits longer
	} {
		browsertest.Wait(t, ctx, brief, shown+` && document.getElementById("status").textContent === ""`)
		server.status.Store(int64(tc.status))
		browsertest.Wait(t, ctx, brief, fmt.Sprintf(`document.getElementById("status").textContent === %q && document.getElementById("updated").textContent.startsWith("as of ") && %s`, tc.says, shown))
		browsertest.Screenshot(t, ctx, fmt.Sprintf("dashboard-%d.png", tc.status))
		server.status.Store(0)
	}
}

// TestPageOfARangeWithoutAnswer: where a range has no answer, the numbers of another one are not left beside it.
func TestPageOfARangeWithoutAnswer(t *testing.T) {
	t.Parallel()
	r, server, url := setupAway(t)
	ctx := browsertest.Open(t)
	browsertest.Do(t, ctx, chromedp.Navigate(url))
	browsertest.SignIn(t, ctx, today(r, "adv_1"))
	const shown = `+document.getElementById("total-clicks").dataset.value > 0 && document.getElementById("top-ads").rows.length > 1 && document.getElementById("rules").rows.length > 1`
	const of = `[...document.querySelectorAll(".figure, .totals .hint, #series-table td, #top-ads td, #top-campaigns td, #rules td, #updated, #rules-note, [role=img]")].map((e) => e.textContent + (e.getAttribute("aria-label") || "")).join("")`
	custom := func(from, to string) {
		t.Helper()
		browsertest.Wait(t, ctx, brief, shown)
		browsertest.Value[bool](t, ctx, fmt.Sprintf(`(() => { for (const [id, v] of [["from", %q], ["to", %q]]) document.getElementById(id).value = v; })() === undefined`, from, to))
		browsertest.Choose(t, ctx, "range", "custom")
	}
	nothing := func(says string) {
		t.Helper()
		browsertest.Wait(t, ctx, brief, fmt.Sprintf(`document.getElementById("status").textContent.includes(%q) && !/[0-9]/.test(%s)`, says, of))
		browsertest.Wait(t, ctx, brief, `document.getElementById("balance").dataset.value === "-12.3456"`) // is of no range
	}
	custom("2026-11-02T00:00", "2026-11-01T00:00")
	nothing("an end after it")
	browsertest.Choose(t, ctx, "range", "3600")
	custom("2020-01-01T00:00", "2026-11-01T00:00")
	nothing("at most 400 days")
	browsertest.Screenshot(t, ctx, "dashboard-range.png")
	browsertest.Choose(t, ctx, "range", "3600")
	browsertest.Wait(t, ctx, brief, shown)
	server.isAway.Store(true)
	browsertest.Choose(t, ctx, "range", "86400")
	nothing("The server does not answer")
	server.isAway.Store(false)
	browsertest.Wait(t, ctx, brief, shown)
}

// TestPageByKeyboard signs in, walks through all that can be operated, and signs out, without a pointer.
func TestPageByKeyboard(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, withPage)
	live(t, r)
	ctx := browsertest.Open(t)
	browsertest.Do(t, ctx, chromedp.Navigate(r.url), chromedp.WaitVisible("#token"))
	browsertest.Wait(t, ctx, brief, `document.activeElement.id === "token"`)
	browsertest.Do(t, ctx, chromedp.KeyEvent(today(r, "adv_1")+"\r"))
	browsertest.Wait(t, ctx, brief, `document.querySelectorAll("#top-ads tbody tr").length === 4 && document.activeElement.id === "main"`)
	if browsertest.Value[string](t, ctx, `getComputedStyle(document.activeElement).outlineStyle`) != "none" {
		t.Error("there is a frame around all numbers")
	}
	browsertest.Value[bool](t, ctx, `document.getElementById("series-details").querySelector("summary").focus() === undefined`)
	browsertest.Do(t, ctx, chromedp.KeyEvent("\r"))
	browsertest.Wait(t, ctx, brief, `document.getElementById("series-details").open`)

	const name = `(document.activeElement.id || document.activeElement.value || document.activeElement.className || document.activeElement.tagName)`
	const isMarked = `document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== "none"`
	browsertest.Value[bool](t, ctx, `document.querySelector(".skip").focus() === undefined`)
	var order []string
	for range 20 {
		browsertest.Do(t, ctx, chromedp.KeyEvent("\t"))
		at := browsertest.Value[string](t, ctx, name)
		if !browsertest.Value[bool](t, ctx, isMarked) {
			t.Errorf("%s has the focus, and nothing shows it", at)
		}
		if len(order) == 0 || order[len(order)-1] != at { // a month has several parts
			order = append(order, at)
		}
		if at == "A" {
			break
		}
	}
	if got, want := strings.Join(order, " "), "theme sign-out range campaign SUMMARY scroll month html csv A"; got != want {
		t.Errorf("the tab key goes to %s, want %s", got, want)
	}
	browsertest.Value[bool](t, ctx, `document.getElementById("sign-out").focus() === undefined`)
	browsertest.Do(t, ctx, chromedp.KeyEvent("\r"))
	browsertest.Wait(t, ctx, brief, `document.activeElement.id === "token" && document.getElementById("dashboard").hidden`)
}

// TestPageContrast computes the contrast of every text with what is behind it, in both themes.
func TestPageContrast(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, withPage)
	live(t, r)
	ctx := browsertest.Open(t)
	browsertest.Do(t, ctx, chromedp.Navigate(r.url))
	browsertest.SignIn(t, ctx, today(r, "adv_1"))
	browsertest.Wait(t, ctx, brief, `document.querySelectorAll("#top-ads tbody tr").length === 4 && document.getElementById("causes").rows.length > 1`)
	const least = 4.5 // WCAG 2.2, AA
	for _, theme := range []string{"light", "dark"} {
		browsertest.Choose(t, ctx, "theme", theme)
		poor := browsertest.Value[string](t, ctx, fmt.Sprintf(`(() => {
			const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
			const light = (c) => c.slice(0, 3).reduce((sum, v, i) => sum + [0.2126, 0.7152, 0.0722][i] * part(v), 0);
			const colour = (text) => text.match(/[\d.]+/g).map(Number);
			const behind = (e) => { for (; e; e = e.parentElement) { const c = colour(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
			const bad = new Set();
			for (const e of document.querySelectorAll("body *")) {
				if (!e.offsetParent || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
				const a = light(colour(getComputedStyle(e).color)), b = light(behind(e)), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
				if (ratio < %v) bad.add(e.tagName + "#" + e.id + "." + e.className + " " + ratio.toFixed(2));
			}
			return [...bad].join("; ");
		})()`, least))
		if poor != "" {
			t.Errorf("%s: contrast below %v: %s", theme, least, poor)
		}
	}
}

// TestPageInNoLanguage: headless browsers of a system whose locale is C name a language that Intl refuses.
func TestPageInNoLanguage(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, withPage)
	live(t, r)
	ctx := browsertest.Open(t)
	browsertest.Before(t, ctx, `Object.defineProperty(Navigator.prototype, "language", { get: () => "en-US@posix" })`)
	browsertest.Navigate(t, ctx, r.url)
	browsertest.SignIn(t, ctx, today(r, "adv_1"))
	browsertest.Wait(t, ctx, brief, `document.querySelectorAll(".uplot").length > 0 && +document.getElementById("total-clicks").dataset.value > 0`)
}
