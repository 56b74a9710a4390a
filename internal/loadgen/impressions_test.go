package loadgen

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/impressionpb"
	"github.com/clickledger/clickledger/schemas/policy"
)

// TestImpressionsLeaveTheClicks: with impressions between them the clicks are the same bytes in the same order, and
// all come in the order of arrival.
func TestImpressionsLeaveTheClicks(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig(7, 20_000, start, 1_000)
	plain := generator(t, cfg)
	cfg.ImpressionsPerClick = 4
	g := generator(t, cfg)
	var it, want Item
	var last, impressions int64
	for g.Next(&it) {
		if it.ReceivedAtMicros < last {
			t.Fatalf("received at %d, after one of %d", it.ReceivedAtMicros, last)
		}
		last = it.ReceivedAtMicros
		if it.IsImpression {
			impressions++
			continue
		}
		if !plain.Next(&want) {
			t.Fatal("more clicks than without impressions")
		}
		if it.Kind != want.Kind || it.ReceivedAtMicros != want.ReceivedAtMicros || !bytes.Equal(it.AppendValue(nil), want.AppendValue(nil)) ||
			!bytes.Equal(it.AppendURL(nil), want.AppendURL(nil)) {
			t.Fatalf("got %s %s, want %s %s", it.Kind, it.AppendURL(nil), want.Kind, want.AppendURL(nil))
		}
	}
	if plain.Next(&want) || g.Counts() != plain.Counts() || g.Impressions() != impressions {
		t.Errorf("got %v and %d impressions, want %v and %d", g.Counts(), g.Impressions(), plain.Counts(), impressions)
	}
	if a, b := digest(t, cfg), digest(t, cfg); a != b {
		t.Error("the same configuration gave other bytes")
	}
}

// TestImpressions: who clicks an ad was shown it before; each is sound, and some are copies.
func TestImpressions(t *testing.T) {
	t.Parallel()
	for _, mean := range []float64{0.5, 3, 20} {
		cfg := DefaultConfig(5, 15_000, start, 500)
		cfg.ImpressionsPerClick = mean
		g, decoder := generator(t, cfg), schemas.NewDecoder(policy.Default())
		var it Item
		shown, ids, perAd, clicksOf := map[string]bool{}, map[string]bool{}, map[string]int{}, map[string]int{}
		var clicks, unseen, copies int
		for g.Next(&it) {
			who := string(it.Click.UserID) + " " + it.adID
			if !it.IsImpression {
				if it.Kind == Ordinary {
					clicks++
					clicksOf[it.adID]++
					if !shown[who] {
						unseen++
					}
				}
				continue
			}
			if it.IsClicked {
				shown[who] = true
			}
			perAd[it.adID]++
			value, url := it.AppendValue(nil), string(it.AppendURL(nil))
			click, reason := decoder.Decode(schemas.Record{TimestampMicros: it.ReceivedAtMicros, Value: value})
			if reason != "" || click.CostMicros != 0 || click.EventTimeMillis < start-1_000 || click.ReceivedAtMicros != it.ReceivedAtMicros {
				t.Fatalf("%s: got %q, %+v", it.Kind, reason, click)
			}
			var event impressionpb.ImpressionEvent
			if err := proto.Unmarshal(value, &event); err != nil || event.GetImpressionId() != click.ClickID || !strings.HasPrefix(click.ClickID, "imp_") {
				t.Fatalf("got %v, %v", &event, err)
			}
			if !strings.HasPrefix(url, "/api/v1/impressions?") || !strings.Contains(url, "impression_id="+click.ClickID+"&") || strings.Contains(url, "cost") || strings.Contains(url, "redirect") {
				t.Fatalf("the URL is %s", url)
			}
			if ids[click.ClickID] != (it.Kind == Duplicate) {
				t.Fatalf("%s is %s", click.ClickID, it.Kind)
			}
			if ids[click.ClickID] {
				copies++
			}
			ids[click.ClickID] = true
		}
		total := int(g.Impressions())
		if got := float64(total) / float64(cfg.Clicks); got < 0.8*mean || got > 1.2*mean {
			t.Errorf("%v: got %v for each click", mean, got)
		}
		if mean >= 2 && unseen > 0 {
			t.Errorf("%v: %d of %d clicks are on what was not shown", mean, unseen, clicks)
		}
		if share := float64(copies) / float64(total); share < 0.01 || share > 0.03 {
			t.Errorf("%v: %d of %d are copies", mean, copies, total)
		}
		low, high := 100.0, 0.0
		for id, n := range clicksOf {
			if n >= 100 {
				rate := float64(n) / float64(perAd[id])
				low, high = min(low, rate), max(high, rate)
			}
		}
		if high < 1.5*low {
			t.Errorf("%v: the ads' rates are %v to %v, all alike", mean, low, high)
		}
	}
}
