package clickhouseio

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/clickhousetest"
	"github.com/clickledger/clickledger/internal/servingtest"
	"github.com/clickledger/clickledger/schemas/serving"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url, address, database, user, password string
		secure                                 bool
	}{
		{"clickhouse://h", "h:9000", "csp_analytics", "", "", false},
		{"clickhouse://h:1234/x_1", "h:1234", "x_1", "", "", false},
		{"clickhouse://u:p%2F@[::1]:1/db", "[::1]:1", "db", "u", "p/", false},
		{"clickhouse://u@h/db?secure=true", "h:9440", "db", "u", "", true},
		{"clickhouse://h:9000?secure=1&skip_verify=true", "h:9000", "csp_analytics", "", "", true},
		{"clickhouse://h?secure=false", "h:9000", "csp_analytics", "", "", false},
	} {
		got, database, err := parseURL(tt.url)
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
			continue
		}
		if got.Addr[0] != tt.address || database != tt.database || got.Auth.Username != tt.user || got.Auth.Password != tt.password ||
			(got.TLS != nil) != tt.secure {
			t.Errorf("%s: got %+v, %s", tt.url, got, database)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "duckdb:///x", "clickhouse://", "clickhouse:///db", "clickhouse://u:s3cret@h/a-b", "clickhouse://u:s3cret@h/a/b",
		"clickhouse://u:s3cret@h/'; drop", "clickhouse://u:s3cret@h?debug=true", "clickhouse://u:s3cret@h?secure=maybe",
		"clickhouse://u:s3cret@h?skip_verify=true", "clickhouse://u:s3cret@h?ca_file=/x", "clickhouse://u:s3cret@h?secure=true&ca_file=/nowhere/ca.pem",
		"clickhouse://u:s3cret@h?secure=true&ca_file=" + empty, "clickhouse://u:s3cret@h:port", "clickhouse://u:s3cret%zz@h",
	} {
		_, err := Open(t.Context(), bad, Options{})
		if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// TestTLS connects through TLS, which ends in front of the server.
func TestTLS(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Shared(t)
	certificate, authority := newCertificate(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go forward(client, server.Address)
		}
	}()
	_, database, _ := strings.Cut(strings.TrimPrefix(server.URL(), "clickhouse://"), "/")
	base := "clickhouse://" + listener.Addr().String() + "/" + database
	for name, tt := range map[string]struct {
		query string
		want  string // in the error; empty: none
	}{
		"verified":     {"?secure=true&ca_file=" + authority, ""},
		"not verified": {"?secure=true&skip_verify=true", ""},
		"unknown":      {"?secure=true", "certificate"},
		"no TLS":       {"", "handshake"},
	} {
		err := Migrate(t.Context(), base+tt.query, Options{})
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			s := open(t, base+tt.query, Options{})
			servingtest.Upsert(t, s, servingtest.Row(0, "a", 3, 3))
			servingtest.WantRows(t, s, serving.Current, servingtest.Row(0, "a", 3, 3))
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func forward(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		defer server.Close()
		_, _ = io.Copy(server, client)
	}()
	_, _ = io.Copy(client, server)
}

// newCertificate returns a certificate for 127.0.0.1 that signs itself, and the file that it is in.
func newCertificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
