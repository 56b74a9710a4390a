package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// series is an answer with amounts as they are written.
type series struct {
	StartTime  int64  `json:"start_time"`
	EndTime    int64  `json:"end_time"`
	NextCursor string `json:"next_cursor"`
	Series     []struct {
		Timestamp       int64
		AdID            string `json:"ad_id"`
		CampaignID      string `json:"campaign_id"`
		Clicks          int64
		TotalSpend      json.Number `json:"total_spend"`
		Impressions     int64
		CTR             *json.Number
		SpendMicros     int64 `json:"spend_micros"`
		InvalidClicks   int64 `json:"invalid_clicks"`
		DuplicateClicks int64 `json:"duplicate_clicks"`
		IsFinal         bool  `json:"is_final"`
	}
}

// lines writes each point in one line: minute of the day, part, clicks, spend, impressions, CTR, invalid,
// duplicate, final.
func (s series) lines() []string {
	var lines []string
	for _, p := range s.Series {
		rate := "-"
		if p.CTR != nil {
			rate = p.CTR.String()
		}
		state := "provisional"
		if p.IsFinal {
			state = "final"
		}
		lines = append(lines, fmt.Sprintf("%d %s%s %d %s %d %s %d %d %s", (p.Timestamp-daySecond)/60, p.AdID, p.CampaignID, p.Clicks,
			p.TotalSpend, p.Impressions, rate, p.InvalidClicks, p.DuplicateClicks, state))
	}
	return lines
}

func at(minuteOfDay int64) string { return strconv.FormatInt(daySecond+minuteOfDay*60, 10) }

func analyticsOf(pairs ...string) string {
	return query("/api/v1/advertisers/analytics", append([]string{"advertiser_id", "adv_1"}, pairs...)...)
}

func rows() []schemas.MinuteRow {
	other := row(0, "adv_1", "cmp_1", "ad_1", 4)
	other.CountryCode = "AT"
	return []schemas.MinuteRow{
		row(0, "adv_1", "cmp_1", "ad_1", 10), other, row(0, "adv_1", "cmp_2", "ad_2", 1),
		row(1, "adv_1", "cmp_1", "ad_1", 2), row(7, "adv_1", "cmp_1", "ad_1", 3), row(65, "adv_1", "cmp_2", "ad_3", 5),
		row(1440, "adv_1", "cmp_1", "ad_1", 6), row(0, "adv_2", "cmp_9", "ad_9", 100),
	}
}

func TestSeries(t *testing.T) {
	t.Parallel()
	r := setup(t, rows())
	for _, tt := range []struct {
		name  string
		pairs []string
		want  []string
	}{
		{"minutes", []string{"granularity", "1m", "start_time", at(0), "end_time", at(10)}, []string{
			"0 ad_1 14 2.10 0 - 4 2 provisional", "0 ad_2 1 0.15 0 - 2 1 provisional",
			"1 ad_1 2 0.30 0 - 2 1 provisional", "7 ad_1 3 0.45 0 - 2 1 provisional"}},
		{"the end is outside", []string{"granularity", "1m", "start_time", at(1), "end_time", at(7)}, []string{"1 ad_1 2 0.30 0 - 2 1 provisional"}},
		{"five minutes", []string{"granularity", "5m", "start_time", at(0), "end_time", at(10)}, []string{
			"0 ad_1 16 2.40 0 - 6 3 provisional", "0 ad_2 1 0.15 0 - 2 1 provisional", "5 ad_1 3 0.45 0 - 2 1 provisional"}},
		{"hours, all together", []string{"granularity", "1h", "start_time", at(0), "end_time", at(120), "group_by", "none"}, []string{
			"0  20 3.00 0 - 10 5 provisional", "60  5 0.75 0 - 2 1 provisional"}},
		{"days by campaign", []string{"granularity", "1d", "start_time", at(0), "end_time", at(2880), "group_by", "campaign"}, []string{
			"0 cmp_1 19 2.85 0 - 8 4 provisional", "0 cmp_2 6 0.90 0 - 4 2 provisional", "1440 cmp_1 6 0.90 0 - 2 1 provisional"}},
		{"a campaign", []string{"granularity", "1h", "start_time", at(0), "end_time", at(60), "campaign_id", "cmp_2"}, []string{
			"0 ad_2 1 0.15 0 - 2 1 provisional"}},
		{"an ad", []string{"granularity", "1d", "start_time", at(0), "end_time", at(1440), "ad_id", "ad_3"}, []string{"0 ad_3 5 0.75 0 - 2 1 provisional"}},
		{"a range within a minute", []string{"granularity", "1m", "start_time", strconv.FormatInt(daySecond+61, 10),
			"end_time", strconv.FormatInt(daySecond+62, 10)}, []string{"1 ad_1 2 0.30 0 - 2 1 provisional"}},
		{"nothing", []string{"granularity", "1m", "start_time", at(-100), "end_time", at(-90)}, nil},
		{"what SQL would make of a name", []string{"granularity", "1m", "start_time", at(0), "end_time", at(10), "campaign_id", "' or 1=1 --"}, nil},
	} {
		got := read[series](t, r, analyticsOf(tt.pairs...), token(t, "adv_1"))
		if lines := got.lines(); !reflect.DeepEqual(lines, tt.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, strings.Join(lines, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

func TestPointsAreFinalBelowTheCut(t *testing.T) {
	t.Parallel()
	r := setup(t, rows())
	final := row(0, "adv_1", "cmp_1", "ad_1", 15)
	final.IsFinal, final.Version = true, serving.FinalVersion
	cut := serving.FinalDay{DayMillis: day, CutMillis: day + 2*minute}
	if err := r.store.PublishFinal(t.Context(), cut, []schemas.MinuteRow{final}); err != nil {
		t.Fatal(err)
	}
	for granularity, want := range map[string][]string{
		"1m": {"0  15 2.25 0 - 2 1 final", "7  3 0.45 0 - 2 1 provisional"},
		"5m": {"0  15 2.25 0 - 2 1 provisional", "5  3 0.45 0 - 2 1 provisional"}, // the bucket is not over at the cut
	} {
		got := read[series](t, r, analyticsOf("granularity", granularity, "start_time", at(0), "end_time", at(10), "group_by", "none"), token(t, "adv_1"))
		if lines := got.lines(); !reflect.DeepEqual(lines, want) {
			t.Errorf("%s: got %q, want %q", granularity, lines, want)
		}
	}
}

func TestPagesTogetherAreTheWhole(t *testing.T) {
	t.Parallel()
	var all []schemas.MinuteRow
	for m := range int64(7) {
		for ad := range 5 {
			all = append(all, row(m, "adv_1", "cmp_1", fmt.Sprintf("ad_%d", ad), m+1))
		}
	}
	r := setup(t, all)
	span := []string{"granularity", "1m", "start_time", at(0), "end_time", at(10)}
	want := read[series](t, r, analyticsOf(span...), token(t, "adv_1")).lines()
	if len(want) != 35 {
		t.Fatalf("got %d points, want 35", len(want))
	}
	for _, limit := range []int{1, 4, 5, 34, 35, 36} {
		var got []string
		cursor := ""
		for pages := 1; ; pages++ {
			pairs := append([]string{"limit", strconv.Itoa(limit)}, span...)
			if cursor != "" {
				pairs = append(pairs, "cursor", cursor)
			}
			page := read[series](t, r, analyticsOf(pairs...), token(t, "adv_1"))
			got = append(got, page.lines()...)
			if cursor = page.NextCursor; cursor == "" {
				if wantPages := (35 + limit - 1) / limit; pages != wantPages {
					t.Errorf("limit %d: got %d pages, want %d", limit, pages, wantPages)
				}
				break
			}
			if len(page.Series) != limit {
				t.Fatalf("limit %d: a page has %d points", limit, len(page.Series))
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("limit %d: got %q, want %q", limit, got, want)
		}
	}
}

func TestDecimal(t *testing.T) {
	t.Parallel()
	for micros, want := range map[int64]string{
		0: "0.00", 243_000_000: "243.00", 1_234_567: "1.2346", 50: "0.00", 150: "0.0002", -1_500_000: "-1.50", 1_230_000: "1.23",
		9_223_372_036_854_775_807: "9223372036854.7758",
	} {
		if got, err := decimal(micros).MarshalJSON(); err != nil || string(got) != want {
			t.Errorf("%d micros: got %s, %v, want %s", micros, got, err, want)
		}
	}
}

func TestTop(t *testing.T) {
	t.Parallel()
	r := setup(t, rows())
	type answer struct {
		Items []struct {
			ID     string
			Clicks int64
		}
	}
	for _, tt := range []struct{ by, limit, campaign, want string }{
		{"campaign", "10", "", "{[{cmp_1 19} {cmp_2 6}]}"},
		{"ad", "2", "", "{[{ad_1 19} {ad_3 5}]}"},
		{"ad", "10", "cmp_2", "{[{ad_3 5} {ad_2 1}]}"},
	} {
		pairs := []string{"advertiser_id", "adv_1", "start_time", at(0), "end_time", at(1440), "by", tt.by, "limit", tt.limit}
		if tt.campaign != "" {
			pairs = append(pairs, "campaign_id", tt.campaign)
		}
		got := read[answer](t, r, query("/api/v1/advertisers/top", pairs...), token(t, "*"))
		if text := fmt.Sprint(got); text != tt.want {
			t.Errorf("by %s: got %s, want %s", tt.by, text, tt.want)
		}
	}
}
