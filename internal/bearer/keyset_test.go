package bearer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
)

// TestAKeyThatIsNotKnown: one key of a set that nobody here can use does not take the others away.
func TestAKeyThatIsNotKnown(t *testing.T) {
	t.Parallel()
	r := setup(t)
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(keysOf(t, map[string]any{"r": r.rsa.PublicKey}), &set); err != nil {
		t.Fatal(err)
	}
	for name, odd := range map[string]string{
		"a kind":        `{"kty":"AKP","kid":"odd","alg":"ML-DSA-44","pub":"AAAA"}`,
		"a curve":       `{"kty":"EC","kid":"odd","crv":"P-000","x":"AAAA","y":"AAAA"}`,
		"a weak key":    `{"kty":"RSA","kid":"odd","n":"` + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 128)) + `","e":"AQAB"}`,
		"no kind":       `{"kid":"odd"}`,
		"a kind is one": `{"kty":1}`,
		"no object":     `"odd"`,
	} {
		doc, err := json.Marshal(map[string]any{"keys": []json.RawMessage{json.RawMessage(odd), set.Keys[0]}})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, doc, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := Open(t.Context(), Config{JWKS: path, Audience: "clickledger", Now: r.verifier.cfg.Now})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := v.Verify(t.Context(), sign(t, jwa.RS256(), r.rsa, "r", claims())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAKeyForAnotherUse: a key that is published for something else checks no token.
func TestAKeyForAnotherUse(t *testing.T) {
	t.Parallel()
	r := setup(t)
	for name, tt := range map[string]struct {
		member string
		value  any
		want   bool
	}{
		"signatures": {"use", "sig", true}, "encryption": {"use", "enc", false}, "its algorithm": {"alg", "RS256", true},
		"another algorithm": {"alg", "RS512", false}, "verifying": {"key_ops", []string{"verify"}, true},
		"encrypting": {"key_ops", []string{"encrypt", "wrapKey"}, false},
	} {
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		if err := json.Unmarshal(keysOf(t, map[string]any{"r": r.rsa.PublicKey}), &set); err != nil {
			t.Fatal(err)
		}
		set.Keys[0][tt.member] = tt.value
		doc, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := parseKeys(doc); (err == nil && len(keys) == 1) != tt.want {
			t.Errorf("%s: got %d keys, %v", name, len(keys), err)
		}
	}
}

// TestKeysAreRotated moves the clock: keys are read again when they are due and when a token names an
// unknown one, but never twice within the retry interval.
func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	r := setup(t)
	next, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var doc atomic.Value
	var reads, down atomic.Int64
	doc.Store(keysOf(t, map[string]any{"r": r.rsa.PublicKey}))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reads.Add(1)
		if down.Load() > 0 {
			http.Error(w, "down", http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(doc.Load().([]byte))
	}))
	defer srv.Close()
	var clock atomic.Int64
	clock.Store(now.Unix())
	v, err := Open(t.Context(), Config{JWKS: srv.URL, Audience: "clickledger", Now: func() time.Time { return time.Unix(clock.Load(), 0) }})
	if err != nil {
		t.Fatal(err)
	}
	far := claims("exp", now.Add(100*time.Hour).Unix())
	old, rotated := sign(t, jwa.RS256(), r.rsa, "r", far), sign(t, jwa.RS256(), next, "next", far)
	check := func(step, token string, want bool, wantReads int64) {
		t.Helper()
		if _, err := v.Verify(context.Background(), token); (err == nil) != want || reads.Load() != wantReads {
			t.Errorf("%s: got %v after %d reads, want %t after %d", step, err, reads.Load(), want, wantReads)
		}
	}
	check("the first key", old, true, 1)
	doc.Store(keysOf(t, map[string]any{"next": next.PublicKey}))
	check("an unknown key, asked for too soon", rotated, false, 1)
	clock.Add(int64(retryInterval / time.Second))
	check("an unknown key", rotated, true, 2)
	check("a key that was taken out", old, false, 2)
	if _, err := v.Verify(t.Context(), old); !errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnavailable) {
		t.Errorf("a key that was taken out: got %v, want ErrInvalid", err)
	}
	down.Store(1)
	clock.Add(int64(refreshInterval / time.Second))
	check("the source is away", rotated, true, 3)
	clock.Add(int64(staleMax / time.Second))
	check("the source was away for too long", rotated, false, 4)
	if _, err := v.Verify(t.Context(), rotated); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalid) {
		t.Errorf("without keys: got %v, want ErrUnavailable", err)
	}
	down.Store(0)
	clock.Add(int64(retryInterval / time.Second))
	check("the source is back", rotated, true, 5)
}
