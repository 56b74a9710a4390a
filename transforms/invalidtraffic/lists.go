package invalidtraffic

import (
	"fmt"
	"net/netip"
	"regexp"
	"sync"

	"github.com/gaissmai/bart"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// maxCachedUserAgents bounds the memory of what user agents were found to be.
const maxCachedUserAgents = 1 << 16

// Lists tests clicks against the bot and network lists of every revision of a policy. It is safe
// for use by several goroutines.
type Lists struct {
	byRevision map[*policy.Revision]*revisionLists
}

type revisionLists struct {
	patterns []*regexp.Regexp
	networks bart.Lite

	mu   sync.RWMutex
	bots map[string]bool
}

// NewLists compiles the lists of a validated policy.
func NewLists(p *policy.Policy) (*Lists, error) {
	l := &Lists{byRevision: map[*policy.Revision]*revisionLists{}}
	for i := range p.Revisions {
		rev := &p.Revisions[i]
		compiled := &revisionLists{bots: map[string]bool{}}
		for _, pattern := range rev.BotUserAgents.Patterns {
			re, err := regexp.Compile(pattern)
			if err != nil {
				return nil, fmt.Errorf("bot pattern %q: %w", pattern, err)
			}
			compiled.patterns = append(compiled.patterns, re)
		}
		for _, cidr := range rev.ListedNetworks.CIDRs {
			prefix, err := netip.ParsePrefix(cidr)
			if err != nil {
				return nil, fmt.Errorf("listed network %q: %w", cidr, err)
			}
			compiled.networks.Insert(canonicalPrefix(prefix))
		}
		l.byRevision[rev] = compiled
	}
	return l, nil
}

// canonicalPrefix turns a network of IPv4-mapped addresses into the IPv4 network that it stands for.
func canonicalPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// Rules returns which list rules the click hits. The address is canonical, or the zero Addr.
func (l *Lists) Rules(rev *policy.Revision, userAgent []byte, addr netip.Addr) schemas.Rules {
	lists := l.byRevision[rev]
	var rules schemas.Rules
	if lists.isBot(userAgent) {
		rules |= schemas.RuleBotUserAgent
	}
	if addr.IsValid() && lists.networks.Contains(addr) {
		rules |= schemas.RuleListedIP
	}
	return rules
}

func (l *revisionLists) isBot(userAgent []byte) bool {
	l.mu.RLock()
	bot, known := l.bots[string(userAgent)]
	l.mu.RUnlock()
	if known {
		return bot
	}
	for _, re := range l.patterns {
		if re.Match(userAgent) {
			bot = true
			break
		}
	}
	l.mu.Lock()
	if len(l.bots) >= maxCachedUserAgents {
		clear(l.bots)
	}
	l.bots[string(userAgent)] = bot
	l.mu.Unlock()
	return bot
}
