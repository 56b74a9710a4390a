package main

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.(*net.TCPListener)
}

func dial(t *testing.T, to *net.TCPListener) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// TestShieldHidesResets has a client that asks, reads a byte of a large answer, and resets: once
// without a shield, to see that the server notices, and once with it.
func TestShieldHidesResets(t *testing.T) {
	t.Parallel()
	for _, shielded := range []bool{false, true} {
		server := listen(t)
		front := server
		if shielded {
			front = listen(t)
			go shield(front, server.Addr().String())
		}
		client := dial(t, front)
		if _, err := client.Write([]byte("ask")); err != nil {
			t.Fatal(err)
		}
		got := serveOnce(t, server, client)
		if reset := errors.Is(got, syscall.ECONNRESET) || errors.Is(got, syscall.EPIPE); reset == shielded {
			t.Errorf("shielded %t: the server got %v", shielded, got)
		}
	}
}

// serveOnce answers one question with more than fits into the buffers on the way, while the client
// resets its connection, and returns what the server gets to see.
func serveOnce(t *testing.T, server *net.TCPListener, client *net.TCPConn) error {
	t.Helper()
	conn, err := server.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len("ask"))); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, 8<<20)); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

func TestShieldPassesBothWays(t *testing.T) {
	t.Parallel()
	server, front := listen(t), listen(t)
	go shield(front, server.Addr().String())
	go func() {
		conn, err := server.AcceptTCP()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, err := io.Copy(conn, conn); err != nil {
			t.Error(err)
		}
	}()
	client := dial(t, front)
	if _, err := client.Write([]byte("there and back")); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); err != nil || string(got) != "there and back" {
		t.Errorf("got %q, %v", got, err)
	}
}
