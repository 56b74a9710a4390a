package objectstore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// DuckDB is how a DuckDB reads a store by the store's own URLs.
type DuckDB struct {
	// Statements prepare a database, in order. They hold secrets: never log them.
	Statements []string
	secrets    []string
}

// Redact takes the secrets out of the text of an error.
func (d *DuckDB) Redact(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, secret := range d.secrets {
		text = strings.ReplaceAll(text, secret, "xxxxx")
	}
	return errors.New(text)
}

// DuckDBOf returns how a DuckDB reads the store itself; false where it cannot, so that objects must be
// copied: without S3.HTTPFSExtension. The keys are those of this moment; where they are a role's, a
// database must not be used for longer than they last.
func DuckDBOf(store Store) (d *DuckDB, ok bool, err error) {
	s, ok := store.(*s3Store)
	if !ok || s.cfg.HTTPFSExtension == "" {
		return nil, false, nil
	}
	creds, err := s.cfg.credentials()
	if err != nil {
		return nil, false, err
	}
	value, err := creds.GetWithContext(&credentials.CredContext{})
	if err != nil {
		return nil, false, fmt.Errorf("credentials of S3 for DuckDB: %w", err)
	}
	u := s.client.EndpointURL()
	style := "vhost"
	if _, isAmazon, err := s.cfg.endpoint(); err == nil && (s.cfg.Addressing == AddressPath || s.cfg.Addressing != AddressHost && !isAmazon) {
		style = "path"
	}
	options := []string{"type s3", "provider config", "scope " + literal("s3://"+s.bucket),
		"key_id " + literal(value.AccessKeyID), "secret " + literal(value.SecretAccessKey),
		"endpoint " + literal(u.Host), "url_style " + literal(style), fmt.Sprintf("use_ssl %t", u.Scheme == "https")}
	if region := s.cfg.region(); region != "" {
		options = append(options, "region "+literal(region))
	}
	if value.SessionToken != "" {
		options = append(options, "session_token "+literal(value.SessionToken))
	}
	d = &DuckDB{Statements: []string{
		"load " + literal(s.cfg.HTTPFSExtension),
		"create secret clickledger_archive (" + strings.Join(options, ", ") + ")",
	}}
	for _, secret := range []string{value.SecretAccessKey, value.SessionToken} {
		if secret != "" {
			d.secrets = append(d.secrets, secret)
		}
	}
	return d, true, nil
}

// literal writes a text as SQL does.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
