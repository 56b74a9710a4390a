package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
)

// States of the counts by rule.
const (
	RulesReady   = "ready"   // the counts are those of Days
	RulesPending = "pending" // they are being counted: ask again
	RulesNone    = "none"    // the batch layer has judged none of the days
)

// RuleCounts are an advertiser's invalid clicks by rule. A click that several rules hit is in each.
type RuleCounts struct {
	State string      `json:"state"`
	Days  []string    `json:"days"` // those that the batch layer has judged, YYYY-MM-DD
	Rules []RuleCount `json:"rules"`
}

// RuleCount is one rule.
type RuleCount struct {
	Rule       string `json:"rule"`
	Clicks     int64  `json:"clicks"`
	CostMicros int64  `json:"cost_micros"` // what they would have cost
}

type invalidDocument struct {
	AdvertiserID    string     `json:"advertiser_id"`
	Currency        string     `json:"currency"`
	StartTime       int64      `json:"start_time"`
	EndTime         int64      `json:"end_time"`
	Clicks          int64      `json:"clicks"`
	InvalidClicks   int64      `json:"invalid_clicks"`
	DuplicateClicks int64      `json:"duplicate_clicks"`
	ByRule          RuleCounts `json:"by_rule"`
}

func (h *Handler) invalidTraffic(ctx context.Context, claims bearer.Claims, rawQuery string) (*answer, error) {
	p := parseParameters(rawQuery)
	sc := scope{advertiserID: p.id("advertiser_id", true)}
	if err := allow(claims, sc.advertiserID); err != nil {
		return nil, err
	}
	sc.span, sc.campaignID = p.span(minuteSeconds), p.id("campaign_id", false)
	if bad := p.check(); bad != nil {
		return nil, bad
	}
	// One bucket that holds any time: all is one point.
	points, err := h.store.series(ctx, pageOf{scope: sc, bucket: 1 << 40, part: byNone, after: start, limit: 1})
	if err != nil {
		return nil, err
	}
	doc := invalidDocument{AdvertiserID: sc.advertiserID, Currency: h.cfg.Currency, StartTime: sc.from, EndTime: sc.to,
		ByRule: RuleCounts{State: RulesNone, Days: []string{}, Rules: []RuleCount{}}}
	for i := range points {
		doc.Clicks, doc.InvalidClicks, doc.DuplicateClicks = points[i].clicks, points[i].invalid, points[i].duplicates
	}
	if h.deps.Archive != nil {
		if doc.ByRule, err = h.deps.Archive.InvalidByRule(ctx, sc.advertiserID, daysOf(sc.span)); err != nil {
			return nil, err
		}
	}
	return &answer{value: doc}, nil
}

// daysOf are the UTC days of a range, the newest of them.
func daysOf(r span) []string {
	first, last := r.from/daySeconds, (r.to-1)/daySeconds
	first = max(first, last-ruleDaysMax+1)
	var days []string
	for day := first; day <= last; day++ {
		days = append(days, time.Unix(day*daySeconds, 0).UTC().Format(time.DateOnly))
	}
	return days
}

func (h *Handler) balance(ctx context.Context, claims bearer.Claims, rawQuery string) (*answer, error) {
	p := parseParameters(rawQuery)
	advertiserID := p.id("advertiser_id", true)
	if err := allow(claims, advertiserID); err != nil {
		return nil, err
	}
	if bad := p.check(); bad != nil {
		return nil, bad
	}
	if h.deps.Ledger == nil {
		return nil, notFound("no ledger is configured")
	}
	b, err := h.deps.Ledger.Balance(ctx, advertiserID)
	if errors.Is(err, ledgerpg.ErrUnknown) {
		return nil, notFound("the advertiser has no account in the ledger")
	}
	if err != nil {
		return nil, err
	}
	return &answer{value: struct {
		AdvertiserID string `json:"advertiser_id"`
		Name         string `json:"name"`
		Currency     string `json:"currency"`
		// Balance is decimal text with four places, negative for what is owed.
		Balance           string `json:"balance"`
		ChargedMicros     int64  `json:"charged_micros"`
		PaidMicros        int64  `json:"paid_micros"`
		CreditedMicros    int64  `json:"credited_micros"`
		CreditLimitMicros int64  `json:"credit_limit_micros"`
		IsOverLimit       bool   `json:"is_over_limit"`
	}{b.AdvertiserID, b.Name, cmp.Or(b.Currency, h.cfg.Currency), money.FormatDecimal4(b.BalanceDecimal4), int64(b.ChargedMicros), int64(b.PaidMicros),
		int64(b.CreditedMicros), int64(b.CreditLimitMicros), b.IsOverLimit}}, nil
}

// documentKinds are the media types of statements by format.
var documentKinds = map[string]string{
	"html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8", "json": "application/json",
}

func (h *Handler) statement(ctx context.Context, claims bearer.Claims, rawQuery string) (*answer, error) {
	p := parseParameters(rawQuery)
	advertiserID := p.id("advertiser_id", true)
	if err := allow(claims, advertiserID); err != nil {
		return nil, err
	}
	month, ok := p.date("month", "2006-01", "2026-11")
	if !ok && len(p.values["month"]) == 0 {
		p.badf("month", "is missing")
	}
	format := p.oneOf("format", "html", "html", "csv", "json")
	if bad := p.check(); bad != nil {
		return nil, bad
	}
	if h.deps.Statements == nil {
		return nil, notFound("no ledger is configured")
	}
	body, err := h.deps.Statements.Statement(ctx, advertiserID, month, format)
	if errors.Is(err, ErrNotFound) {
		return nil, notFound("the advertiser has no account in the ledger")
	}
	if err != nil {
		return nil, err
	}
	return &answer{body: body, kind: documentKinds[format], name: fmt.Sprintf("statement-%s.%s", month.Format("2006-01"), format)}, nil
}
