package api

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/internal/browsertest"
	"github.com/clickledger/clickledger/internal/dashboard"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// live are rows of the last hour of the machine's clock, which the page goes by; the first half is published as final.
func live(t *testing.T, r *rig) (rows []schemas.MinuteRow, newest schemas.MinuteRow) {
	t.Helper()
	this := time.Now().UTC().Truncate(time.Minute).UnixMilli()
	for i := range int64(60) {
		for ad := range int64(4) {
			m := row(0, "adv_1", fmt.Sprintf("cmp_%d", ad%2), fmt.Sprintf("ad_%d", ad), 20+(i*7+ad*13)%40)
			m.MinuteMillis = this - i*minute
			rows = append(rows, m)
		}
	}
	if err := r.store.Upsert(t.Context(), rows, serving.Progress{PolicyHash: "p"}); err != nil {
		t.Fatal(err)
	}
	half := this - 30*minute
	for start := half / serving.DayMillis * serving.DayMillis; start > half-serving.DayMillis; start -= serving.DayMillis {
		var final []schemas.MinuteRow
		cut := min(start+serving.DayMillis, half)
		for _, m := range rows {
			if m.MinuteMillis >= start && m.MinuteMillis < cut {
				m.IsFinal, m.Version = true, serving.FinalVersion
				final = append(final, m)
			}
		}
		if err := r.store.PublishFinal(t.Context(), serving.FinalDay{DayMillis: start, CutMillis: cut}, final); err != nil {
			t.Fatal(err)
		}
	}
	return rows, rows[0]
}

// today puts the API's clock where the page's is, and returns a token that is valid now.
func today(r *rig, advertiser string) string {
	r.clock.Store(time.Now().UnixMilli())
	g := bearer.Grant{Subject: "page", AdvertiserID: advertiser, IsAdmin: advertiser == "", Audience: "clickledger", IssuedAt: time.Now(), ValidFor: time.Hour}
	text, err := bearer.Sign(secret, g)
	if err != nil {
		panic(err)
	}
	return text
}

func withPage(_ *Config, d *Deps) { d.Page = dashboard.Handler() }

func TestPage(t *testing.T) {
	r := setup(t, nil, withPage)
	rows, newest := live(t, r)
	ctx := browsertest.Open(t)
	browsertest.Do(t, ctx, chromedp.Navigate(r.url))

	browsertest.SignIn(t, ctx, "not a token")
	browsertest.Wait(t, ctx, 10*time.Second, `document.getElementById("sign-in-error").textContent.includes("not accepted")`)

	var clicks int64
	for i := range rows {
		clicks += rows[i].UniqueClicks
	}
	clicks -= sumOf(rows, rows[len(rows)-1].MinuteMillis) // the minute an hour ago may be out of the range by now
	browsertest.SignIn(t, ctx, today(r, "adv_1"))
	browsertest.Wait(t, ctx, 20*time.Second, fmt.Sprintf(`+document.getElementById("total-clicks").dataset.value >= %d`, clicks))
	browsertest.Wait(t, ctx, 10*time.Second, `document.querySelectorAll("#top-ads tbody tr").length === 4 && document.querySelectorAll("#rules tbody tr").length === 1`)
	browsertest.Wait(t, ctx, 10*time.Second, `document.getElementById("balance").dataset.value === "-12.3456" && document.getElementById("causes").innerText.includes("late in stream")`)
	browsertest.Screenshot(t, ctx, "dashboard-light.png")

	before := browsertest.Value[int64](t, ctx, `+document.getElementById("total-clicks").dataset.value`)
	newest.UniqueClicks, newest.RawClicks, newest.Version = newest.UniqueClicks+1, newest.RawClicks+1, 2
	if err := r.store.Upsert(t.Context(), []schemas.MinuteRow{newest}, serving.Progress{PolicyHash: "p"}); err != nil {
		t.Fatal(err)
	}
	took := browsertest.Wait(t, ctx, 5*time.Second, fmt.Sprintf(`+document.getElementById("total-clicks").dataset.value === %d`, before+1))
	t.Logf("a click that was published was on the page after %s", took.Round(time.Millisecond))

	t.Run("table", func(t *testing.T) { pageTable(t, ctx) })
	t.Run("keyboard", func(t *testing.T) { pageKeyboard(t, ctx) })
	t.Run("campaign filter", func(t *testing.T) {
		browsertest.Choose(t, ctx, "campaign", "cmp_1")
		browsertest.Wait(t, ctx, 10*time.Second, `document.querySelectorAll("#top-ads tbody tr").length === 2`)
		browsertest.Choose(t, ctx, "campaign", "")
	})
	t.Run("dark", func(t *testing.T) {
		browsertest.Choose(t, ctx, "theme", "dark")
		browsertest.Wait(t, ctx, 10*time.Second, `getComputedStyle(document.body).backgroundColor === "rgb(18, 21, 27)"`)
		browsertest.Wait(t, ctx, 10*time.Second, `document.querySelectorAll("#top-ads tbody tr").length === 4`)
		browsertest.Screenshot(t, ctx, "dashboard-dark.png")
	})
	t.Run("phone", func(t *testing.T) {
		browsertest.Do(t, ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2), chromedp.EmulateMobile))
		browsertest.Wait(t, ctx, 10*time.Second, `document.documentElement.scrollWidth <= 390`)
		browsertest.Screenshot(t, ctx, "dashboard-phone.png")
		browsertest.Do(t, ctx, chromedp.Click("#series-details summary"))
		browsertest.Wait(t, ctx, 10*time.Second, `document.documentElement.scrollWidth <= 390 && document.querySelectorAll("#series-table tbody tr").length > 0`)
		browsertest.Do(t, ctx, chromedp.EmulateViewport(360, 740, chromedp.EmulateScale(2), chromedp.EmulateMobile))
		browsertest.Wait(t, ctx, 10*time.Second, `document.documentElement.scrollWidth <= 360`)
		const large = `[...document.querySelector("#top-campaigns tbody tr").cells].forEach((e, i) => e.textContent = ["cmp_dea78fe3", "16,695", "32,790.57", "22.34 %"][i]);`
		broken := browsertest.Value[string](t, ctx, `(() => {
			`+large+`
			return [...document.querySelectorAll("td, th")].filter((e) => {
				const text = document.createRange(), most = e.matches("thead th") ? e.textContent.trim().split(" ").length : 1;
				const name = e.querySelector("span:not(.unit)"); // over its bar
				text.selectNodeContents(name ? name.firstChild : e);
				return e.offsetParent && new Set([...text.getClientRects()].map((r) => Math.round(r.top))).size > most;
			}).map((e) => e.textContent).join();
		})()`)
		if broken != "" {
			t.Errorf("cells in more than one line, or words: %s", broken)
		}
		// A window of 1280 pixels at four times the size.
		browsertest.Do(t, ctx, chromedp.EmulateViewport(320, 256))
		browsertest.Wait(t, ctx, 10*time.Second, `(() => { `+large+` return document.documentElement.scrollWidth <= 320; })()`)
		browsertest.Do(t, ctx, chromedp.EmulateViewport(360, 740, chromedp.EmulateScale(2), chromedp.EmulateMobile))
		browsertest.Wait(t, ctx, 10*time.Second, `document.documentElement.scrollWidth <= 360`)
		small := browsertest.Value[string](t, ctx, `[...document.querySelectorAll("input, select, button")].filter((e) => e.offsetParent && (e.offsetHeight < 40 || e.offsetWidth < 40)).map((e) => e.id || e.textContent).join()`)
		if small != "" {
			t.Errorf("too small for a finger: %s", small)
		}
	})
	t.Run("statement", func(t *testing.T) {
		month := browsertest.Value[string](t, ctx, `(() => {
			const e = document.getElementById("month"), of = [e.value, e.checkValidity()];
			e.value = "2999-01";
			of.push(e.checkValidity());
			e.value = of[0];
			return of.join();
		})()`)
		if want := time.Now().UTC().Format("2006-01") + ",true,false"; month != want {
			t.Errorf("this month, and one to come: got %q, want %q", month, want)
		}
	})
	t.Run("sign out", func(t *testing.T) {
		browsertest.Do(t, ctx, chromedp.Click("#sign-out"), chromedp.WaitVisible("#token"))
		browsertest.Wait(t, ctx, 5*time.Second, `sessionStorage.length === 0 && document.getElementById("dashboard").hidden`)
		noNumbers(t, ctx)
	})
}

func sumOf(rows []schemas.MinuteRow, minuteMillis int64) (clicks int64) {
	for i := range rows {
		if rows[i].MinuteMillis == minuteMillis {
			clicks += rows[i].UniqueClicks
		}
	}
	return clicks
}

// pageTable compares the table with the totals, and looks for both states.
func pageTable(t *testing.T, ctx context.Context) {
	browsertest.Do(t, ctx, chromedp.Click("#series-details summary"))
	browsertest.Wait(t, ctx, 5*time.Second, `[...document.querySelectorAll("#series-table tbody tr")].length >= 59`)
	states := browsertest.Value[string](t, ctx, `[...new Set([...document.querySelectorAll("#series-table tbody td:last-child")].map((e) => e.textContent))].sort().join()`)
	if states != "final,provisional" {
		t.Errorf("states of points: got %q", states)
	}
	heading := browsertest.Value[string](t, ctx, `[...document.querySelectorAll("#series-table thead th")].map((e) => e.textContent).join()`)
	if want := "Time (UTC),Clicks,Spend (USD),Impressions,CTR,Invalid,Duplicates,State"; heading != want {
		t.Errorf("the heading is %q, want %q", heading, want)
	}
	browsertest.Wait(t, ctx, 5*time.Second, `[...document.querySelectorAll("#series-table tbody td:nth-child(2)")].reduce((n, e) => n + Number(e.textContent.replace(/,/g, "")), 0)
		=== +document.getElementById("total-clicks").dataset.value`)
	browsertest.Do(t, ctx, chromedp.Click("#series-details summary"))
}

// pageKeyboard finds every control with a name, in the order of the tab key, and every chart described.
func pageKeyboard(t *testing.T, ctx context.Context) {
	unnamed := browsertest.Value[string](t, ctx, `[...document.querySelectorAll("input, select, button")].filter((e) => e.offsetParent && !(e.labels && e.labels.length) && !e.textContent.trim()).map((e) => e.id).join()`)
	if unnamed != "" {
		t.Errorf("controls without a name: %s", unnamed)
	}
	browsertest.Wait(t, ctx, 5*time.Second, `[...document.querySelectorAll("[role=img]")].every((e) => e.getAttribute("aria-label").includes("in total"))`)
	browsertest.Value[bool](t, ctx, `document.querySelector(".skip").focus() === undefined`)
	var order []string
	for range 4 {
		browsertest.Do(t, ctx, chromedp.KeyEvent("\t"))
		order = append(order, browsertest.Value[string](t, ctx, `document.activeElement.id || document.activeElement.className || document.activeElement.tagName`))
	}
	if got, want := strings.Join(order, " "), "theme sign-out range campaign"; got != want {
		t.Errorf("the tab key goes to %s, want %s", got, want)
	}
}

// TestPageAfterReload: an administrator sees the same advertiser again, also by way of the skip link; after signing
// out nothing of him is in the address.
func TestPageAfterReload(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, withPage)
	live(t, r)
	ctx := browsertest.Open(t)
	browsertest.Do(t, ctx, chromedp.Navigate(r.url))
	browsertest.SignIn(t, ctx, today(r, ""))
	browsertest.Wait(t, ctx, brief, `document.activeElement.id === "advertiser"`)
	browsertest.Do(t, ctx, chromedp.SendKeys("#advertiser", "adv_1\r"))
	const shown = `+document.getElementById("total-clicks").dataset.value > 0`
	browsertest.Wait(t, ctx, brief, shown+` && location.hash === "#advertiser=adv_1"`)
	browsertest.Value[bool](t, ctx, `document.querySelector(".skip").focus() === undefined`)
	browsertest.Do(t, ctx, chromedp.KeyEvent("\r"))
	browsertest.Wait(t, ctx, brief, `document.activeElement.id === "main"`)
	browsertest.Do(t, ctx, chromedp.Reload())
	browsertest.Wait(t, ctx, brief, shown+` && document.getElementById("advertiser").value === "adv_1"`)
	browsertest.Do(t, ctx, chromedp.Click("#sign-out"))
	browsertest.Wait(t, ctx, brief, `document.getElementById("dashboard").hidden && location.hash === "" && document.getElementById("advertiser").value === ""`)
}

func TestPageWithoutNumbers(t *testing.T) {
	r := setup(t, nil, withPage, func(_ *Config, d *Deps) { d.Ledger, d.Archive, d.Statements = nil, nil, nil })
	ctx := browsertest.Open(t)
	browsertest.Do(t, ctx, chromedp.Navigate(r.url))
	browsertest.SignIn(t, ctx, today(r, ""))
	browsertest.Wait(t, ctx, 10*time.Second, `document.getElementById("status").textContent.includes("Enter the advertiser")`)
	const unnamed = `[...document.querySelectorAll("[role=img]")].filter((e) => !e.getAttribute("aria-label")).map((e) => e.id).join()`
	if got := browsertest.Value[string](t, ctx, unnamed); got != "" {
		t.Errorf("charts without a name: %s", got)
	}
	browsertest.Do(t, ctx, chromedp.SendKeys("#advertiser", "adv_1\r"))
	browsertest.Wait(t, ctx, 10*time.Second, `document.getElementById("status").textContent.includes("No clicks were recorded")`)
	browsertest.Wait(t, ctx, 10*time.Second, `document.getElementById("balance-note").textContent.includes("no ledger") &&
		document.getElementById("reconciliation-note").textContent.includes("no archive")`)
	browsertest.Screenshot(t, ctx, "dashboard-empty.png")
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	browsertest.Wait(t, ctx, 15*time.Second, `document.getElementById("status").classList.contains("bad")`)
	browsertest.Screenshot(t, ctx, "dashboard-error.png")
}
