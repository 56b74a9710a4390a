package gateway

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
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
		return &requestConn{TCPConn: tcp, release: sync.OnceFunc(func() { l.give(peer) })}, nil
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

// requestConn gives two answers that net/http does not: 414 instead of 431 for a request whose first
// line has no end, and 408 for one that does not end in time.
type requestConn struct {
	*net.TCPConn

	release func()

	mu      sync.Mutex
	read    int  // bytes of the request
	oneLine bool // no line of it has ended
}

const (
	tooLargeLine = "HTTP/1.1 431 "
	answerTail   = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
)

func (c *requestConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.mu.Lock()
	if n > 0 {
		if c.read == 0 {
			c.oneLine = true
		}
		c.read += n
		c.oneLine = c.oneLine && bytes.IndexByte(b[:n], '\n') < 0
	}
	late := c.read > 0 && errors.Is(err, os.ErrDeadlineExceeded)
	if late {
		c.read = 0
	}
	c.mu.Unlock()
	if late {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.TCPConn.Write([]byte("HTTP/1.1 408 Request Timeout" + answerTail + "the request did not end in time\n"))
	}
	return n, err
}

func (c *requestConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	oneLine := c.oneLine && c.read > 0
	c.read = 0
	c.mu.Unlock()
	if oneLine && strings.HasPrefix(string(b[:min(len(b), len(tooLargeLine))]), tooLargeLine) {
		if _, err := c.TCPConn.Write([]byte("HTTP/1.1 414 Request URI Too Long" + answerTail + "the URL is too long\n")); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return c.TCPConn.Write(b)
}

func (c *requestConn) Close() error {
	c.release()
	return c.TCPConn.Close()
}
