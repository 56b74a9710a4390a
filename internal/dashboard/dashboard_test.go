package dashboard

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// vendored are the files of uPlot 1.6.32 as its npm package has them.
var vendored = map[string]string{
	"web/vendor/uplot-1.6.32.min.js":  "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
	"web/vendor/uplot-1.6.32.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
	"web/vendor/uplot-LICENSE.txt":    "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}

func TestVendoredFilesAreAsReleased(t *testing.T) {
	t.Parallel()
	for name, want := range vendored {
		body, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(body)
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s: got sha256 %s, want %s", name, got, want)
		}
	}
}

func get(t *testing.T, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, request)
	return w
}

// TestThePageIsWhole follows what the page names: all of it is here, nothing is from elsewhere, and no
// script or style stands in the page itself.
func TestThePageIsWhole(t *testing.T) {
	t.Parallel()
	page := get(t, "/")
	body := page.Body.String()
	if page.Code != http.StatusOK || !strings.HasPrefix(page.Header().Get("Content-Type"), "text/html") {
		t.Fatalf("got %d %s", page.Code, page.Header())
	}
	names := regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`).FindAllStringSubmatch(body, -1)
	if len(names) < 6 {
		t.Fatalf("the page names %d files", len(names))
	}
	for _, name := range names {
		got := get(t, name[1])
		if got.Code != http.StatusOK || got.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d %s", name[1], got.Code, got.Header())
		}
	}
	for _, bad := range []string{`//`, `style="`, `onclick`, `<style`, `javascript:`} {
		if strings.Contains(body, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if regexp.MustCompile(`<script(>| [^>]*>[^<])`).MatchString(body) {
		t.Error("the page holds a script of its own")
	}
	csp := page.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(csp, want) || strings.Contains(csp, "unsafe") {
			t.Errorf("policy %q lacks %q", csp, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	if got := get(t, "/", "If-None-Match", get(t, "/").Header().Get("ETag")); got.Code != http.StatusNotModified {
		t.Errorf("an unchanged page: got %d", got.Code)
	}
	for _, path := range []string{"/index.html", "/assets/", "/assets/../dashboard.go", "/nothing"} {
		if got := get(t, path); got.Code != http.StatusNotFound {
			t.Errorf("%s: got %d", path, got.Code)
		}
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d", w.Code)
	}
}
