package kafkaio

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// certificate makes a certificate of this machine's own and the file of its authority.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, path
}

func use(t *testing.T, s Security) {
	t.Helper()
	if err := Use(s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inUse.Store(nil) })
}

// TestSecurity writes and reads through TLS with each mechanism, and is refused with a wrong password
// and without the authority.
func TestSecurity(t *testing.T) {
	server, ca := certificate(t)
	for _, mechanism := range []string{Plain, ScramSHA256, ScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(server.Clone()), kfake.EnableSASL(),
				kfake.Superuser(strings.ToUpper(mechanism), "ledger", "right"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(broker.Close)
			brokers := broker.ListenAddrs()
			use(t, Security{TLS: true, CAFile: ca, Mechanism: mechanism, User: "ledger", Password: "right"})
			if err := EnsureTopics(testContext(t), brokers, 1); err != nil {
				t.Fatal(err)
			}
			if err := openProducer(t, brokers).ProduceAll(testContext(t), numbered(0, 10, 20)); err != nil {
				t.Fatal(err)
			}
			if recs := readAll(t, connect(t, brokers).OpenPartition("clicks", 0, 0), FetchLimits{}); len(recs) != 10 {
				t.Errorf("got %d records, want 10", len(recs))
			}
			for name, wrong := range map[string]Security{
				"password":  {TLS: true, CAFile: ca, Mechanism: mechanism, User: "ledger", Password: "wrong"},
				"authority": {TLS: true, Mechanism: mechanism, User: "ledger", Password: "right"},
			} {
				use(t, wrong)
				if _, err := Connect(testContext(t), brokers, Options{ConnectTimeout: time.Second}); err == nil || strings.Contains(err.Error(), wrong.Password) {
					t.Errorf("wrong %s: kafka-go connects: %v", name, err)
				}
				if _, err := OpenProducer(testContext(t), brokers, ProducerOptions{ConnectTimeout: time.Second}); err == nil || strings.Contains(err.Error(), wrong.Password) {
					t.Errorf("wrong %s: franz-go connects: %v", name, err)
				}
			}
		})
	}
}

func TestSecurityProblems(t *testing.T) {
	for want, s := range map[string]Security{
		"kafka.tls":       {CAFile: "ca.pem"},
		"kafka.ca_file":   {TLS: true, CAFile: filepath.Join(t.TempDir(), "none")},
		"kafka.cert_file": {TLS: true, CertFile: "cert.pem"},
		"kafka.sasl":      {Mechanism: "kerberos", User: "u", Password: "p"},
		"a password":      {Mechanism: Plain, User: "u"},
	} {
		if err := Use(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q in it", s, err, want)
		}
	}
	use(t, Security{Mechanism: Plain, User: "u", Password: "p"})
	if _, err := ClientOptions([]string{"broker.example:9092"}); err == nil {
		t.Error("a password is sent over the network as it is")
	}
	if _, err := ClientOptions([]string{"127.0.0.1:9092", "localhost:9092"}); err != nil {
		t.Error(err)
	}
}
