package httpconn

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve starts a server whose handler waits for the body, and returns its address.
func serve(t *testing.T, form Form) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/at-once" {
				w.Header().Set("Connection", "close")
				return
			}
			body, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "got %q, %t", body, err == nil)
		}),
		ReadHeaderTimeout: 300 * time.Millisecond, ReadTimeout: 300 * time.Millisecond, MaxHeaderBytes: 4 << 10,
	}
	go func() { _ = srv.Serve(Listen(l, form)) }()
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

// talk sends the parts, a while apart, and returns all that comes until the server hangs up.
func talk(t *testing.T, addr string, parts ...string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		for _, part := range parts {
			_, _ = io.WriteString(conn, part)
			time.Sleep(100 * time.Millisecond)
		}
	}()
	got, _ := io.ReadAll(bufio.NewReader(conn)) // until the server hangs up
	return string(got)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	form := func(status int, detail string) (string, string) {
		return "application/problem+json", fmt.Sprintf(`{"status":%d,"detail":%q}`, status, detail)
	}
	addr := map[string]string{"plain": serve(t, nil), "form": serve(t, form)}
	long := strings.Repeat("x", 1<<20)
	for _, tc := range []struct {
		name  string
		parts []string
		want  string // the status
		form  string // the body with a form; empty for the handler's
	}{
		{"a sound request", []string{"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"}, "200 OK", ""},
		{"in parts", []string{"GET / HT", "TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}, "200 OK", ""},
		{"slow in the first line", []string{"GET /"}, "408 Request Timeout", `{"status":408,"detail":"the request did not end in time"}`},
		{"slow in the headers", []string{"GET / HTTP/1.1\r\n", "Host: a\r\n", "X", "-", "A", ":"}, "408 Request Timeout",
			`{"status":408,"detail":"the request did not end in time"}`},
		{"slow in the body", []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"}, "408 Request Timeout",
			`{"status":408,"detail":"the request did not end in time"}`},
		{"slow in a body that nobody waits for", []string{"POST /at-once HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "x", "x", "x", "x", "x"}, "200 OK", ""},
		{"a long URL", []string{"GET /" + long}, "414 Request URI Too Long", `{"status":414,"detail":"the URL is too long"}`},
		{"long headers", []string{"GET / HTTP/1.1\r\nX: " + long}, "431 Request Header Fields Too Large",
			`{"status":431,"detail":"request header fields too large"}`},
		{"nonsense", []string{"nonsense\r\n\r\n"}, "400 Bad Request", `{"status":400,"detail":"bad request"}`},
		{"no host", []string{"GET / HTTP/1.1\r\n\r\n"}, "400 Bad Request", `{"status":400,"detail":"missing required Host header"}`},
		{"a coding that is not known", []string{"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n"}, "501 Not Implemented",
			`{"status":501,"detail":"not implemented"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for kind, addr := range addr {
				got := talk(t, addr, tc.parts...)
				if !strings.HasPrefix(got, "HTTP/1.1 "+tc.want+"\r\n") {
					t.Errorf("%s: got %.200q, want %s", kind, got, tc.want)
				}
				if n := strings.Count(got, "HTTP/1.1 "); n != 1 {
					t.Errorf("%s: got %d answers: %q", kind, n, got)
				}
				if kind == "form" && !strings.HasSuffix(got, tc.form) {
					t.Errorf("got %q, want it to end in %s", got, tc.form)
				}
			}
		})
	}
	if got := talk(t, addr["plain"]); got != "" {
		t.Errorf("a client that says nothing got %q", got)
	}
	got := talk(t, addr["plain"], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /")
	if n := strings.Count(got, "HTTP/1.1 "); n != 2 || !strings.Contains(got, "HTTP/1.1 408 ") {
		t.Errorf("slow in the second request: got %q", got)
	}
}
