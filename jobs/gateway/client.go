package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	forwardedFor = "X-Forwarded-For"
	// hopsMax bounds how far back a chain of proxies is followed.
	hopsMax = 16

	// limiterShards spread the clients over locks.
	limiterShards = 16
	// limiterClientsMax is how many clients of a shard are remembered, twice.
	limiterClientsMax = 4096
)

// client is who made a request.
type client struct {
	addr netip.Addr
	// behind is true if a trusted proxy passed the request on: its other headers are believed.
	behind bool
}

// clientOf tells the client from the socket, and where that is a trusted proxy from the addresses that
// proxies added to X-Forwarded-For: from the right, the first that is no trusted proxy.
func clientOf(r *http.Request, trusted []netip.Prefix) client {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return client{}
	}
	c := client{addr: plain(peer.Addr())}
	if !isTrusted(c.addr, trusted) {
		return c
	}
	c.behind = true
	var hops []string
	for _, line := range r.Header[forwardedFor] {
		hops = append(hops, strings.Split(line, ",")...)
	}
	for i := len(hops) - 1; i >= max(0, len(hops)-hopsMax); i-- {
		hop := strings.TrimSpace(hops[i])
		if hop == "" {
			continue // an empty element of a list is none
		}
		addr, err := parseHop(hop)
		if err != nil {
			return c // what is left of it is the client's own invention, or nothing
		}
		if c.addr = plain(addr); !isTrusted(c.addr, trusted) {
			return c
		}
	}
	return c
}

// parseHop reads an address, behind which some proxies write the port.
func parseHop(hop string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(hop)
	if err == nil {
		return addr, nil
	}
	withPort, err := netip.ParseAddrPort(hop)
	return withPort.Addr(), err
}

func plain(a netip.Addr) netip.Addr { return a.WithZone("").Unmap() }

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// limiter bounds the requests of one client. It remembers a bounded number of clients, those seen last.
type limiter struct {
	rate    rate.Limit
	burst   int
	trusted []netip.Prefix
	shards  [limiterShards]limiterShard
}

// limiterShard holds two generations: when the newer is full, the older is forgotten.
type limiterShard struct {
	mu           sync.Mutex
	newer, older map[netip.Addr]*rate.Limiter
}

// newLimiter returns nil for any number of requests.
func newLimiter(perSecond int, trusted []netip.Prefix) *limiter {
	if perSecond == 0 {
		return nil
	}
	return &limiter{rate: rate.Limit(perSecond), burst: 2 * perSecond, trusted: trusted}
}

// allow says whether the client may make a request now. A trusted proxy that says nothing of a client
// is not limited.
func (l *limiter) allow(addr netip.Addr, now time.Time) bool {
	if l == nil || isTrusted(addr, l.trusted) {
		return true
	}
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			addr = network.Addr()
		}
	}
	b := addr.As16()
	shard := &l.shards[(b[15]^b[13]^b[7])%limiterShards]
	shard.mu.Lock()
	bucket := shard.newer[addr]
	if bucket == nil {
		if bucket = shard.older[addr]; bucket == nil {
			bucket = rate.NewLimiter(l.rate, l.burst)
		}
		if shard.newer == nil || len(shard.newer) >= limiterClientsMax {
			shard.newer, shard.older = make(map[netip.Addr]*rate.Limiter), shard.newer
		}
		shard.newer[addr] = bucket
	}
	shard.mu.Unlock()
	return bucket.AllowN(now, 1)
}
