package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/internal/dashboard"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// envArtifacts names the folder for screenshots; unset keeps none.
const envArtifacts = "CLICKLEDGER_TEST_ARTIFACTS"

// browser starts a headless Chromium, or skips. Whatever the page complains about fails the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("no Chromium on PATH (chromium, chromium-browser, google-chrome, headless-shell): the page is not tried in a browser")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox,
		chromedp.WindowSize(1280, 900), chromedp.Flag("force-prefers-reduced-motion", true))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var complaints []string
	complain := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		complaints = append(complaints, text)
	}
	thrown, logged := chromedp.Events(ctx, runtime.ExceptionThrown), chromedp.Events(ctx, log.EntryAdded)
	go func() {
		for e, err := range thrown {
			if err == nil {
				complain(fmt.Sprintf("%+v", e.ExceptionDetails))
			}
		}
	}()
	go func() {
		for e, err := range logged { // what the policy forbids is in here
			if err == nil && e.Entry.Source != log.EntrySourceNetwork { // the statuses of answers are the tests' own
				complain(e.Entry.Text)
			}
		}
	}()
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range complaints {
			t.Errorf("the page complains: %s", c)
		}
	})
	return ctx
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// value evaluates an expression in the page.
func value[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// screenshot keeps what the page looks like, where artifacts are kept.
func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv(envArtifacts)
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), png, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// wait waits until a condition in JavaScript holds, and returns how long that took.
func wait(t *testing.T, ctx context.Context, limit time.Duration, condition string) time.Duration {
	t.Helper()
	began := time.Now()
	for !value[bool](t, ctx, "Boolean("+condition+")") {
		if time.Since(began) > limit {
			t.Fatalf("%s: not within %s; the page:\n%s", condition, limit, value[string](t, ctx, "document.body.innerText"))
		}
		time.Sleep(50 * time.Millisecond) // a page cannot be waited for by its policy's leave: it forbids eval
	}
	return time.Since(began)
}

// choose picks an option as a visitor does.
func choose(t *testing.T, ctx context.Context, id, option string) {
	t.Helper()
	value[bool](t, ctx, fmt.Sprintf(`(() => { const e = document.getElementById(%q); e.value = %q; return e.dispatchEvent(new Event("change")); })()`, id, option))
}

func signIn(t *testing.T, ctx context.Context, token string) {
	t.Helper()
	do(t, ctx, chromedp.WaitVisible("#token"), chromedp.SetValue("#token", token), chromedp.Click("#sign-in button"))
}

// live are rows of the last hour of the machine's clock, which the page goes by; the first half is published as final.
func live(t *testing.T, r *rig, clicks int64) (rows []schemas.MinuteRow, newest schemas.MinuteRow) {
	t.Helper()
	this := time.Now().UTC().Truncate(time.Minute).UnixMilli()
	for i := range int64(60) {
		for ad := range int64(4) {
			m := row(0, "adv_1", fmt.Sprintf("cmp_%d", ad%2), fmt.Sprintf("ad_%d", ad), clicks+(i*7+ad*13)%40)
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
	rows, newest := live(t, r, 20)
	ctx := browser(t)
	do(t, ctx, chromedp.Navigate(r.url))

	signIn(t, ctx, "not a token")
	wait(t, ctx, 10*time.Second, `document.getElementById("sign-in-error").textContent.includes("not accepted")`)

	var clicks int64
	for i := range rows {
		clicks += rows[i].UniqueClicks
	}
	clicks -= sumOf(rows, rows[len(rows)-1].MinuteMillis) // the minute an hour ago may be out of the range by now
	signIn(t, ctx, today(r, "adv_1"))
	wait(t, ctx, 20*time.Second, fmt.Sprintf(`+document.getElementById("total-clicks").dataset.value >= %d`, clicks))
	wait(t, ctx, 10*time.Second, `document.querySelectorAll("#top-ads tbody tr").length === 4 && document.querySelectorAll("#rules tbody tr").length === 1`)
	wait(t, ctx, 10*time.Second, `document.getElementById("balance").dataset.value === "-12.3456" && document.getElementById("causes").innerText.includes("late in stream")`)
	screenshot(t, ctx, "dashboard-light.png")

	before := value[int64](t, ctx, `+document.getElementById("total-clicks").dataset.value`)
	newest.UniqueClicks, newest.RawClicks, newest.Version = newest.UniqueClicks+1, newest.RawClicks+1, 2
	if err := r.store.Upsert(t.Context(), []schemas.MinuteRow{newest}, serving.Progress{PolicyHash: "p"}); err != nil {
		t.Fatal(err)
	}
	took := wait(t, ctx, 5*time.Second, fmt.Sprintf(`+document.getElementById("total-clicks").dataset.value === %d`, before+1))
	t.Logf("a click that was published was on the page after %s", took.Round(time.Millisecond))

	t.Run("table", func(t *testing.T) { pageTable(t, ctx) })
	t.Run("keyboard", func(t *testing.T) { pageKeyboard(t, ctx) })
	t.Run("campaign filter", func(t *testing.T) {
		choose(t, ctx, "campaign", "cmp_1")
		wait(t, ctx, 10*time.Second, `document.querySelectorAll("#top-ads tbody tr").length === 2`)
		choose(t, ctx, "campaign", "")
	})
	t.Run("dark", func(t *testing.T) {
		choose(t, ctx, "theme", "dark")
		wait(t, ctx, 10*time.Second, `getComputedStyle(document.body).backgroundColor === "rgb(18, 21, 27)"`)
		wait(t, ctx, 10*time.Second, `document.querySelectorAll("#top-ads tbody tr").length === 4`)
		screenshot(t, ctx, "dashboard-dark.png")
	})
	t.Run("phone", func(t *testing.T) {
		do(t, ctx, chromedp.EmulateViewport(360, 740, chromedp.EmulateScale(2), chromedp.EmulateMobile))
		wait(t, ctx, 10*time.Second, `document.documentElement.scrollWidth <= 360`)
		screenshot(t, ctx, "dashboard-phone.png")
	})
	t.Run("sign out", func(t *testing.T) {
		do(t, ctx, chromedp.Click("#sign-out"), chromedp.WaitVisible("#token"))
		wait(t, ctx, 5*time.Second, `sessionStorage.length === 0 && document.getElementById("dashboard").hidden`)
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
	do(t, ctx, chromedp.Click("#series-details summary"))
	wait(t, ctx, 5*time.Second, `[...document.querySelectorAll("#series-table tbody tr")].length >= 59`)
	states := value[string](t, ctx, `[...new Set([...document.querySelectorAll("#series-table tbody td:last-child")].map((e) => e.textContent))].sort().join()`)
	if states != "final,provisional" {
		t.Errorf("states of points: got %q", states)
	}
	wait(t, ctx, 5*time.Second, `[...document.querySelectorAll("#series-table tbody td:nth-child(2)")].reduce((n, e) => n + Number(e.textContent.replace(/,/g, "")), 0)
		=== +document.getElementById("total-clicks").dataset.value`)
	do(t, ctx, chromedp.Click("#series-details summary"))
}

// pageKeyboard finds every control with a name, in the order of the tab key, and every chart described.
func pageKeyboard(t *testing.T, ctx context.Context) {
	unnamed := value[string](t, ctx, `[...document.querySelectorAll("input, select, button")].filter((e) => e.offsetParent && !(e.labels && e.labels.length) && !e.textContent.trim()).map((e) => e.id).join()`)
	if unnamed != "" {
		t.Errorf("controls without a name: %s", unnamed)
	}
	wait(t, ctx, 5*time.Second, `[...document.querySelectorAll("[role=img]")].every((e) => e.getAttribute("aria-label").includes("in total"))`)
	value[bool](t, ctx, `document.querySelector(".skip").focus() === undefined`)
	var order []string
	for range 4 {
		do(t, ctx, chromedp.KeyEvent("\t"))
		order = append(order, value[string](t, ctx, `document.activeElement.id || document.activeElement.className || document.activeElement.tagName`))
	}
	if got, want := strings.Join(order, " "), "theme sign-out range campaign"; got != want {
		t.Errorf("the tab key goes to %s, want %s", got, want)
	}
}

func TestPageWithoutNumbers(t *testing.T) {
	r := setup(t, nil, withPage, func(_ *Config, d *Deps) { d.Ledger, d.Archive, d.Statements = nil, nil, nil })
	ctx := browser(t)
	do(t, ctx, chromedp.Navigate(r.url))
	signIn(t, ctx, today(r, ""))
	wait(t, ctx, 10*time.Second, `document.getElementById("status").textContent.includes("Enter the advertiser")`)
	do(t, ctx, chromedp.SendKeys("#advertiser", "adv_1\r"))
	wait(t, ctx, 10*time.Second, `document.getElementById("status").textContent.includes("No clicks were recorded")`)
	wait(t, ctx, 10*time.Second, `document.getElementById("balance-note").textContent.includes("no ledger") &&
		document.getElementById("reconciliation-note").textContent.includes("no archive")`)
	screenshot(t, ctx, "dashboard-empty.png")
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	wait(t, ctx, 15*time.Second, `document.getElementById("status").classList.contains("bad")`)
	screenshot(t, ctx, "dashboard-error.png")
}
