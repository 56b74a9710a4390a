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
	if c.Ledger == "" || c.LedgerPasswordFile == "" {
		return c.Ledger, nil
	}
	u, err := url.Parse(c.Ledger)
	if err != nil {
		return "", fmt.Errorf("parse ledger url %s", Redact(c.Ledger))
	}
	if _, set := u.User.Password(); set {
		return c.Ledger, nil
	}
	text, err := os.ReadFile(c.LedgerPasswordFile)
	if err != nil {
		return "", fmt.Errorf("read ledger password: %w", err)
	}
	password, _, _ := strings.Cut(string(text), "\n")
	u.User = url.UserPassword(u.User.Username(), strings.TrimSuffix(password, "\r"))
	return u.String(), nil
}
