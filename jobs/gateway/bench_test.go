package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/wal"
)

// nowhere takes all and keeps nothing.
type nowhere struct{}

func (nowhere) Append(context.Context, []byte) error { return nil }
func (nowhere) Writable() error                      { return nil }

// discardWriter is a ResponseWriter without a connection.
type discardWriter struct{ header http.Header }

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *discardWriter) WriteHeader(int)             {}

// BenchmarkClick is the handler alone, without net/http, disk and shipping.
func BenchmarkClick(b *testing.B) {
	cfg := Config{RedirectHosts: anyHost, WAL: wal.Config{Dir: "unused"}}.withDefaults()
	h := newHandler(cfg, Deps{Logger: discard, Now: time.Now}, nowhere{}, newMetrics(Deps{}))
	r := httptest.NewRequest(http.MethodGet, (&url.URL{Path: clicksPath, RawQuery: lessonQuery}).String(), nil)
	r.Header.Set("User-Agent", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36")
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(&discardWriter{http.Header{}}, r)
	}
}
