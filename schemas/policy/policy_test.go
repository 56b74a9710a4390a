package policy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// defaultHash is on every row and posting that the default policy judged: it may only change with
// the rules themselves.
const defaultHash = "547964f6484dae68750a8efc89783ccd"

func parse(t testing.TB, doc string) *Policy {
	t.Helper()
	p, err := Parse([]byte(doc))
	if err != nil {
		t.Fatalf("%s\n%v", doc, err)
	}
	return p
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	p := Default()
	if len(p.Revisions) != 1 {
		t.Fatalf("got %d revisions, want 1", len(p.Revisions))
	}
	got := p.Revisions[0]
	want := Revision{
		EffectiveFrom: got.EffectiveFrom, MaxEventAhead: 5 * time.Minute, MaxEventAge: 24 * time.Hour,
		MaxRecordBytes: 65_536, MaxCostMicros: 1_000_000_000,
		Dedup:       Dedup{TTL: 10 * time.Minute, Lookback: 25 * time.Hour},
		Velocity:    Velocity{Window: 10 * time.Second, MaxClicks: 30, Cooling: time.Hour},
		AllowedSkew: 2 * time.Second, AllowedLateness: 10 * time.Minute, Salt: 10,
		BotUserAgents: got.BotUserAgents, ListedNetworks: got.ListedNetworks,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := p.Hash(); got != defaultHash {
		t.Errorf("hash: got %s, want %s", got, defaultHash)
	}
	if got := parse(t, "revisions:\n  - {}\n").Hash(); got != defaultHash {
		t.Errorf("hash of an empty revision: got %s, want that of the defaults", got)
	}
}

// TestHashTellsPoliciesApart changes every rule by the least there is.
func TestHashTellsPoliciesApart(t *testing.T) {
	t.Parallel()
	seen := map[string]string{Default().Hash(): "default"}
	for _, key := range []string{
		"max_event_ahead: 5m0.001s", "max_event_age: 23h59m59.999s", "max_record_bytes: 65537", "max_cost_micros: 1000000001",
		"dedup: {ttl: 10m0.001s}", "dedup: {lookback: 25h0.001s}", "velocity: {window: 10.001s}",
		"velocity: {max_clicks: 31}", "velocity: {cooling: 3600.001s}", "allowed_skew: 2001ms",
		"allowed_lateness: 10m0.001s", "salt: 11", "bot_user_agents: {version: x}", "bot_user_agents: {patterns: [a]}",
		"bot_user_agents: {patterns: []}", "listed_networks: {version: x}", "listed_networks: {cidrs: [10.0.0.0/8]}",
		"listed_networks: {cidrs: []}", "effective_from: 2020-01-01T00:01:00Z",
	} {
		hash := parse(t, "revisions:\n  - "+key+"\n").Hash()
		if len(hash) != 32 {
			t.Errorf("%s: hash %q, want 32 digits", key, hash)
		}
		if other, taken := seen[hash]; taken {
			t.Errorf("%q and %q have one hash", key, other)
		}
		seen[hash] = key
	}
	two := "revisions:\n  - {}\n  - {effective_from: 2026-01-01T00:00:00Z}\n"
	if parse(t, two).Hash() == defaultHash {
		t.Error("a second revision does not change the hash")
	}
}

// TestHashIgnoresSpelling writes one policy in several ways.
func TestHashIgnoresSpelling(t *testing.T) {
	t.Parallel()
	want := parse(t, "revisions:\n  - effective_from: 2026-01-01T00:00:00Z\n    allowed_skew: 3s\n").Hash()
	for _, doc := range []string{
		"# comment\nrevisions: [{allowed_skew: 3000ms, effective_from: 2026-01-01T00:00:00.000Z}]",
		"revisions:\n  - {effective_from: 2026-01-01T01:00:00+01:00, allowed_skew: 0.05m, salt: 10}\n",
		`{"revisions": [{"effective_from": "2026-01-01T00:00:00Z", "allowed_skew": "3s"}]}`,
	} {
		if got := parse(t, doc).Hash(); got != want {
			t.Errorf("%s: got %s, want %s", doc, got, want)
		}
	}
}

// TestYAMLKeepsTheHash writes random policies out and reads them again.
func TestYAMLKeepsTheHash(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	docs := []string{
		"revisions:\n  - {}\n",
		"revisions:\n  - {bot_user_agents: {patterns: []}, listed_networks: {cidrs: []}}\n",
		"revisions:\n  - {bot_user_agents: {patterns: null}, listed_networks: {cidrs: ~}}\n",
		"revisions:\n  - {bot_user_agents: null, dedup: null}\n",
		`revisions: [{bot_user_agents: {version: "2026: # \"x\"", patterns: ["^(?i)bot\\b", "é|\\x{1F600}", " a: b", "no", "'"]}}]`,
	}
	for range 50 {
		var doc strings.Builder
		doc.WriteString("revisions:\n")
		for i := range 1 + rng.IntN(3) {
			fmt.Fprintf(&doc, "  - effective_from: %s\n    dedup: {ttl: %dms}\n    velocity: {max_clicks: %d}\n    salt: %d\n",
				time.Unix(int64(i)*86_400*300+60*rng.Int64N(1000), 0).UTC().Format(time.RFC3339), rng.IntN(1e7), rng.IntN(100), 1+rng.IntN(99))
		}
		docs = append(docs, doc.String())
	}
	for _, doc := range docs {
		first, err := Parse([]byte(doc))
		if err != nil {
			t.Fatalf("seed %d: %s\n%v", seed, doc, err)
		}
		text, err := first.YAML()
		if err != nil {
			t.Fatal(err)
		}
		second := parse(t, string(text))
		if first.Hash() != second.Hash() {
			t.Errorf("seed %d: %s\nwritten as\n%s: got hash %s, want %s", seed, doc, text, second.Hash(), first.Hash())
		}
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte(`revisions:
  - effective_from: 2026-01-01T00:00:30Z
    max_event_ahead: -1s
    max_event_age: 8785h
    max_record_bytes: 0
    max_cost_micros: -1
    dedup: {ttl: 1us, lookback: 1h}
    velocity: {window: 0s, max_clicks: 10001, cooling: -1ms}
    allowed_skew: -2s
    allowed_lateness: 1500us
    salt: 1025
    bot_user_agents: {patterns: ["ok", "("]}
    listed_networks: {cidrs: ["10.0.0.0/8", "10.0.0.1", "::/129"]}
  - effective_from: 2025-01-01T00:00:00Z
    salt: 0
`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"[0].effective_from", "[0].max_event_ahead", "[0].max_event_age", "[0].max_record_bytes",
		"[0].max_cost_micros", "[0].dedup.ttl", "[0].dedup.lookback", "[0].velocity.window", "[0].velocity.max_clicks",
		"[0].velocity.cooling", "[0].allowed_skew", "[0].allowed_lateness", "[0].salt", "[0].bot_user_agents.patterns[1]",
		"[0].listed_networks.cidrs[1]", "[0].listed_networks.cidrs[2]", "[1].effective_from", "[1].dedup.lookback", "[1].salt"} {
		if !strings.Contains(err.Error(), "revisions"+key+":") {
			t.Errorf("revisions%s is not among the problems:\n%v", key, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		"empty":                 "",
		"no revisions":          "revisions: []",
		"unknown key":           "revision: []",
		"unknown key inside":    "revisions: [{max_event_agee: 1h}]",
		"unknown key deep down": "revisions: [{velocity: {max: 3}}]",
		"number without unit":   "revisions: [{allowed_skew: 2}]",
		"text for a number":     "revisions: [{salt: ten}]",
		"list":                  "[]",
		"not yaml":              "revisions: [",
		"not a map":             "revisions: [3]",
		"key twice":             "revisions: [{salt: 1, salt: 2}]",
		"same time twice":       "revisions: [{}, {}]",
	} {
		if _, err := Parse([]byte(doc)); err == nil {
			t.Errorf("%s: no error for %s", name, doc)
		}
	}
	_, err := Parse([]byte("revisions: [{a: 1}, {}, {b: 2}]"))
	if err == nil || !strings.Contains(err.Error(), "revisions[0]") || !strings.Contains(err.Error(), "revisions[2]") {
		t.Errorf("unknown keys in two revisions: got %v, want both", err)
	}
}

// TestLookbackCoversEveryCopy holds the look-back of each revision to the widest span of any: a copy
// may be judged by another revision than its winner.
func TestLookbackCoversEveryCopy(t *testing.T) {
	t.Parallel()
	second := "\n  - {effective_from: 2026-01-01T00:00:00Z, "
	for _, tc := range []struct {
		doc  string
		good bool
	}{
		{"revisions: [{dedup: {lookback: 24h5m}}]", true},
		{"revisions: [{dedup: {lookback: 24h4m59.999s}}]", false},
		{"revisions:\n  - {dedup: {lookback: 25h}}" + second + "max_event_age: 24h55m}", true},
		{"revisions:\n  - {dedup: {lookback: 25h}}" + second + "max_event_age: 24h55m1s, dedup: {lookback: 99h}}", false},
		{"revisions:\n  - {max_event_age: 24h55m}" + second + "max_event_ahead: 5m1s}", false},
	} {
		if _, err := Parse([]byte(tc.doc)); (err == nil) != tc.good {
			t.Errorf("%s: got %v, want good: %t", tc.doc, err, tc.good)
		}
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	p := parse(t, "revisions:\n  - {effective_from: 2026-01-01T00:00:00Z}\n  - {effective_from: 2026-01-01T00:01:00Z}\n"+
		"  - {effective_from: 2026-02-01T00:00:00Z}\n")
	first := p.Revisions[0].EffectiveFrom.UnixMilli()
	third := p.Revisions[2].EffectiveFrom.UnixMilli()
	for _, tc := range []struct {
		millis int64
		want   int
	}{
		{-1 << 63, 0}, {first - 1, 0}, {first, 0}, {first + 59_999, 0}, {first + 60_000, 1}, {third - 1, 1}, {third, 2}, {1<<63 - 1, 2},
	} {
		if got := p.At(tc.millis); got != &p.Revisions[tc.want] {
			t.Errorf("%d: got the revision of %s, want %d", tc.millis, got.EffectiveFrom, tc.want)
		}
	}
	if got := Max(p, func(r *Revision) int64 { return r.EffectiveFrom.UnixMilli() }); got != third {
		t.Errorf("max: got %d, want %d", got, third)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	text, err := Default().YAML()
	if err != nil {
		t.Fatal(err)
	}
	for path, doc := range map[string][]byte{good: text, bad: []byte("revisions: [{salt: 0}]")} {
		if err := os.WriteFile(path, doc, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := Load(good); err != nil || p.Hash() != defaultHash {
		t.Errorf("got %v, want the default policy", err)
	}
	if _, err := Load(bad); err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "salt") {
		t.Errorf("got %v, want the file and the key", err)
	}
	if _, err := Load(filepath.Join(dir, "none.yaml")); err == nil {
		t.Error("no error for a file that is not there")
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxPolicyBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(large); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v, want a file that is too large", err)
	}
}

func FuzzParse(f *testing.F) {
	text, err := Default().YAML()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("revisions: [{velocity: {window: 1h}}]"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := Parse(doc)
		if err != nil {
			return
		}
		text, err := p.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("written as\n%s\n%v", text, err)
		}
		if again.Hash() != p.Hash() {
			t.Fatalf("%s\nwritten as\n%s: got hash %s, want %s", doc, text, again.Hash(), p.Hash())
		}
	})
}
