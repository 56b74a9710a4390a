package config

import (
	"fmt"
	"time"
)

// init adds the keys of the analytics API to the table, at its end.
func init() {
	keys = append(keys, Key{
		Name: "api.listen", Flag: "api-listen", Default: "127.0.0.1:8090", Kind: address(),
		Help: "address of the analytics API and of the dashboard page",
	}, Key{
		Name: "api.token_secret", Flag: "api-token-secret", Secret: true,
		Kind: pattern("text", "at least 32 characters, but on no command line", `.{32,}`),
		Help: "the secret of tokens that are signed by HS256",
	}, Key{
		Name: "api.token_secret_file", Flag: "api-token-secret-file",
		Kind: besideFile(filePath("a readable file whose first line is the secret")), Help: "holds that secret",
	}, Key{
		Name: "api.jwks", Flag: "api-jwks", Kind: pattern("url", "the path of a JWKS file, or the https:// URL of one", `\S+`),
		Help: "the public keys of tokens that are signed by RS256 or ES256",
	}, Key{
		Name: "api.audience", Flag: "api-audience", Default: "clickledger", Kind: pattern("name", "a text without blanks", `\S+`),
		Help: "what a token must name as an audience",
	}, Key{
		Name: "api.issuer", Flag: "api-issuer", Kind: pattern("name", "a text without blanks", `\S+`),
		Help: "what a token must name as its issuer; unset takes any",
	}, Key{
		Name: "api.ledger", Flag: "api-ledger", Kind: place(nil, "postgres://host:port/database"),
		Help: "the ledger by a login of the API's own, a member of clickledger_read; unset is that of ledger",
	}, Key{
		Name: "api.ledger_password_file", Flag: "api-ledger-password-file",
		Kind: filePath("a readable file whose first line is the password"),
		Help: "holds the password of api.ledger, for a URL without one",
	}, Key{
		Name: "api.rate", Flag: "api-rate", Default: "20", Kind: count(1_000_000),
		Help: "the most requests a second of one token's subject; at once three times as many",
	}, Key{
		Name: "api.query_timeout", Flag: "api-query-timeout", Default: "10s", Kind: duration(100*time.Millisecond, 5*time.Minute),
		Help: "how long a request may take before its answer is 503",
	})
}

// API is the analytics API and the dashboard page.
type API struct {
	Listen string `koanf:"listen"`
	// TokenSecret and TokenSecretFile are for APISecret.
	TokenSecret     string `koanf:"token_secret"`
	TokenSecretFile string `koanf:"token_secret_file"`
	JWKS            string `koanf:"jwks"`
	Audience        string `koanf:"audience"`
	Issuer          string `koanf:"issuer"`
	// Ledger and LedgerPasswordFile are for APILedgerURL.
	Ledger             string        `koanf:"ledger"`
	LedgerPasswordFile string        `koanf:"ledger_password_file"`
	Rate               int           `koanf:"rate"`
	QueryTimeout       time.Duration `koanf:"query_timeout"`
}

// APISecret returns the secret of tokens by HS256, that of the file where there is none besides;
// empty where none is set. It must not be printed.
func (c *Config) APISecret() ([]byte, error) {
	if c.API.TokenSecret != "" || c.API.TokenSecretFile == "" {
		return []byte(c.API.TokenSecret), nil
	}
	secret, err := ReadPassword(c.API.TokenSecretFile)
	if err != nil {
		return nil, fmt.Errorf("read api.token_secret_file: %w", err)
	}
	return []byte(secret), nil
}

// APILedgerURL returns the URL by which the API reads the ledger: that of api.ledger, else that of
// ledger; empty where neither is set. It holds a secret and must not be printed.
func (c *Config) APILedgerURL() (string, error) {
	if c.API.Ledger == "" {
		return c.LedgerURL()
	}
	return withPassword("api.ledger", c.API.Ledger, "", c.API.LedgerPasswordFile)
}
