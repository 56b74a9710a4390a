package clickhouseio

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	sqlclick "github.com/clickledger/clickledger/sql/clickhouse"
)

const (
	scheme     = "clickhouse"
	plainPort  = "9000"
	securePort = "9440"
)

// parseURL returns the driver's options and the name of the database.
func parseURL(rawURL string) (*clickhouse.Options, string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, "", errors.New("serving store: the URL cannot be parsed") // its text may hold a password
	}
	fail := func(err error) (*clickhouse.Options, string, error) {
		return nil, "", fmt.Errorf("serving store %s: %w", u.Redacted(), err)
	}
	if u.Scheme != scheme || u.Hostname() == "" {
		return fail(errors.New("want clickhouse://host:port/database"))
	}
	database := strings.TrimPrefix(u.Path, "/")
	if database == "" {
		database = sqlclick.DefaultDatabase
	}
	if err := sqlclick.CheckDatabase(database); err != nil {
		return fail(err)
	}
	secure, err := tlsConfig(u)
	if err != nil {
		return fail(err)
	}
	port := u.Port()
	switch {
	case port == "" && secure != nil:
		port = securePort
	case port == "":
		port = plainPort
	}
	password, _ := u.User.Password()
	return &clickhouse.Options{
		Protocol: clickhouse.Native,
		Addr:     []string{net.JoinHostPort(u.Hostname(), port)},
		// No database: statements name it, and it may not be there yet.
		Auth:         clickhouse.Auth{Username: u.User.Username(), Password: password},
		TLS:          secure,
		DialTimeout:  dialTimeout,
		ReadTimeout:  readTimeout,
		MaxOpenConns: connectionsMax,
		MaxIdleConns: connectionsMax,
		Compression:  &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
		Settings:     settings(),
	}, database, nil
}

// settings go with every statement.
func settings() clickhouse.Settings {
	return clickhouse.Settings{
		"max_partitions_per_insert_block":  0, // a replay of many days is one block of many partitions
		"materialized_views_ignore_errors": 0,
		"async_insert":                     0, // what is acknowledged is stored
		"insert_deduplicate":               0, // the versions see to repeated rows
		"max_bytes_before_external_sort":   sortBytesMax,
		// Rows of one key are of one month: the months need not be merged with each other.
		"do_not_merge_across_partitions_select_final": 1,
	}
}

// tlsConfig reads the URL's query; nil is a connection without TLS.
func tlsConfig(u *url.URL) (*tls.Config, error) {
	known := []string{"secure", "skip_verify", "ca_file"}
	query := u.Query()
	for name := range query {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("the URL has an unknown option %q: want %s", name, strings.Join(known, ", "))
		}
	}
	flag := func(name string) (bool, error) {
		if !query.Has(name) {
			return false, nil
		}
		on, err := strconv.ParseBool(query.Get(name))
		if err != nil {
			return false, fmt.Errorf("the URL's option %s is %q: want true or false", name, query.Get(name))
		}
		return on, nil
	}
	secure, err := flag("secure")
	if err != nil {
		return nil, err
	}
	skip, err := flag("skip_verify")
	if err != nil {
		return nil, err
	}
	authority := query.Get("ca_file")
	if !secure {
		if skip || authority != "" {
			return nil, errors.New("the URL's options skip_verify and ca_file need secure=true")
		}
		return nil, nil //nolint:nilnil // no TLS is no configuration and no error
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), InsecureSkipVerify: skip} //nolint:gosec // only where the URL asks for it
	if authority != "" {
		text, err := os.ReadFile(authority)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca_file %s holds no certificate", authority)
		}
	}
	return config, nil
}
