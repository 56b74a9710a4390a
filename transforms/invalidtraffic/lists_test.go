package invalidtraffic

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

func TestLists(t *testing.T) {
	t.Parallel()
	p := parsePolicy(t, `revisions:
  - bot_user_agents: {patterns: ["Googlebot", "(?i)^curl/", ""]}
    listed_networks: {cidrs: []}
  - effective_from: 2026-06-24T12:00:00Z
    bot_user_agents: {patterns: ["Googlebot", "(?i)^curl/"]}
    listed_networks: {cidrs: ["198.51.100.77/24", "2001:db8:bad::/48", "::ffff:203.0.113.0/120", "192.0.2.7/32"]}
`)
	lists, err := NewLists(p)
	if err != nil {
		t.Fatal(err)
	}
	const bot, listed = schemas.RuleBotUserAgent, schemas.RuleListedIP
	for _, tc := range []struct {
		agent, addr string
		want        schemas.Rules
	}{
		{"", "", 0}, {"Mozilla/5.0", "", 0}, {"x Googlebot/2.1", "", bot}, {"googlebot", "", 0}, {"CURL/8", "", bot}, {"a curl/8", "", 0},
		{"", "198.51.100.0", listed}, {"", "198.51.100.255", listed}, {"", "198.51.101.0", 0}, {"", "198.51.99.255", 0},
		{"", "2001:db8:bad:ffff::1", listed}, {"", "2001:db8:bae::", 0}, {"", "203.0.113.9", listed}, {"", "203.0.114.1", 0},
		{"", "192.0.2.7", listed}, {"", "192.0.2.8", 0}, {"Googlebot", "192.0.2.7", bot | listed}, {"", "::c633:6401", 0},
	} {
		var addr netip.Addr
		if tc.addr != "" {
			addr = netip.MustParseAddr(tc.addr)
		}
		for range 2 { // the second time from memory
			if got := lists.Rules(&p.Revisions[1], []byte(tc.agent), addr); got != tc.want {
				t.Errorf("%q %q: got %v, want %v", tc.agent, tc.addr, got.Names(), tc.want.Names())
			}
		}
		if got := lists.Rules(&p.Revisions[0], []byte(tc.agent), addr); got != bot {
			t.Errorf("%q %q by the other revision: got %v, want %v", tc.agent, tc.addr, got.Names(), bot.Names())
		}
	}
}

// TestListsAreSafeForConcurrentUse asks from several goroutines, for more user agents than are remembered.
func TestListsAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	p := policy.Default()
	lists, err := NewLists(p)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range maxCachedUserAgents/2 + 1000 {
				agent, want := fmt.Sprint("agent ", i, i%4+g), schemas.Rules(0)
				if i%7 == 0 {
					agent, want = agent+" bingbot", schemas.RuleBotUserAgent
				}
				if got := lists.Rules(&p.Revisions[0], []byte(agent), netip.Addr{}); got != want {
					t.Errorf("%q: got %v, want %v", agent, got.Names(), want.Names())
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(lists.byRevision[&p.Revisions[0]].bots); n > maxCachedUserAgents {
		t.Errorf("%d user agents are remembered, more than %d", n, maxCachedUserAgents)
	}
}

func TestListsRefuse(t *testing.T) {
	t.Parallel()
	for name, rev := range map[string]policy.Revision{
		"pattern": {BotUserAgents: policy.BotUserAgents{Patterns: []string{"("}}},
		"network": {ListedNetworks: policy.ListedNetworks{CIDRs: []string{"10.0.0.1"}}},
	} {
		if _, err := NewLists(&policy.Policy{Revisions: []policy.Revision{rev}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
