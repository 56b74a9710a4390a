package generate

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// TestImpressions: clicks and impressions come into topics of their own, as they were generated, straight, through
// a gateway, and by both ways.
func TestImpressions(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"log", "gateway", "both"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			k := broker(t)
			load := loadgen.DefaultConfig(9, 3_000, start, 2_000)
			load.ImpressionsPerClick = 3
			cfg := Config{Load: load, Concurrency: 16, RoundRobin: partitions}
			if way != "log" {
				cfg.Gateway, cfg.BrokenToLog, cfg.AudienceToLog, cfg.Load.StartMillis = startGateway(t, k), true, way == "both", 0
			}
			var last int64
			r, err := Run(t.Context(), cfg, Deps{Producer: k, Progress: func(_ string, done, _ int64) { last = done }})
			if err != nil {
				t.Fatal(err)
			}
			gen, err := loadgen.New(load)
			if err != nil {
				t.Fatal(err)
			}
			wantClicks, wantClicked, wantImpressions := 0, int64(0), map[string]int{}
			decoder := schemas.NewDecoder(policy.Default())
			var it loadgen.Item
			for gen.Next(&it) {
				if !it.IsImpression {
					wantClicks++
					continue
				}
				if it.IsClicked {
					wantClicked++
				}
				click, reason := decoder.Decode(schemas.Record{TimestampMicros: it.ReceivedAtMicros, Value: it.AppendValue(nil)})
				wantImpressions[essence(&click, reason)]++
			}
			got := map[string]int{}
			for _, rec := range k.of(t, schemas.TopicImpressions) {
				click, reason := decoder.Decode(rec)
				if string(rec.Key) != click.ClickID {
					t.Fatalf("the key of %s is %q", click.ClickID, rec.Key)
				}
				got[essence(&click, reason)]++
			}
			if !maps.Equal(got, wantImpressions) {
				t.Errorf("got %d impressions, want %d, or others", len(got), len(wantImpressions))
			}
			if n := len(k.records(t)); n != wantClicks || r.LogRecords+r.Redirected != int64(n) || r.Records != int64(n) || last != int64(n) {
				t.Errorf("got %d clicks, progress %d, %+v; want %d", n, last, r, wantClicks)
			}
			byHTTP := map[string]int64{"gateway": gen.Impressions(), "both": wantClicked}[way]
			if r.Impressions != byHTTP || r.Answers["200"] != byHTTP || r.LogImpressions != gen.Impressions()-byHTTP {
				t.Errorf("got %+v, want %d impressions by HTTP, %d in all", r, byHTTP, gen.Impressions())
			}
		})
	}
}

// TestRefusedImpressionsAreAnError: an answer that says that nothing was recorded is no success, a redirect neither.
func TestRefusedImpressionsAreAnError(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.Header().Set("Location", r.URL.Query().Get("redirect_url"))
			w.WriteHeader(http.StatusFound)
		}
	}))
	defer srv.Close()
	cfg := Config{Load: loadgen.DefaultConfig(2, 50, 0, 1e6), Gateway: srv.URL}
	cfg.Load.ImpressionsPerClick = 2
	r, err := Run(t.Context(), cfg, Deps{})
	if err == nil || r.Impressions != 0 || r.Refused == 0 || r.Redirected+r.Skipped != 50 {
		t.Errorf("got %+v, %v", r, err)
	}
}
