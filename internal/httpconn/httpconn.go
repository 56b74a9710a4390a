// Package httpconn gives answers that net/http does not give, between a listener and its server: 414
// instead of 431 for a request whose first line has no end, and 408 for one that does not end in
// time, where net/http hangs up without a word. After a 408 the connection says nothing more, so that
// no request has two answers. Errors that net/http answers by itself may be given a form of one's own.
package httpconn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Form writes the body of an error that is answered without a handler. The default is plain text.
type Form func(status int, detail string) (mediaType, body string)

func plain(_ int, detail string) (mediaType, body string) {
	return "text/plain; charset=utf-8", detail + "\n"
}

// Listen wraps the connections of a listener of TCP. A nil form is the default.
func Listen(l net.Listener, form Form) net.Listener { return &listener{l, form} }

type listener struct {
	net.Listener

	form Form
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		return New(tcp, l.form), nil
	}
	return c, err
}

// Conn is a connection on its way to a server.
type Conn struct {
	*net.TCPConn

	form Form

	mu        sync.Mutex
	read      int  // bytes of the request
	oneLine   bool // no line of it has ended
	isClosing bool // the last answer begun: what is still read is the rest of its request
	isOver    bool // 408 was answered: nothing may follow
}

// New wraps one connection. A nil form is the default.
func New(c *net.TCPConn, form Form) *Conn {
	if form == nil {
		form = plain
	}
	return &Conn{TCPConn: c, form: form}
}

const (
	// writeTimeout bounds the writing of an answer to a client that is slow to send.
	writeTimeout = time.Second

	proto = "HTTP/1.1 "
	// errorHead is what net/http has between the first line and the body of its own errors.
	errorHead = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	// errorLineMax is longer than the first line of each of them.
	errorLineMax = 128
)

// Read answers 408 where the server's time for reading a request is over in the middle of one.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 {
		if c.read == 0 {
			c.oneLine = true
		}
		c.read += n
		c.oneLine = c.oneLine && bytes.IndexByte(b[:n], '\n') < 0
	}
	if c.read > 0 && !c.isClosing && errors.Is(err, os.ErrDeadlineExceeded) {
		c.isOver, c.isClosing = true, true
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, _ = c.TCPConn.Write(c.answer(http.StatusRequestTimeout, "the request did not end in time"))
	}
	return n, err
}

// Write passes an answer on, but for the errors of net/http itself, which get the form.
func (c *Conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	oneLine, isOver := c.oneLine && c.read > 0, c.isOver
	c.read = 0
	c.isClosing = c.isClosing || isLast(b)
	c.mu.Unlock()
	if isOver {
		return 0, net.ErrClosed
	}
	status, detail := errorOf(b)
	if status == 0 {
		return c.TCPConn.Write(b)
	}
	if status == http.StatusRequestHeaderFieldsTooLarge && oneLine {
		status, detail = http.StatusRequestURITooLong, "the URL is too long"
	}
	if _, err := c.TCPConn.Write(c.answer(status, detail)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *Conn) answer(status int, detail string) []byte {
	mediaType, body := c.form(status, detail)
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), mediaType, len(body), body)
}

// isLast reports whether an answer begins that ends the connection.
func isLast(b []byte) bool {
	if !bytes.HasPrefix(b, []byte(proto)) {
		return false
	}
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	return bytes.Contains(head, []byte("\r\nConnection: close"))
}

// errorOf returns the status of an error that net/http answers without a handler, and what it says
// about it; 0 for any other answer.
func errorOf(b []byte) (status int, detail string) {
	if !bytes.HasPrefix(b, []byte(proto)) {
		return 0, ""
	}
	end := bytes.Index(b[:min(len(b), errorLineMax+len(errorHead))], []byte("\r\n"))
	if end < len(proto)+len("400") || !bytes.HasPrefix(b[end:], []byte(errorHead)) {
		return 0, ""
	}
	line := b[len(proto):end]
	status, err := strconv.Atoi(string(line[:len("400")]))
	if err != nil || status < http.StatusBadRequest {
		return 0, ""
	}
	text := http.StatusText(status)
	detail = strings.TrimSpace(string(line[len("400"):]))
	if after, ok := strings.CutPrefix(detail, text+": "); ok {
		return status, after
	}
	return status, strings.ToLower(text)
}
