package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/clickledger/clickledger/internal/bearer"
)

// Layer is what one layer counts.
type Layer struct {
	BillableClicks int64 `json:"billable_clicks"`
	SpendMicros    int64 `json:"spend_micros"`
}

// Cause is a part of the difference, batch less stream.
type Cause struct {
	Cause  string `json:"cause"`
	Clicks int64  `json:"clicks"`
	Micros int64  `json:"micros"`
}

// Check is one condition of the gate.
type Check struct {
	Name string `json:"name"`
	IsOK bool   `json:"is_ok"`
}

// Reconciliation is one day's. Of an advertiser it has only what is his: his part of the difference,
// and whether he is held. The causes add up to the difference, in clicks and in micros.
type Reconciliation struct {
	Date         string    `json:"date"`
	AdvertiserID string    `json:"advertiser_id,omitempty"`
	Cut          time.Time `json:"cut"`         // ends what was compared
	IsComplete   bool      `json:"is_complete"` // the cut is the end of the day
	IsPosted     bool      `json:"is_posted"`
	IsHeld       bool      `json:"is_held"`
	// Stream and Batch are over all advertisers; nil for one of them.
	Stream *Layer `json:"stream,omitempty"`
	Batch  *Layer `json:"batch,omitempty"`

	DifferenceClicks  int64   `json:"difference_clicks"`
	DifferenceMicros  int64   `json:"difference_micros"`
	UnexplainedClicks int64   `json:"unexplained_clicks"`
	UnexplainedMicros int64   `json:"unexplained_micros"`
	Causes            []Cause `json:"causes"`
	Gate              []Check `json:"gate"`
}

func (h *Handler) reconciliation(ctx context.Context, claims bearer.Claims, rawQuery string) (*answer, error) {
	p := parseParameters(rawQuery)
	advertiserID := p.id("advertiser_id", false)
	if advertiserID == "" && !claims.IsAdmin {
		if advertiserID = claims.AdvertiserID; advertiserID == "" {
			return nil, newProblem(http.StatusForbidden, "forbidden", "Forbidden", "the token opens no advertiser's numbers")
		}
	}
	if err := allow(claims, advertiserID); err != nil {
		return nil, err
	}
	day := ""
	if at, ok := p.date("date", time.DateOnly, "2026-11-01"); ok {
		day = at.Format(time.DateOnly)
	}
	if bad := p.check(); bad != nil {
		return nil, bad
	}
	if h.deps.Archive == nil {
		return nil, notFound("no archive is configured")
	}
	found, err := h.deps.Archive.Reconciliation(ctx, day, advertiserID)
	switch {
	case errors.Is(err, ErrNotFound) && day != "":
		return nil, notFound("the day was not reconciled yet")
	case errors.Is(err, ErrNotFound):
		return nil, notFound("no day was reconciled yet")
	}
	if err != nil {
		return nil, err
	}
	return &answer{value: found}, nil
}

// Whole fills in what is said of all advertisers together.
func (r *Reconciliation) Whole(stream, batch Layer) {
	r.Stream, r.Batch = &stream, &batch
	r.DifferenceClicks = batch.BillableClicks - stream.BillableClicks
	r.DifferenceMicros = batch.SpendMicros - stream.SpendMicros
}
