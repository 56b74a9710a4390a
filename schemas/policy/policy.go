// Package policy holds the billing policy: a YAML document of revisions, each in force from a
// whole minute of event time. A click is judged by the revision of its own event time. The
// policy's hash is stamped on every run, row and posting.
package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"sort"
	"time"

	"go.yaml.in/yaml/v3"
)

// Limits that validation puts on a policy, so that every structure sized by it stays bounded.
const (
	MaxVelocityClicks = 10_000
	MaxSalt           = 1_024
	maxPolicyBytes    = 16 << 20
)

// Policy is a validated list of revisions in ascending order of EffectiveFrom.
type Policy struct {
	Revisions []Revision `yaml:"revisions" json:"revisions"`

	hash string
}

// Revision is one version of the rules. Zero durations are what they say: nothing is allowed.
type Revision struct {
	// EffectiveFrom is the first event time that the revision judges, a whole minute UTC.
	EffectiveFrom time.Time `yaml:"effective_from" json:"effective_from"`
	// MaxEventAhead is how far the event time may lie ahead of received_at. Default 5m.
	MaxEventAhead time.Duration `yaml:"max_event_ahead" json:"max_event_ahead"`
	// MaxEventAge is how far the event time may lie behind received_at. Default 24h.
	MaxEventAge time.Duration `yaml:"max_event_age" json:"max_event_age"`
	// MaxRecordBytes is the largest value of a record, in bytes. Default 65536.
	MaxRecordBytes int `yaml:"max_record_bytes" json:"max_record_bytes"`
	// MaxCostMicros is the highest cost of a click, itself allowed. Default 1,000,000,000.
	MaxCostMicros int64 `yaml:"max_cost_micros" json:"max_cost_micros"`

	Dedup    Dedup    `yaml:"dedup" json:"dedup"`
	Velocity Velocity `yaml:"velocity" json:"velocity"`

	// AllowedSkew is how far the watermark stays behind the newest record timestamp. Default 2s.
	AllowedSkew time.Duration `yaml:"allowed_skew" json:"allowed_skew"`
	// AllowedLateness is how far behind the watermark the stream still counts a click. Default 10m.
	AllowedLateness time.Duration `yaml:"allowed_lateness" json:"allowed_lateness"`
	// Salt is the number of salted keys of an ad in partial sums and in ad_salt keys. Default 10.
	Salt int `yaml:"salt" json:"salt"`

	BotUserAgents  BotUserAgents  `yaml:"bot_user_agents" json:"bot_user_agents"`
	ListedNetworks ListedNetworks `yaml:"listed_networks" json:"listed_networks"`
}

// Dedup says for how long a click_id is remembered, by received_at.
type Dedup struct {
	TTL      time.Duration `yaml:"ttl" json:"ttl"`           // stream, sliding; default 10m
	Lookback time.Duration `yaml:"lookback" json:"lookback"` // batch, from the winner; default 25h
}

// Velocity is the rule on how fast one identity may click: over MaxClicks within Window makes a
// click invalid, and every click of that identity within Cooling after it.
type Velocity struct {
	Window    time.Duration `yaml:"window" json:"window"`         // default 10s
	MaxClicks int           `yaml:"max_clicks" json:"max_clicks"` // default 30
	Cooling   time.Duration `yaml:"cooling" json:"cooling"`       // default 1h
}

// BotUserAgents is a versioned list of RE2 patterns searched in the user agent.
type BotUserAgents struct {
	Version  string   `yaml:"version" json:"version"`
	Patterns []string `yaml:"patterns" json:"patterns"`
}

// ListedNetworks is a versioned list of networks whose clicks are invalid.
type ListedNetworks struct {
	Version string   `yaml:"version" json:"version"`
	CIDRs   []string `yaml:"cidrs" json:"cidrs"`
}

func defaultRevision() Revision {
	return Revision{
		EffectiveFrom:   time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		MaxEventAhead:   5 * time.Minute,
		MaxEventAge:     24 * time.Hour,
		MaxRecordBytes:  64 << 10,
		MaxCostMicros:   1_000_000_000,
		Dedup:           Dedup{TTL: 10 * time.Minute, Lookback: 25 * time.Hour},
		Velocity:        Velocity{Window: 10 * time.Second, MaxClicks: 30, Cooling: time.Hour},
		AllowedSkew:     2 * time.Second,
		AllowedLateness: 10 * time.Minute,
		Salt:            10,
		BotUserAgents: BotUserAgents{Version: "2026-11", Patterns: []string{
			"Googlebot", "bingbot", "AhrefsBot", "YandexBot", "facebookexternalhit", "SemrushBot"}},
		ListedNetworks: ListedNetworks{Version: "2026-11", CIDRs: []string{
			"198.51.100.0/24", "2001:db8:bad::/48"}},
	}
}

// Default returns the policy that holds where no document is given.
func Default() *Policy {
	p := &Policy{Revisions: []Revision{defaultRevision()}}
	if err := p.seal(); err != nil {
		panic(err)
	}
	return p
}

// Load reads and validates a policy document. The error lists every problem, each with its key.
func Load(path string) (*Policy, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if info.Size() > maxPolicyBytes {
		return nil, fmt.Errorf("read policy %s: %d bytes, more than %d", path, info.Size(), maxPolicyBytes)
	}
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	p, err := Parse(doc)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", path, err)
	}
	return p, nil
}

// Parse reads and validates a policy document. A key that a revision leaves out has its default;
// an unknown key is an error.
func Parse(doc []byte) (*Policy, error) {
	var raw struct {
		Revisions []yaml.Node `yaml:"revisions"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(doc))
	dec.KnownFields(true)
	if err := dec.Decode(&raw); err != nil {
		return nil, fmt.Errorf("not a policy document: %w", err)
	}
	p := &Policy{}
	var problems []error
	for i := range raw.Revisions {
		text, err := yaml.Marshal(&raw.Revisions[i])
		if err != nil {
			return nil, fmt.Errorf("revisions[%d]: %w", i, err)
		}
		rev := defaultRevision()
		strict := yaml.NewDecoder(bytes.NewReader(text))
		strict.KnownFields(true)
		if err := strict.Decode(&rev); err != nil {
			problems = append(problems, fmt.Errorf("revisions[%d]: %w", i, err))
			continue
		}
		rev.EffectiveFrom = rev.EffectiveFrom.UTC()
		p.Revisions = append(p.Revisions, rev)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if err := p.seal(); err != nil {
		return nil, err
	}
	return p, nil
}

// seal validates the policy and computes its hash.
func (p *Policy) seal() error {
	if err := p.validate(); err != nil {
		return err
	}
	for i := range p.Revisions { // a list that is null is an empty one, and must have its hash
		r := &p.Revisions[i]
		r.BotUserAgents.Patterns = append([]string{}, r.BotUserAgents.Patterns...)
		r.ListedNetworks.CIDRs = append([]string{}, r.ListedNetworks.CIDRs...)
	}
	canonical, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("hash policy: %w", err)
	}
	sum := sha256.Sum256(canonical)
	p.hash = hex.EncodeToString(sum[:16])
	return nil
}

// Hash names the policy: 32 hexadecimal digits of the SHA-256 of its canonical form.
func (p *Policy) Hash() string { return p.hash }

// YAML returns the document with every default written out.
func (p *Policy) YAML() ([]byte, error) { return yaml.Marshal(p) }

// At returns the revision that judges an event time: the last one at or before it, or the first
// one where the event is older than all.
func (p *Policy) At(eventTimeMillis int64) *Revision {
	if len(p.Revisions) == 1 {
		return &p.Revisions[0]
	}
	i := sort.Search(len(p.Revisions), func(i int) bool {
		return p.Revisions[i].EffectiveFrom.UnixMilli() > eventTimeMillis
	})
	return &p.Revisions[max(i-1, 0)]
}

// Max returns the largest value that any revision gives; it sizes what must hold for all of them.
func Max[T int | int64 | time.Duration](p *Policy, f func(*Revision) T) T {
	best := f(&p.Revisions[0])
	for i := range p.Revisions {
		best = max(best, f(&p.Revisions[i]))
	}
	return best
}

func (p *Policy) validate() error {
	var problems []error
	bad := func(i int, key, format string, args ...any) {
		problems = append(problems, fmt.Errorf("revisions[%d].%s: %s", i, key, fmt.Sprintf(format, args...)))
	}
	if len(p.Revisions) == 0 {
		problems = append(problems, errors.New("revisions: at least one is needed"))
	}
	maxAge, maxAhead := time.Duration(0), time.Duration(0)
	for i := range p.Revisions {
		maxAge = max(maxAge, p.Revisions[i].MaxEventAge)
		maxAhead = max(maxAhead, p.Revisions[i].MaxEventAhead)
	}
	for i := range p.Revisions {
		r := &p.Revisions[i]
		if !r.EffectiveFrom.Equal(r.EffectiveFrom.Truncate(time.Minute)) {
			bad(i, "effective_from", "%s is not a whole minute", r.EffectiveFrom.Format(time.RFC3339Nano))
		}
		if i > 0 && !r.EffectiveFrom.After(p.Revisions[i-1].EffectiveFrom) {
			bad(i, "effective_from", "not after the revision before it")
		}
		r.validateLimits(func(key, format string, args ...any) { bad(i, key, format, args...) })
		if r.Dedup.Lookback < maxAge+maxAhead {
			bad(i, "dedup.lookback", "%s is less than max_event_age + max_event_ahead (%s): a copy could be billed twice",
				r.Dedup.Lookback, maxAge+maxAhead)
		}
		r.validateLists(func(key, format string, args ...any) { bad(i, key, format, args...) })
	}
	return errors.Join(problems...)
}

func (r *Revision) validateLimits(bad func(key, format string, args ...any)) {
	const longest = 366 * 24 * time.Hour
	for _, d := range []struct {
		key      string
		value    time.Duration
		positive bool
	}{
		{"max_event_ahead", r.MaxEventAhead, false}, {"max_event_age", r.MaxEventAge, false},
		{"dedup.ttl", r.Dedup.TTL, false}, {"dedup.lookback", r.Dedup.Lookback, false},
		{"velocity.window", r.Velocity.Window, true}, {"velocity.cooling", r.Velocity.Cooling, false},
		{"allowed_skew", r.AllowedSkew, false}, {"allowed_lateness", r.AllowedLateness, false},
	} {
		switch {
		case d.value < 0, d.positive && d.value == 0:
			bad(d.key, "%s is not a positive duration", d.value)
		case d.value > longest:
			bad(d.key, "%s is longer than %s", d.value, longest)
		case d.value%time.Millisecond != 0:
			bad(d.key, "%s is not a whole number of milliseconds", d.value)
		}
	}
	if r.MaxRecordBytes < 1 || r.MaxRecordBytes > 64<<20 {
		bad("max_record_bytes", "%d is not between 1 and %d", r.MaxRecordBytes, 64<<20)
	}
	if r.MaxCostMicros < 0 || r.MaxCostMicros > 1<<50 {
		bad("max_cost_micros", "%d is not between 0 and %d", r.MaxCostMicros, int64(1)<<50)
	}
	if r.Velocity.MaxClicks < 0 || r.Velocity.MaxClicks > MaxVelocityClicks {
		bad("velocity.max_clicks", "%d is not between 0 and %d", r.Velocity.MaxClicks, MaxVelocityClicks)
	}
	if r.Salt < 1 || r.Salt > MaxSalt {
		bad("salt", "%d is not between 1 and %d", r.Salt, MaxSalt)
	}
}

func (r *Revision) validateLists(bad func(key, format string, args ...any)) {
	for j, pattern := range r.BotUserAgents.Patterns {
		if _, err := regexp.Compile(pattern); err != nil {
			bad(fmt.Sprintf("bot_user_agents.patterns[%d]", j), "%v", err)
		}
	}
	for j, cidr := range r.ListedNetworks.CIDRs {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			bad(fmt.Sprintf("listed_networks.cidrs[%d]", j), "%q is not a network in CIDR form", cidr)
		}
	}
}
