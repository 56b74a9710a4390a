package explain

import (
	"context"
	"database/sql"
	"errors"
	"sort"
	"time"

	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// velocityClicksMax is how many clicks of an identity are listed.
const velocityClicksMax = 200

var velocityRules = schemas.RuleNames[:2]

// Velocity is the identity that a velocity rule hit, and its clicks.
type Velocity struct {
	Rule string `json:"rule"`
	// Who is the address in canonical form, or the user; with AdID it is the identity.
	Who       string `json:"who"`
	AdID      string `json:"ad_id"`
	MaxClicks int    `json:"max_clicks"` // that the window may hold
	Window    string `json:"window"`
	Cooling   string `json:"cooling"`
	// Count is how many unique clicks of the identity lie in the window that ends with the click, up
	// to and including it.
	Count int `json:"count"`
	// Trip is the last click over the limit, at most Cooling before this one or this one itself; nil
	// where the batch's unique clicks do not come to one, which is a difference of the layers.
	Trip *Trip `json:"trip"`
	// Clicks are those of the window that ends with the trip, or with the click where there is none,
	// in event order, copies and late clicks included, at most 200: the last.
	Clicks      []IdentityClick `json:"clicks"`
	IsTruncated bool            `json:"is_truncated"`
}

// Trip is a click over the limit.
type Trip struct {
	IdentityClick

	Count  int  `json:"count"` // in its window
	IsSelf bool `json:"is_self"`
}

// IdentityClick is a click of an identity. An empty verdict of the stream is one that it has no
// decision on; the batch's is billable then.
type IdentityClick struct {
	Position

	ClickID   string    `json:"click_id"`
	EventTime time.Time `json:"event_time"`
	Batch     string    `json:"batch"`
	Stream    string    `json:"stream"`
	IsLate    bool      `json:"is_late"`
}

// isUnique: it counts, by the batch.
func (c *IdentityClick) isUnique() bool {
	return c.Batch == schemas.Billable.String() || c.Batch == schemas.Invalid.String()
}

// velocity looks the identity's clicks up and counts them again.
func (e *explainer) velocity(ctx context.Context, c *Copy, rule string) (Velocity, error) {
	r := e.revision(c)
	v := Velocity{Rule: rule, AdID: c.Fields.AdID, MaxClicks: r.Velocity.MaxClicks, Window: r.Velocity.Window.String(),
		Cooling: r.Velocity.Cooling.String()}
	if v.Who = c.Fields.UserID; rule == velocityRules[0] {
		v.Who = c.Fields.Address
	}
	clicks, err := e.identityClicks(ctx, c, v.Who, rule)
	if err != nil {
		return v, err
	}
	v.count(clicks, c.position(), e.cfg.Policy)
	return v, nil
}

// identityClicks are those of the longest cooling time and window before the click, in event order.
func (e *explainer) identityClicks(ctx context.Context, c *Copy, who, rule string) ([]IdentityClick, error) {
	back := policy.Max(e.cfg.Policy, func(r *policy.Revision) time.Duration { return r.Velocity.Cooling }) +
		policy.Max(e.cfg.Policy, func(r *policy.Revision) time.Duration { return r.Velocity.Window })
	first := c.EventTime.Add(-back)
	if err := e.useResults(ctx, first, *c.EventTime); err != nil {
		return nil, err
	}
	var clicks []IdentityClick
	err := e.query(ctx, "explain_identity", func(rows *sql.Rows) error {
		var k IdentityClick
		var event int64
		var user, ip string
		if err := rows.Scan(&k.Partition, &k.Offset, &event, &k.ClickID, &user, &ip, &k.Batch, &k.Stream, &k.IsLate); err != nil {
			return err
		}
		if rule == velocityRules[0] {
			addr, ok := canonical(ip)
			if !ok || addr.String() != who {
				return nil
			}
		} else if user != who {
			return nil
		}
		if k.Batch == "" {
			k.Batch = schemas.Billable.String()
		}
		k.EventTime = time.UnixMilli(event).UTC()
		clicks = append(clicks, k)
		return nil
	}, c.Fields.AdID, first.UnixMicro(), c.EventTime.UnixMicro())
	return clicks, err
}

// count applies the rule to the clicks in event order up to the one at the position: the first click
// of a window is the first within its length before the last one, the begin itself outside.
func (v *Velocity) count(clicks []IdentityClick, at schemas.Position, p *policy.Policy) {
	var unique []int // indices of the clicks that count
	windowFrom := 0  // in clicks, of the window that is listed
	end := len(clicks)
	for i := range clicks {
		k := &clicks[i]
		isSelf := k.Partition == at.Partition && k.Offset == at.Offset
		if !k.isUnique() && !isSelf {
			continue
		}
		unique = append(unique, i)
		rule := p.At(k.EventTime.UnixMilli()).Velocity
		from := k.EventTime.Add(-rule.Window)
		low := sort.Search(len(unique)-1, func(j int) bool { return clicks[unique[j]].EventTime.After(from) })
		n, first := len(unique)-low, unique[low]
		if n > rule.MaxClicks {
			v.Trip, windowFrom, end = &Trip{IdentityClick: *k, Count: n, IsSelf: isSelf}, first, i+1
		}
		if isSelf {
			v.Count = n
			if v.Trip != nil && !v.Trip.IsSelf && k.EventTime.Sub(v.Trip.EventTime) >= rule.Cooling {
				v.Trip = nil
			}
			if v.Trip == nil {
				windowFrom, end = first, i+1
			}
			break
		}
	}
	v.Clicks = clicks[windowFrom:end]
	if v.IsTruncated = len(v.Clicks) > velocityClicksMax; v.IsTruncated {
		v.Clicks = v.Clicks[len(v.Clicks)-velocityClicksMax:]
	}
}

// useResults makes the view explain_judged of the newest results of the days of a span.
func (e *explainer) useResults(ctx context.Context, first, last time.Time) error {
	var decisions, deadLetters []any
	for day := first.UTC().Truncate(24 * time.Hour); !day.After(last); day = day.AddDate(0, 0, 1) {
		d, err := e.result(ctx, day.Format(time.DateOnly))
		if errors.Is(err, batch.ErrNoResult) {
			continue
		}
		if err != nil {
			return err
		}
		decisions, deadLetters = append(decisions, sqlduck.EscapeGlob(d.Decisions)), append(deadLetters, sqlduck.EscapeGlob(d.DeadLetters))
	}
	if len(decisions) == 0 {
		return e.exec(ctx, "explain_judged_empty")
	}
	if _, err := e.db.Conn.ExecContext(ctx, "set variable explain_decisions = $1::varchar[]", decisions); err != nil {
		return err
	}
	if _, err := e.db.Conn.ExecContext(ctx, "set variable explain_dead_letters = $1::varchar[]", deadLetters); err != nil {
		return err
	}
	return e.exec(ctx, "explain_judged")
}
