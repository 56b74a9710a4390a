// Package browsertest drives a headless Chromium over the dashboard page, for tests.
package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// envArtifacts names the folder for screenshots; unset keeps none.
const envArtifacts = "CLICKLEDGER_TEST_ARTIFACTS"

// pause is the time between two looks at the page.
const pause = 50 * time.Millisecond

// Open starts a headless Chromium, or skips the test where there is none. Whatever the page complains
// about fails the test. The browser ends with the test, or after three minutes.
func Open(t *testing.T) context.Context {
	t.Helper()
	b := find(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(b.path), chromedp.NoSandbox,
		chromedp.WindowSize(1280, 900), chromedp.Flag("force-prefers-reduced-motion", true))
	options = append(options, b.options...)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	watch(t, ctx)
	return ctx
}

// watch fails the test for what the page throws, and for what its policy forbids.
func watch(t *testing.T, ctx context.Context) {
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
}

// Navigate goes to a URL.
func Navigate(t *testing.T, ctx context.Context, url string) {
	t.Helper()
	Do(t, ctx, chromedp.Navigate(url))
}

// Before has a script run in every page that is opened from now on, before its own.
func Before(t *testing.T, ctx context.Context, script string) {
	t.Helper()
	_, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (page.AddScriptToEvaluateOnNewDocumentResult, error) {
		return cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Do performs actions in the page.
func Do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// Value evaluates an expression in the page.
func Value[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// Wait waits until a condition in JavaScript holds, and returns how long that took.
func Wait(t *testing.T, ctx context.Context, limit time.Duration, condition string) time.Duration {
	t.Helper()
	began := time.Now()
	for !Value[bool](t, ctx, "Boolean("+condition+")") {
		if time.Since(began) > limit {
			t.Fatalf("%s: not within %s; the page:\n%s", condition, limit, Value[string](t, ctx, "document.body.innerText"))
		}
		time.Sleep(pause) // a page cannot be waited for by its policy's leave: it forbids eval
	}
	return time.Since(began)
}

// Choose picks an option as a visitor does.
func Choose(t *testing.T, ctx context.Context, id, option string) {
	t.Helper()
	Value[bool](t, ctx, fmt.Sprintf(`(() => { const e = document.getElementById(%q); e.value = %q; return e.dispatchEvent(new Event("change")); })()`, id, option))
}

// SignIn enters a token.
func SignIn(t *testing.T, ctx context.Context, token string) {
	t.Helper()
	Do(t, ctx, chromedp.WaitVisible("#token"), chromedp.SetValue("#token", token), chromedp.Click("#sign-in button"))
}

// Screenshot keeps what the whole page looks like, in the folder that CLICKLEDGER_TEST_ARTIFACTS names.
func Screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	if dir := os.Getenv(envArtifacts); dir != "" {
		Save(t, ctx, filepath.Join(dir, name))
	}
}

// Save writes what the whole page looks like to a file.
func Save(t *testing.T, ctx context.Context, file string) {
	t.Helper()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, png, 0o600)); err != nil {
		t.Fatal(err)
	}
}
