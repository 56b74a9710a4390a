package api

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strings"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/internal/money"
)

// decimal is an amount as a JSON number with two to four decimal places. It is made of whole numbers,
// never of a float.
type decimal int64 // micros

// MarshalJSON rounds half to even to four places.
func (d decimal) MarshalJSON() ([]byte, error) {
	text := money.FormatDecimal4(money.RoundHalfEvenToDecimal4(int64(d)))
	for range 2 {
		text = strings.TrimSuffix(text, "0")
	}
	return []byte(text), nil
}

// clickRate is clicks by impressions, null without impressions.
type clickRate struct{ clicks, impressions int64 }

// MarshalJSON gives six decimal places.
func (r clickRate) MarshalJSON() ([]byte, error) {
	if r.impressions == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(math.Round(float64(r.clicks)/float64(r.impressions)*1e6) / 1e6)
}

// pointDocument is one point of a series.
type pointDocument struct {
	Timestamp       int64     `json:"timestamp"` // begin of the bucket
	AdID            string    `json:"ad_id,omitempty"`
	CampaignID      string    `json:"campaign_id,omitempty"`
	Clicks          int64     `json:"clicks"`
	TotalSpend      decimal   `json:"total_spend"`
	Impressions     int64     `json:"impressions"`
	ClickRate       clickRate `json:"ctr"`
	SpendMicros     int64     `json:"spend_micros"`
	InvalidClicks   int64     `json:"invalid_clicks"`
	DuplicateClicks int64     `json:"duplicate_clicks"`
	IsFinal         bool      `json:"is_final"`
}

type analyticsDocument struct {
	AdvertiserID string          `json:"advertiser_id"`
	Granularity  string          `json:"granularity"`
	Currency     string          `json:"currency"`
	StartTime    int64           `json:"start_time"`
	EndTime      int64           `json:"end_time"`
	GroupBy      part            `json:"group_by"`
	Series       []pointDocument `json:"series"`
	NextCursor   string          `json:"next_cursor,omitempty"`
}

func (h *Handler) session(_ context.Context, claims bearer.Claims, rawQuery string) (*answer, error) {
	if p := parseParameters(rawQuery).check(); p != nil {
		return nil, p
	}
	role := "advertiser"
	if claims.IsAdmin {
		role = bearer.RoleAdmin
	}
	return &answer{value: struct {
		Subject      string `json:"subject"`
		AdvertiserID string `json:"advertiser_id"`
		Role         string `json:"role"`
		ExpiresAt    int64  `json:"expires_at"`
		Currency     string `json:"currency"`
	}{claims.Subject, claims.AdvertiserID, role, claims.ExpiresAt.Unix(), h.cfg.Currency}}, nil
}

// allow returns the problem of a bearer who may not see the advertiser. It comes before those of other
// parameters, so that nothing is told of what is not his.
func allow(claims bearer.Claims, advertiserID string) error {
	if advertiserID == "" || claims.MaySee(advertiserID) {
		return nil
	}
	return newProblem(http.StatusForbidden, "forbidden", "Forbidden", "the token does not open this advertiser's numbers")
}

func (h *Handler) analytics(ctx context.Context, claims bearer.Claims, rawQuery string) (*answer, error) {
	p := parseParameters(rawQuery)
	q := pageOf{scope: scope{advertiserID: p.id("advertiser_id", true)}}
	if err := allow(claims, q.advertiserID); err != nil {
		return nil, err
	}
	var granularity string
	granularity, q.bucket = p.granularity()
	q.span = p.span(q.bucket)
	q.campaignID, q.adID = p.id("campaign_id", false), p.id("ad_id", false)
	q.part = part(p.oneOf("group_by", string(byAd), string(byAd), string(byCampaign), string(byNone)))
	limit := p.number("limit", pointsDefault, PointsMax)
	q.limit, q.after = limit+1, p.cursor() // one more tells whether there is a next page
	if bad := p.check(); bad != nil {
		return nil, bad
	}
	points, err := h.store.series(ctx, q)
	if err != nil {
		return nil, err
	}
	cuts, err := h.store.finalCuts(ctx)
	if err != nil {
		return nil, err
	}
	doc := analyticsDocument{AdvertiserID: q.advertiserID, Granularity: granularity, Currency: h.cfg.Currency,
		StartTime: q.from, EndTime: q.to, GroupBy: q.part, Series: []pointDocument{}}
	if len(points) > limit {
		points = points[:limit]
		doc.NextCursor = points[limit-1].String()
	}
	for i := range points {
		at := &points[i]
		isFinal := at.isFinal && at.bucket+q.bucket <= cuts[at.bucket/daySeconds*daySeconds]
		doc.Series = append(doc.Series, at.document(q.part, isFinal))
	}
	return &answer{value: doc}, nil
}

func (p *point) document(by part, isFinal bool) pointDocument {
	doc := pointDocument{Timestamp: p.bucket, Clicks: p.clicks, TotalSpend: decimal(p.spendMicros), SpendMicros: p.spendMicros,
		Impressions: p.impressions, ClickRate: clickRate{p.clicks, p.impressions}, InvalidClicks: p.invalid,
		DuplicateClicks: p.duplicates, IsFinal: isFinal}
	switch by {
	case byAd:
		doc.AdID = p.part
	case byCampaign:
		doc.CampaignID = p.part
	case byNone:
	}
	return doc
}

type topDocument struct {
	AdvertiserID string        `json:"advertiser_id"`
	By           part          `json:"by"`
	Currency     string        `json:"currency"`
	StartTime    int64         `json:"start_time"`
	EndTime      int64         `json:"end_time"`
	Items        []topItemJSON `json:"items"`
}

type topItemJSON struct {
	ID              string    `json:"id"`
	Clicks          int64     `json:"clicks"`
	TotalSpend      decimal   `json:"total_spend"`
	Impressions     int64     `json:"impressions"`
	ClickRate       clickRate `json:"ctr"`
	SpendMicros     int64     `json:"spend_micros"`
	InvalidClicks   int64     `json:"invalid_clicks"`
	DuplicateClicks int64     `json:"duplicate_clicks"`
}

const minuteSeconds = 60

func (h *Handler) top(ctx context.Context, claims bearer.Claims, rawQuery string) (*answer, error) {
	p := parseParameters(rawQuery)
	sc := scope{advertiserID: p.id("advertiser_id", true)}
	if err := allow(claims, sc.advertiserID); err != nil {
		return nil, err
	}
	sc.span, sc.campaignID = p.span(minuteSeconds), p.id("campaign_id", false)
	by := part(p.oneOf("by", string(byCampaign), string(byCampaign), string(byAd)))
	limit := p.number("limit", topDefault, topMax)
	if bad := p.check(); bad != nil {
		return nil, bad
	}
	parts, err := h.store.top(ctx, sc, by, limit)
	if err != nil {
		return nil, err
	}
	doc := topDocument{AdvertiserID: sc.advertiserID, By: by, Currency: h.cfg.Currency, StartTime: sc.from, EndTime: sc.to,
		Items: []topItemJSON{}}
	for _, t := range parts {
		doc.Items = append(doc.Items, topItemJSON{ID: t.id, Clicks: t.clicks, TotalSpend: decimal(t.spendMicros), SpendMicros: t.spendMicros,
			Impressions: t.impressions, ClickRate: clickRate{t.clicks, t.impressions}, InvalidClicks: t.invalid, DuplicateClicks: t.duplicates})
	}
	return &answer{value: doc}, nil
}
