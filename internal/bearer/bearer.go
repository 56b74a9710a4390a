// Package bearer checks the JSON Web Tokens that callers of the analytics API present, and makes
// such tokens for development.
//
// A token is taken if it is signed by HS256 with the shared secret, or by RS256 or ES256 with a
// public key of the JSON Web Key Set, is meant for the audience, comes from the issuer, and has not
// expired. The algorithm decides which kind of key may be used, and every key is used with one
// algorithm only: a public key is never taken for a shared secret, and a token that is not signed is
// no token. Everything else about a token is an error that wraps ErrInvalid, with a reason that can
// be told to the caller.
package bearer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// ErrInvalid is wrapped by every error about a token.
var ErrInvalid = errors.New("the token is not valid")

// ErrUnavailable says nothing about a token: the keys to check it by cannot be read.
var ErrUnavailable = errors.New("the keys that tokens are checked by cannot be read")

// Limits.
const (
	// SecretBytesMin is the shortest secret: HS256 wants a key as long as its hash.
	SecretBytesMin = 32
	tokenBytesMax  = 8 << 10
	// skew is how far the clocks of issuer and verifier may differ.
	skew = 30 * time.Second
)

// RoleAdmin is the role that sees all advertisers.
const RoleAdmin = "admin"

// The private claims.
const (
	claimAdvertiser = "advertiser_id"
	claimRole       = "role"
)

// Claims is what a token says of its bearer.
type Claims struct {
	Subject string
	// AdvertiserID is the advertiser that the bearer may see; empty: none.
	AdvertiserID string
	// IsAdmin: the bearer may see all advertisers.
	IsAdmin bool
	// ExpiresAt is in UTC.
	ExpiresAt time.Time
}

// MaySee reports whether the bearer may see the advertiser's numbers.
func (c Claims) MaySee(advertiserID string) bool {
	return c.IsAdmin || c.AdvertiserID != "" && c.AdvertiserID == advertiserID
}

// Config says which tokens are taken. Secret, JWKS or both are needed.
type Config struct {
	// Secret is the key of HS256, at least SecretBytesMin bytes; empty: no token by HS256 is taken.
	Secret []byte
	// JWKS is where the public keys of RS256 and ES256 are: the path of a file, or an https:// URL
	// (http:// on this machine only). Empty: no such token is taken.
	JWKS string
	// Audience must be among a token's audiences. Required.
	Audience string
	// Issuer must be a token's issuer; empty: any.
	Issuer string
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Client fetches the JWKS; default a client of its own, with limits.
	Client *http.Client
	// Logger gets failures to refresh keys; default none.
	Logger *slog.Logger
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	cfg  Config
	keys *keySet // nil without a JWKS
}

// Open checks the configuration and reads the keys. A file that cannot be read is an error; a URL that
// does not answer is tried again when the first token comes.
func Open(ctx context.Context, cfg Config) (*Verifier, error) {
	var errs []error
	if len(cfg.Secret) == 0 && cfg.JWKS == "" {
		errs = append(errs, errors.New("tokens: neither a secret nor a key set to check them by"))
	}
	if n := len(cfg.Secret); n > 0 && n < SecretBytesMin {
		errs = append(errs, fmt.Errorf("tokens: the secret has %d bytes: at least %d are needed", n, SecretBytesMin))
	}
	if cfg.Audience == "" {
		errs = append(errs, errors.New("tokens: no audience"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{cfg: cfg}
	if cfg.JWKS != "" {
		keys, err := openKeySet(ctx, cfg)
		if err != nil {
			return nil, err
		}
		v.keys = keys
	}
	return v, nil
}

// Verify returns the claims of a token, or an error that wraps ErrInvalid, or ErrUnavailable.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	if err := checkForm(token); err != nil {
		return Claims{}, err
	}
	var isAway bool
	provide := func(ctx context.Context, sink jws.KeySink, sig *jws.Signature, m *jws.Message) error {
		err := v.provide(ctx, sink, sig, m)
		isAway = errors.Is(err, ErrUnavailable)
		return err
	}
	options := []jwt.ParseOption{
		jwt.WithContext(ctx), jwt.WithKeyProvider(jws.KeyProviderFunc(provide)), jwt.WithValidate(true),
		jwt.WithClock(jwt.ClockFunc(v.cfg.Now)), jwt.WithAcceptableSkew(skew),
		jwt.WithRequiredClaim(jwt.ExpirationKey), jwt.WithAudience(v.cfg.Audience),
	}
	if v.cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(v.cfg.Issuer))
	}
	parsed, err := jwt.Parse([]byte(token), options...)
	if isAway {
		return Claims{}, ErrUnavailable
	}
	if err != nil {
		return Claims{}, invalid(reason(err))
	}
	return claimsOf(parsed)
}

// checkForm takes the compact form alone, letter by letter: the others may hold several signatures and
// headers that are not signed. The library reads times out of texts, and tokens within tokens; by the
// standard a time is a number, and we make no use of the rest.
func checkForm(token string) error {
	if len(token) > tokenBytesMax || strings.Count(token, ".") != 2 {
		return invalid("it is not a compact JSON Web Token")
	}
	var payload []byte
	for i, part := range strings.Split(token, ".") {
		text, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || strings.ContainsAny(part, "\r\n") {
			return invalid("it is not a compact JSON Web Token")
		}
		if i == 1 {
			payload = text
		}
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		return invalid("its claims are no JSON object")
	}
	for _, name := range []string{jwt.ExpirationKey, jwt.NotBeforeKey, jwt.IssuedAtKey} {
		if value, ok := claims[name]; ok && value[0] != '-' && (value[0] < '0' || value[0] > '9') {
			return invalid("its claim " + name + " is not a number")
		}
	}
	return nil
}

// provide hands the library the keys that a signature may be checked with. The algorithm that the
// token names only chooses among kinds of keys; it never makes one kind into another.
func (v *Verifier) provide(ctx context.Context, sink jws.KeySink, sig *jws.Signature, _ *jws.Message) error {
	headers := sig.ProtectedHeaders()
	algorithm, ok := headers.Algorithm()
	if !ok {
		return errors.New("no algorithm")
	}
	if headers.Has(jws.CriticalKey) {
		return errors.New("an extension that must be understood, and is not") // there is none that we do
	}
	keyID, _ := headers.KeyID()
	switch algorithm {
	case jwa.HS256():
		if len(v.cfg.Secret) > 0 {
			sink.Key(algorithm, v.cfg.Secret)
			return nil
		}
	case jwa.RS256(), jwa.ES256():
		if v.keys == nil {
			break
		}
		key, err := v.keys.find(ctx, algorithm, keyID)
		if err != nil {
			return err
		}
		sink.Key(algorithm, key)
		return nil
	}
	return fmt.Errorf("algorithm %q is not accepted", algorithm.String())
}

func claimsOf(t jwt.Token) (Claims, error) {
	var c Claims
	c.Subject, _ = t.Subject()
	if at, ok := t.Expiration(); ok {
		c.ExpiresAt = at.UTC()
	}
	var role string
	for name, to := range map[string]*string{claimAdvertiser: &c.AdvertiserID, claimRole: &role} {
		if t.Has(name) {
			if err := t.Get(name, to); err != nil {
				return Claims{}, invalid("its claim " + name + " is not a text")
			}
		}
	}
	c.IsAdmin = role == RoleAdmin
	return c, nil
}

func invalid(why string) error { return fmt.Errorf("%w: %s", ErrInvalid, why) }

// reason is what a caller is told. What was wrong with a signature stays here.
func reason(err error) string {
	switch {
	case errors.Is(err, jwt.TokenExpiredError()):
		return "it has expired"
	case errors.Is(err, jwt.TokenNotYetValidError()), errors.Is(err, jwt.InvalidIssuedAtError()):
		return "it is not valid yet"
	case errors.Is(err, jwt.InvalidAudienceError()):
		return "it is for another audience"
	case errors.Is(err, jwt.InvalidIssuerError()):
		return "it is from another issuer"
	case errors.Is(err, jwt.MissingRequiredClaimError()):
		return "it never expires"
	default:
		return "its signature cannot be verified"
	}
}

// Grant is what a token for development says.
type Grant struct {
	Subject, AdvertiserID string
	IsAdmin               bool
	Audience, Issuer      string
	IssuedAt              time.Time
	ValidFor              time.Duration
}

// Sign makes a token by HS256.
func Sign(secret []byte, g Grant) (string, error) {
	if len(secret) < SecretBytesMin {
		return "", fmt.Errorf("tokens: the secret has %d bytes: at least %d are needed", len(secret), SecretBytesMin)
	}
	b := jwt.NewBuilder().Subject(g.Subject).Audience([]string{g.Audience}).
		IssuedAt(g.IssuedAt).Expiration(g.IssuedAt.Add(g.ValidFor))
	if g.Issuer != "" {
		b = b.Issuer(g.Issuer)
	}
	if g.AdvertiserID != "" {
		b = b.Claim(claimAdvertiser, g.AdvertiserID)
	}
	if g.IsAdmin {
		b = b.Claim(claimRole, RoleAdmin)
	}
	token, err := b.Build()
	if err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	signed, err := jwt.Sign(token, jwt.WithKey(jwa.HS256(), secret))
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return string(signed), nil
}
