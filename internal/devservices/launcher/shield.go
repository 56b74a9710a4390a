package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// shield passes connections on to the server so that it never sees one reset: each ends for it with
// an orderly end of input. A reset that it reads is an exception that nobody catches in the library,
// and aborts the process (26.7.3-stable.1, on the native port; HTTP is not affected).
func shield(listener net.Listener, target string) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "accept:", err)
			os.Exit(1)
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("tcp", target) //nolint:gosec,noctx // the caller's own address; a local dial does not block
			if err != nil {
				return // the server does not listen yet: the client sees an end of input
			}
			forward(client.(*net.TCPConn), server.(*net.TCPConn))
		}()
	}
}

// forward copies both ways until both sides have ended.
func forward(client, server *net.TCPConn) {
	defer server.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Whether the client ended or was reset, the server gets an end of input.
		_, _ = io.Copy(server, client)
		_ = server.CloseWrite()
	}()
	_, _ = io.Copy(client, server)
	// Closing a connection that has unread input resets it: what a lost client did not take is read.
	_, _ = io.Copy(io.Discard, server)
	_ = client.CloseWrite()
	<-ended
}
