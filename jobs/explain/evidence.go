package explain

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// Evidence is what a verdict that bills nothing rests on, looked up in the archive again. What does
// not apply is nil.
type Evidence struct {
	FirstCopy *FirstCopy `json:"first_copy,omitempty"` // of a duplicate
	// Velocity has one item for each velocity rule that either layer says was hit.
	Velocity []Velocity `json:"velocity,omitempty"`
	Lists    []ListHit  `json:"lists,omitempty"`
	// DeadLetter is the reason with its figures.
	DeadLetter string `json:"dead_letter,omitempty"`
	Late       *Late  `json:"late,omitempty"` // of what came behind the stream's watermark
	// Note says what is missing: another policy was given than the one that judged.
	Note string `json:"note,omitempty"`
}

// FirstCopy is the copy that a duplicate is one of.
type FirstCopy struct {
	Position

	ReceivedAt time.Time `json:"received_at"`
	// Gap is how much later the duplicate was recorded, Lookback how much later it may be.
	Gap        string `json:"gap"`
	Lookback   string `json:"lookback"`
	AdID       string `json:"ad_id"`
	CostMicros int64  `json:"cost_micros"`
	Verdict    string `json:"verdict"` // the batch's
}

// ListHit is what of a list a click matches.
type ListHit struct {
	Rule    string `json:"rule"`
	Match   string `json:"match"` // the pattern or the network
	Version string `json:"version"`
}

// Late is how far a click came behind.
type Late struct {
	// Behind is received_at less the event time.
	Behind string `json:"behind"`
	// NewestBefore is the latest received_at of its partition before it, by the archive's object. The
	// stream's watermark there was about AllowedSkew before that.
	NewestBefore    *time.Time `json:"newest_before,omitempty"`
	AllowedSkew     string     `json:"allowed_skew"`
	AllowedLateness string     `json:"allowed_lateness"`
}

// addEvidence looks up what the verdicts rest on.
func (e *explainer) addEvidence(ctx context.Context, r *Report) error {
	for i := range r.Copies {
		c := &r.Copies[i]
		if c.Batch.PolicyHash != "" && c.Batch.PolicyHash != e.cfg.Policy.Hash() {
			c.Evidence.Note = fmt.Sprintf("looked up by policy %s; the batch judged by %s", e.cfg.Policy.Hash(), c.Batch.PolicyHash)
		}
		c.Evidence.FirstCopy = e.firstCopy(r, c)
		if isDeadLetter(c) {
			c.Evidence.DeadLetter = e.deadLetter(c)
		}
		if c.Fields == nil || c.EventTime == nil {
			continue
		}
		rules := slices.Concat(c.Stream.Rules, c.Batch.Rules)
		c.Evidence.Lists = e.listHits(c, rules)
		for _, rule := range velocityRules {
			if !slices.Contains(rules, rule) {
				continue
			}
			v, err := e.velocity(ctx, c, rule)
			if err != nil {
				return fmt.Errorf("look up %s: %w", rule, err)
			}
			c.Evidence.Velocity = append(c.Evidence.Velocity, v)
		}
		if c.Stream.IsLate || c.Stream.Verdict == schemas.Late.String() {
			late, err := e.late(ctx, c)
			if err != nil {
				return err
			}
			c.Evidence.Late = late
		}
	}
	return nil
}

func isDeadLetter(c *Copy) bool {
	return c.Batch.Verdict == schemas.DeadLettered.String() || c.Batch.Verdict == "" && c.DeadLetter != ""
}

func (e *explainer) revision(c *Copy) *policy.Revision {
	return e.cfg.Policy.At(c.EventTime.UnixMilli())
}

// firstCopy is the batch's winner over the copy, or else the stream's.
func (e *explainer) firstCopy(r *Report, c *Copy) *FirstCopy {
	at := c.Batch.Winner
	if at == nil {
		at = c.Stream.Winner
	}
	if at == nil || c.EventTime == nil {
		return nil
	}
	first := &FirstCopy{Position: *at, Lookback: e.revision(c).Dedup.Lookback.String()}
	for i := range r.Copies {
		w := &r.Copies[i]
		if w.Partition != at.Partition || w.Offset != at.Offset || w.Fields == nil {
			continue
		}
		first.ReceivedAt, first.Gap = w.ReceivedAt, c.ReceivedAt.Sub(w.ReceivedAt).String()
		first.AdID, first.CostMicros, first.Verdict = w.Fields.AdID, w.Fields.CostMicros, w.Batch.Verdict
	}
	return first
}

// listHits are the pattern and the network that the click matches, of those rules that were hit.
func (e *explainer) listHits(c *Copy, rules []string) []ListHit {
	var hits []ListHit
	revision := e.revision(c)
	if rule := schemas.RuleBotUserAgent.Names()[0]; slices.Contains(rules, rule) {
		for _, pattern := range revision.BotUserAgents.Patterns {
			if found, err := regexp.MatchString(pattern, c.Fields.UserAgent); err == nil && found {
				hits = append(hits, ListHit{rule, pattern, revision.BotUserAgents.Version})
			}
		}
	}
	if rule := schemas.RuleListedIP.Names()[0]; slices.Contains(rules, rule) {
		addr, _ := canonical(c.Fields.IPAddress)
		for _, cidr := range revision.ListedNetworks.CIDRs {
			network, err := netip.ParsePrefix(cidr)
			if err != nil {
				continue // the policy is validated
			}
			if network.Addr().Is4In6() && network.Bits() >= 96 {
				network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
			}
			if network.Contains(addr) {
				hits = append(hits, ListHit{rule, cidr, revision.ListedNetworks.Version})
			}
		}
	}
	return hits
}

// canonical reads an address, IPv4-mapped IPv6 as IPv4; false where it is none.
func canonical(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// deadLetter is the reason of a dead letter with its figures.
func (e *explainer) deadLetter(c *Copy) string {
	reason := c.Batch.Reason
	if reason == "" {
		reason = c.DeadLetter
	}
	var raw schemas.RawClick
	if err := raw.Unmarshal(c.value); err != nil && len(c.value) > 0 {
		if schemas.Reason(reason) == schemas.ReasonUndecodable {
			return fmt.Sprintf("%s: %v", reason, err)
		}
		return reason
	}
	if c.Fields == nil {
		return reason
	}
	event := schemas.EventTimeMillis(c.Fields.Timestamp)
	revision := e.cfg.Policy.At(event)
	ahead := time.UnixMilli(event).Sub(c.ReceivedAt)
	switch schemas.Reason(reason) {
	case schemas.ReasonOversize:
		return fmt.Sprintf("%s: %d bytes, more than %d", reason, len(c.value), e.cfg.Policy.At(c.ReceivedAt.UnixMilli()).MaxRecordBytes)
	case schemas.ReasonBadCost:
		return fmt.Sprintf("%s: %s was sent, and allowed is 0 to %s", reason, c.Fields.CostPerClick, money.Micros(revision.MaxCostMicros))
	case schemas.ReasonBadIP:
		return fmt.Sprintf("%s: %q is no address", reason, c.Fields.IPAddress)
	case schemas.ReasonFuture:
		return fmt.Sprintf("%s: the event is %s ahead of its receipt, and allowed is %s", reason, ahead, revision.MaxEventAhead)
	case schemas.ReasonStale:
		return fmt.Sprintf("%s: the event is %s behind its receipt, and allowed is %s", reason, -ahead, revision.MaxEventAge)
	default: // the reason says it
		return reason
	}
}

// late is how far behind a click came.
func (e *explainer) late(ctx context.Context, c *Copy) (*Late, error) {
	revision := e.revision(c)
	late := &Late{Behind: c.ReceivedAt.Sub(*c.EventTime).String(), AllowedSkew: revision.AllowedSkew.String(),
		AllowedLateness: revision.AllowedLateness.String()}
	path, ok := e.db.Path(c.Object)
	if !ok || c.DeadLetter != "" {
		return late, nil
	}
	var micros int64
	err := e.db.Conn.QueryRowContext(ctx, sqlduck.SQL("explain_newest_before"), sqlduck.EscapeGlob(path), c.Offset).Scan(&micros)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.Object, err)
	}
	if micros > 0 {
		at := time.UnixMicro(micros).UTC()
		late.NewestBefore = &at
	}
	return late, nil
}
