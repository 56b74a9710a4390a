package nightly

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const secret = "hook-token-4711"

// webhookTo is a webhook whose URL stands in a file and leads to the handler.
func webhookTo(t *testing.T, handler http.HandlerFunc) *Webhook {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "webhook")
	if err := os.WriteFile(file, []byte(server.URL+"/"+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := ReadWebhook(file)
	if err != nil {
		t.Fatal(err)
	}
	w.transport, w.first = server.Client().Transport, time.Millisecond
	return w
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		statuses []int // of the tries; the last stays
		tries    int64
		isSent   bool
	}{
		"at once":           {[]int{204}, 1, true},
		"after an outage":   {[]int{503, 429, 200}, 3, true},
		"away for good":     {[]int{500}, webhookTries, false},
		"not known there":   {[]int{404}, 1, false},
		"redirected abroad": {[]int{302}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int64
			w := webhookTo(t, func(w http.ResponseWriter, req *http.Request) {
				n := int(tries.Add(1))
				var got Report
				if err := json.NewDecoder(req.Body).Decode(&got); err != nil || got.Text != "all is well" ||
					req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" || req.URL.Path != "/"+secret {
					t.Errorf("%s %s: %+v, %v", req.Method, req.URL, got, err)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tc.statuses[min(n, len(tc.statuses))-1])
			})
			err := w.Send(t.Context(), &Report{Text: "all is well"})
			if (err == nil) != tc.isSent || tries.Load() != tc.tries {
				t.Errorf("%d tries, %v, want %d", tries.Load(), err, tc.tries)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells the URL: %v", err)
			}
		})
	}
}

// TestWebhookKeepsItsSecret has errors of every kind: none quotes the URL.
func TestWebhookKeepsItsSecret(t *testing.T) {
	t.Parallel()
	slow := webhookTo(t, func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body) // after which the server sees that the client is gone
		<-req.Context().Done()
	})
	slow.Timeout = 20 * time.Millisecond
	away := webhookTo(t, func(http.ResponseWriter, *http.Request) {})
	away.url = "https://127.0.0.1:1/" + secret
	for name, w := range map[string]*Webhook{"slow": slow, "away": away} {
		if err := w.Send(t.Context(), &Report{}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want an error without the URL", name, err)
		}
	}
	for _, text := range []string{"", "http://example.com/" + secret, "https:///" + secret, "https://exa mple/" + secret, secret} {
		file := filepath.Join(t.TempDir(), "webhook")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadWebhook(file); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v, want an error without the URL", text, err)
		}
	}
	if _, err := ReadWebhook("/nowhere/webhook"); err == nil {
		t.Error("a file that is not there was read")
	}
}
