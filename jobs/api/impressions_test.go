package api

import (
	"reflect"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// TestImpressions joins clicks and impressions: minutes with clicks alone, with impressions alone, and
// with both; over pages too.
func TestImpressions(t *testing.T) {
	t.Parallel()
	r := setup(t, rows())
	shown := func(after int64, advertiser, ad, device string, raw, unique int64) schemas.MinuteRow {
		return schemas.MinuteRow{MinuteKey: schemas.MinuteKey{MinuteMillis: day + after*minute, AdvertiserID: advertiser, CampaignID: "cmp_1",
			AdID: ad, DeviceType: device, CountryCode: "DE"}, RawClicks: raw, UniqueClicks: unique, Version: 1}
	}
	err := r.store.Impressions().Upsert(t.Context(), []schemas.MinuteRow{
		shown(0, "adv_1", "ad_1", "mobile", 250, 200),
		shown(0, "adv_1", "ad_1", "desktop", 40, 40),
		shown(0, "adv_1", "ad_7", "mobile", 9, 9),
		shown(3, "adv_1", "ad_1", "mobile", 5, 5),
		shown(0, "adv_2", "ad_1", "mobile", 1000, 1000),
	}, serving.Progress{PolicyHash: "p"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"0 ad_1 14 2.10 240 0.058333 4 2 provisional", "0 ad_2 1 0.15 0 - 2 1 provisional", "0 ad_7 0 0.00 9 0 0 0 provisional",
		"1 ad_1 2 0.30 0 - 2 1 provisional", "3 ad_1 0 0.00 5 0 0 0 provisional", "7 ad_1 3 0.45 0 - 2 1 provisional"}
	for _, limit := range []string{"1", "2", "4", "100"} {
		var got []string
		pairs := []string{"granularity", "1m", "start_time", at(0), "end_time", at(10), "limit", limit}
		for page := read[series](t, r, analyticsOf(pairs...), token(t, "adv_1")); ; {
			got = append(got, page.lines()...)
			if page.NextCursor == "" {
				break
			}
			page = read[series](t, r, analyticsOf(append(pairs, "cursor", page.NextCursor)...), token(t, "adv_1"))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("limit %s: got %q, want %q", limit, got, want)
		}
	}
	top := r.get(t, query("/api/v1/advertisers/top", "advertiser_id", "adv_1", "start_time", at(0), "end_time", at(10), "by", "campaign"), token(t, "adv_1"))
	if !strings.Contains(string(top.body), `"id":"cmp_1","clicks":19,"total_spend":2.85,"impressions":254,"ctr":0.074803`) {
		t.Errorf("top: got %s", top.body)
	}
}
