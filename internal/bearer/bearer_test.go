package bearer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

var secret = []byte("a secret of thirty-two bytes, long")

// rig is a verifier with one key of each kind.
type rig struct {
	verifier *Verifier
	rsa      *rsa.PrivateKey
	ec       *ecdsa.PrivateKey
}

func setup(t *testing.T) rig {
	t.Helper()
	r := rig{}
	var err error
	if r.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if r.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, keysOf(t, map[string]any{"r": r.rsa.PublicKey, "e": r.ec.PublicKey}), 0o600); err != nil {
		t.Fatal(err)
	}
	r.verifier, err = Open(t.Context(), Config{Secret: secret, JWKS: path, Audience: "clickledger", Issuer: "https://issuer.example",
		Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// keysOf is a JWKS of public keys by their IDs.
func keysOf(t *testing.T, keys map[string]any) []byte {
	t.Helper()
	set := jwk.NewSet()
	for id, raw := range keys {
		switch k := raw.(type) {
		case rsa.PublicKey:
			raw = &k
		case ecdsa.PublicKey:
			raw = &k
		}
		key, err := jwk.Import(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Set(jwk.KeyIDKey, id); err != nil {
			t.Fatal(err)
		}
		if err := set.AddKey(key); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// claims are those of a token that is taken, changed by the pairs of name and value; nil takes one away.
func claims(change ...any) map[string]any {
	c := map[string]any{"sub": "user-1", "aud": "clickledger", "iss": "https://issuer.example", "exp": now.Add(time.Hour).Unix(),
		"advertiser_id": "adv_1"}
	for i := 0; i < len(change); i += 2 {
		if c[change[i].(string)] = change[i+1]; change[i+1] == nil {
			delete(c, change[i].(string))
		}
	}
	return c
}

func sign(t *testing.T, algorithm jwa.SignatureAlgorithm, key any, keyID string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	headers := jws.NewHeaders()
	if keyID != "" {
		if err := headers.Set(jws.KeyIDKey, keyID); err != nil {
			t.Fatal(err)
		}
	}
	token, err := jws.Sign(payload, jws.WithKey(algorithm, key, jws.WithProtectedHeaders(headers)))
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

// raw is a token of these parts, as no honest library makes it.
func raw(header string, claims map[string]any, signature string) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	b := base64.RawURLEncoding
	return b.EncodeToString([]byte(header)) + "." + b.EncodeToString(payload) + "." + signature
}

func TestTokensThatAreTaken(t *testing.T) {
	t.Parallel()
	r := setup(t)
	want := Claims{Subject: "user-1", AdvertiserID: "adv_1", ExpiresAt: now.Add(time.Hour)}
	admin := want
	admin.AdvertiserID, admin.IsAdmin = "", true
	for name, tt := range map[string]struct {
		token string
		want  Claims
	}{
		"HS256":                {sign(t, jwa.HS256(), secret, "", claims()), want},
		"RS256":                {sign(t, jwa.RS256(), r.rsa, "r", claims()), want},
		"ES256":                {sign(t, jwa.ES256(), r.ec, "e", claims()), want},
		"RS256 without a kid":  {sign(t, jwa.RS256(), r.rsa, "", claims()), want},
		"admin":                {sign(t, jwa.HS256(), secret, "", claims("advertiser_id", nil, "role", "admin")), admin},
		"several audiences":    {sign(t, jwa.HS256(), secret, "", claims("aud", []string{"other", "clickledger"})), want},
		"a clock that is late": {sign(t, jwa.HS256(), secret, "", claims("nbf", now.Add(10*time.Second).Unix())), want},
	} {
		got, err := r.verifier.Verify(t.Context(), tt.token)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, tt.want)
		}
	}
}

func TestHostileTokens(t *testing.T) {
	t.Parallel()
	r := setup(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&r.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := sign(t, jwa.HS256(), secret, "", claims())
	parts := strings.Split(good, ".")
	hs := func(change ...any) string { return sign(t, jwa.HS256(), secret, "", claims(change...)) }
	for name, tt := range map[string]struct{ token, reason string }{
		"nothing":                           {"", "compact"},
		"no token":                          {"hello", "compact"},
		"alg none":                          {raw(`{"alg":"none"}`, claims(), ""), "signature"},
		"alg None":                          {raw(`{"alg":"None"}`, claims(), ""), "signature"},
		"alg none with a signature":         {raw(`{"alg":"none"}`, claims(), parts[2]), "signature"},
		"no alg":                            {raw(`{"typ":"JWT"}`, claims(), parts[2]), "signature"},
		"signature taken away":              {parts[0] + "." + parts[1] + ".", "signature"},
		"payload changed":                   {raw(`{"alg":"HS256"}`, claims("advertiser_id", "adv_2"), parts[2]), "signature"},
		"HS256 by another secret":           {sign(t, jwa.HS256(), bytes.Repeat([]byte("x"), 32), "", claims()), "signature"},
		"HS512 by the secret":               {sign(t, jwa.HS512(), append(secret, secret...), "", claims()), "signature"},
		"RS256 by another key":              {sign(t, jwa.RS256(), stranger, "r", claims()), "signature"},
		"RS256 by another key, no kid":      {sign(t, jwa.RS256(), stranger, "", claims()), "signature"},
		"RS256 by an unknown kid":           {sign(t, jwa.RS256(), r.rsa, "unknown", claims()), "signature"},
		"PS256 by the RSA key":              {sign(t, jwa.PS256(), r.rsa, "r", claims()), "signature"},
		"HS256 by the public key as a PEM":  {sign(t, jwa.HS256(), public, "r", claims()), "signature"},
		"HS256 by the public key as DER":    {sign(t, jwa.HS256(), der, "r", claims()), "signature"},
		"HS256 by the public key's modulus": {sign(t, jwa.HS256(), r.rsa.N.Bytes(), "r", claims()), "signature"},
		"key in the header":                 {withKeyInHeader(t, stranger), "signature"},
		"JSON serialization":                {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, "compact"},
		"expired":                           {hs("exp", now.Add(-time.Minute).Unix()), "expired"},
		"never expires":                     {hs("exp", nil), "never expires"},
		"not valid yet":                     {hs("nbf", now.Add(time.Hour).Unix()), "not valid yet"},
		"issued in the future":              {hs("iat", now.Add(time.Hour).Unix()), "not valid yet"},
		"wrong audience":                    {hs("aud", "other"), "audience"},
		"no audience":                       {hs("aud", nil), "audience"},
		"wrong issuer":                      {hs("iss", "https://evil.example"), "issuer"},
		"no issuer":                         {hs("iss", nil), "issuer"},
		"an advertiser that is no text":     {hs("advertiser_id", []string{"adv_1", "adv_2"}), "advertiser_id"},
		"a role that is no text":            {hs("role", true), "role"},
		"a time that is a text":             {hs("exp", strconv.FormatInt(now.Add(time.Hour).Unix(), 10)), "exp is not a number"},
		"a time in words":                   {hs("nbf", "2026-11-25T11:00:00Z"), "nbf is not a number"},
		"a time that is null":               {hs("iat", json.RawMessage("null")), "iat is not a number"},
		"an extension that is critical":     {withHeader(t, `{"alg":"HS256","crit":["x"],"x":1}`, claims()), "signature"},
		"a list of none that is critical":   {withHeader(t, `{"alg":"HS256","crit":[]}`, claims()), "signature"},
		"a standard header that is":         {withHeader(t, `{"alg":"HS256","crit":["alg"]}`, claims()), "signature"},
		"another token as its claims":       {withHeader(t, `{"alg":"HS256","cty":"JWT"}`, good), "JSON object"},
		"a padded signature":                {good + "=", "compact"},
		"a line break in the signature":     {good[:len(good)-4] + "\n" + good[len(good)-4:], "compact"},
		"bits behind the signature":         {good[:len(good)-1] + string(good[len(good)-1]+1), "compact"},
		"the other alphabet":                {strings.Replace(parts[0], "e", "+", 1) + "." + parts[1] + "." + parts[2], "compact"},
		"a megabyte":                        {good + strings.Repeat("A", 1<<20), "compact"},
	} {
		got, err := r.verifier.Verify(t.Context(), tt.token)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.reason) || got != (Claims{}) {
			t.Errorf("%s: got %+v, %v, want an error about %q", name, got, err, tt.reason)
		}
	}
}

// withKeyInHeader is signed by a key that the token itself brings along.
func withKeyInHeader(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	public, err := jwk.Import(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	headers := jws.NewHeaders()
	if err := headers.Set(jws.JWKKey, public); err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims())
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.Sign(payload, jws.WithKey(jwa.RS256(), key, jws.WithProtectedHeaders(headers)))
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

// withHeader is signed by the secret, with a header and claims as they are.
func withHeader(t *testing.T, header string, claims any) string {
	t.Helper()
	payload, isText := claims.(string)
	if !isText {
		doc, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		payload = string(doc)
	}
	b := base64.RawURLEncoding
	signed := b.EncodeToString([]byte(header)) + "." + b.EncodeToString([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + b.EncodeToString(mac.Sum(nil))
}

func TestWithoutASecretOrKeys(t *testing.T) {
	t.Parallel()
	r := setup(t)
	onlySecret, err := Open(t.Context(), Config{Secret: secret, Audience: "clickledger", Now: r.verifier.cfg.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := onlySecret.Verify(t.Context(), sign(t, jwa.RS256(), r.rsa, "r", claims())); !errors.Is(err, ErrInvalid) {
		t.Errorf("RS256 without a key set: got %v", err)
	}
	onlyKeys, err := Open(t.Context(), Config{JWKS: r.verifier.cfg.JWKS, Audience: "clickledger", Now: r.verifier.cfg.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range [][]byte{secret, []byte("x")} {
		if _, err := onlyKeys.Verify(t.Context(), sign(t, jwa.HS256(), key, "", claims())); !errors.Is(err, ErrInvalid) {
			t.Errorf("HS256 without a secret: got %v", err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.json")
	if err := os.WriteFile(empty, []byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"nothing to check by":     {Config{Audience: "a"}, "neither"},
		"a short secret":          {Config{Audience: "a", Secret: []byte("short")}, "at least 32"},
		"no audience":             {Config{Secret: secret}, "no audience"},
		"a file that is not":      {Config{Audience: "a", JWKS: filepath.Join(dir, "none.json")}, "no such file"},
		"no public key":           {Config{Audience: "a", JWKS: empty}, "no public key"},
		"http to another machine": {Config{Audience: "a", JWKS: "http://keys.example/jwks"}, "https"},
	} {
		if _, err := Open(t.Context(), tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

func TestSign(t *testing.T) {
	t.Parallel()
	r := setup(t)
	token, err := Sign(secret, Grant{Subject: "dev", AdvertiserID: "adv_9", Audience: "clickledger", Issuer: "https://issuer.example",
		IssuedAt: now, ValidFor: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.verifier.Verify(t.Context(), token)
	want := Claims{Subject: "dev", AdvertiserID: "adv_9", ExpiresAt: now.Add(time.Minute)}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got.MaySee("adv_1") || !got.MaySee("adv_9") || (Claims{}).MaySee("") || !(Claims{IsAdmin: true}).MaySee("adv_1") {
		t.Error("MaySee does not keep advertisers apart")
	}
	if _, err := Sign([]byte("short"), Grant{}); err == nil {
		t.Error("a short secret signed")
	}
	if _, err := jwt.Parse([]byte(token), jwt.WithVerify(false), jwt.WithValidate(false)); err != nil {
		t.Error(err)
	}
}
