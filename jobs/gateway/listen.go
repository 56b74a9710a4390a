package gateway

import (
	"net"
	"net/netip"
	"sync"

	"github.com/clickledger/clickledger/internal/httpconn"
)

// clientShare is the part of all connections that one client may hold.
const clientShare = 4

// boundedListener bounds the connections, all together and of each client: those over it are closed
// before a byte is read.
type boundedListener struct {
	net.Listener

	max     int
	trusted []netip.Prefix
	refused func()

	mu    sync.Mutex
	open  int
	peers map[netip.Addr]int
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return c, nil
		}
		peer := netip.Addr{}
		if addr, ok := c.RemoteAddr().(*net.TCPAddr); ok {
			peer = plain(addr.AddrPort().Addr())
		}
		if !l.take(peer) {
			l.refused()
			_ = tcp.SetLinger(0) // no answer, and nothing to remember
			_ = tcp.Close()
			continue
		}
		return &countedConn{Conn: httpconn.New(tcp, nil), release: sync.OnceFunc(func() { l.give(peer) })}, nil
	}
}

func (l *boundedListener) take(peer netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := max(1, l.max/clientShare)
	if isTrusted(peer, l.trusted) {
		limit = l.max
	}
	if l.open >= l.max || l.peers[peer] >= limit {
		return false
	}
	l.open++
	l.peers[peer]++
	return true
}

func (l *boundedListener) give(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.peers[peer]--; l.peers[peer] == 0 {
		delete(l.peers, peer)
	}
}

// countedConn gives its place back when it is closed.
type countedConn struct {
	*httpconn.Conn

	release func()
}

func (c *countedConn) Close() error {
	c.release()
	return c.Conn.Close()
}
