package kafkaio

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kgo"
	franzplain "github.com/twmb/franz-go/pkg/sasl/plain"
	franzscram "github.com/twmb/franz-go/pkg/sasl/scram"
)

// The SASL mechanisms.
const (
	Plain       = "plain"
	ScramSHA256 = "scram-sha-256"
	ScramSHA512 = "scram-sha-512"
)

// Security says how brokers are spoken to. The zero value is plain text without a login.
type Security struct {
	// TLS encrypts connections and checks the broker's certificate, with the system's authorities
	// or, if CAFile is set, with those of that PEM file.
	TLS    bool
	CAFile string
	// CertFile and KeyFile are the client's certificate and its key, PEM; both or neither.
	CertFile, KeyFile string
	// Mechanism is the SASL mechanism; empty is no login.
	Mechanism      string
	User, Password string
}

// secured is a Security with its files read.
type secured struct {
	tls       *tls.Config
	mechanism string
	user      string
	password  string
	kafkaGo   sasl.Mechanism
}

var inUse atomic.Pointer[secured]

// Use makes all clients that this process opens from now on speak to brokers in that way: a
// process works with one log. The files are read once. The error reports every problem.
func Use(s Security) error {
	r := &secured{mechanism: s.Mechanism, user: s.User, password: s.Password}
	var problems []error
	if s.TLS {
		var err error
		if r.tls, err = s.tlsConfig(); err != nil {
			problems = append(problems, err)
		}
	} else if s.CAFile != "" || s.CertFile != "" || s.KeyFile != "" {
		problems = append(problems, errors.New("kafka.tls: certificates are given, but TLS is off"))
	}
	if s.Mechanism != "" && (s.User == "" || s.Password == "") {
		problems = append(problems, fmt.Errorf("kafka.sasl: %s needs a user and a password", s.Mechanism))
	}
	var err error
	switch s.Mechanism {
	case "":
	case Plain:
		r.kafkaGo = plain.Mechanism{Username: s.User, Password: s.Password}
	case ScramSHA256:
		r.kafkaGo, err = scram.Mechanism(scram.SHA256, s.User, s.Password)
	case ScramSHA512:
		r.kafkaGo, err = scram.Mechanism(scram.SHA512, s.User, s.Password)
	default:
		err = fmt.Errorf("%q is not one of %s, %s, %s", s.Mechanism, Plain, ScramSHA256, ScramSHA512)
	}
	if err != nil {
		problems = append(problems, fmt.Errorf("kafka.sasl: %w", err))
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	inUse.Store(r)
	return nil
}

func (s Security) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka.ca_file: %s holds no certificate", s.CAFile)
		}
	}
	if (s.CertFile == "") != (s.KeyFile == "") {
		return nil, errors.New("kafka.cert_file: certificate and key belong together")
	}
	if s.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.cert_file: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// using is the security in use for these brokers. A password in plain text is sent to none but
// this machine.
func using(brokers []string) (*secured, error) {
	s := inUse.Load()
	if s == nil {
		return &secured{}, nil
	}
	if s.mechanism == Plain && s.tls == nil {
		for _, b := range brokers {
			if host, _, err := net.SplitHostPort(b); err != nil || !isLoopback(host) {
				return nil, fmt.Errorf("%s: kafka.sasl plain sends the password as it is: set kafka.tls", URL(brokers))
			}
		}
	}
	return s, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ClientOptions are the options of a franz-go client for these brokers: seeds and security.
func ClientOptions(brokers []string) ([]kgo.Opt, error) {
	s, err := using(brokers)
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(brokers...)}
	if s.tls != nil {
		opts = append(opts, kgo.DialTLSConfig(s.tls))
	}
	switch s.mechanism {
	case Plain:
		opts = append(opts, kgo.SASL(franzplain.Auth{User: s.user, Pass: s.password}.AsMechanism()))
	case ScramSHA256:
		opts = append(opts, kgo.SASL(franzscram.Auth{User: s.user, Pass: s.password}.AsSha256Mechanism()))
	case ScramSHA512:
		opts = append(opts, kgo.SASL(franzscram.Auth{User: s.user, Pass: s.password}.AsSha512Mechanism()))
	}
	return opts, nil
}
