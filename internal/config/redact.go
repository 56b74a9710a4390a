package config

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
)

const redacted = "xxxxx"

// The patterns do not need the text to be a valid URL, since messages about broken ones print it
// too. They rather take too much than too little.
var (
	userPassword  = regexp.MustCompile(`(://[^:/?#@]*):.*@`)
	queryPassword = regexp.MustCompile(`(?i)([?&][^=&]*(?:password|passwd|secret|token|key)[^=&]*=)[^&]*`)
)

// Redact replaces the passwords in a URL, those in its query included, by "xxxxx".
func Redact(s string) string {
	s = userPassword.ReplaceAllString(s, "$1:"+redacted+"@")
	return queryPassword.ReplaceAllString(s, "${1}"+redacted)
}

// LedgerURL returns the ledger's URL with the password of ledger_password_file put in where the
// URL has none. It holds a secret and must not be printed. Without a file the URL is returned as
// it is, and the driver looks at PGPASSWORD and PGPASSFILE by itself.
func (c *Config) LedgerURL() (string, error) {
	return withPassword("ledger", c.Ledger, "", c.LedgerPasswordFile)
}

// The environment of ClickHouse's own client.
const (
	envServingUser     = "CLICKHOUSE_USER"
	envServingPassword = "CLICKHOUSE_PASSWORD"
)

// ServingURL returns the serving store's URL. A clickhouse:// URL without a password gets that of
// serving_password_file, else of the variable CLICKHOUSE_PASSWORD, and without a user CLICKHOUSE_USER.
// It holds a secret and must not be printed.
func (c *Config) ServingURL() (string, error) {
	if !strings.HasPrefix(c.Serving, "clickhouse:") {
		return c.Serving, nil
	}
	place := c.Serving
	if user := os.Getenv(envServingUser); user != "" {
		u, err := url.Parse(place)
		if err != nil {
			return "", fmt.Errorf("parse serving url %s", Redact(place))
		}
		if u.User.Username() == "" {
			if password, set := u.User.Password(); set {
				u.User = url.UserPassword(user, password)
			} else {
				u.User = url.User(user)
			}
			place = u.String()
		}
	}
	return withPassword("serving", place, os.Getenv(envServingPassword), c.ServingPasswordFile)
}

// ReadPassword reads a password file: the password is its first line.
func ReadPassword(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// withPassword puts the first line of a file, or without one the password, into a URL that has none.
func withPassword(key, place, password, file string) (string, error) {
	if place == "" || file == "" && password == "" {
		return place, nil
	}
	u, err := url.Parse(place)
	if err != nil {
		return "", fmt.Errorf("parse %s url %s", key, Redact(place))
	}
	if _, set := u.User.Password(); set {
		return place, nil
	}
	if file != "" {
		if password, err = ReadPassword(file); err != nil {
			return "", fmt.Errorf("read %s password: %w", key, err)
		}
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String(), nil
}
