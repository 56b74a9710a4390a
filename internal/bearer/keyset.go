package bearer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// How keys are kept fresh.
const (
	refreshInterval = 5 * time.Minute
	// retryInterval is the least time between two reads, whatever tokens ask for.
	retryInterval = 10 * time.Second
	// staleMax is how long keys are used whose source does not answer any more.
	staleMax = 24 * time.Hour

	fetchTimeout = 5 * time.Second
	keysBytesMax = 1 << 20
	rsaBitsMin   = 2048
)

// publicKey is one key of the set, for one algorithm.
type publicKey struct {
	id        string
	algorithm jwa.SignatureAlgorithm
	key       any // *rsa.PublicKey or *ecdsa.PublicKey
}

// keySet is the public keys of a JWKS, read again while tokens come.
type keySet struct {
	cfg    Config
	isURL  bool
	client *http.Client

	reading sync.Mutex // held by the one who reads

	mu       sync.Mutex // guards what follows
	keys     []publicKey
	readAt   time.Time
	triedAt  time.Time
	isFailed bool
}

func openKeySet(ctx context.Context, cfg Config) (*keySet, error) {
	s := &keySet{cfg: cfg, client: cfg.Client}
	u, err := url.Parse(cfg.JWKS)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		s.isURL = true
		if u.Scheme == "http" && !isLoopback(u.Hostname()) {
			return nil, errors.New("tokens: the key set is fetched by https, or by http on this machine only")
		}
	}
	if s.client == nil {
		s.client = &http.Client{Timeout: fetchTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // keys are where the configuration says, and nowhere else
		}}
	}
	if err := s.read(ctx); err != nil && !s.isURL {
		return nil, err
	}
	return s, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// find returns the key of an algorithm and ID, errNoKey where the set has none, and ErrUnavailable where
// there is no set. A token without an ID may use the only key of its algorithm.
func (s *keySet) find(ctx context.Context, algorithm jwa.SignatureAlgorithm, id string) (any, error) {
	key, readAt, triedAt := s.lookUp(algorithm, id)
	now := s.cfg.Now()
	due := now.Sub(readAt) >= refreshInterval || key == nil
	if due && now.Sub(triedAt) >= retryInterval {
		// Those who come while one reads go on with what there is, if it is any good to them.
		if key == nil {
			s.reading.Lock()
		} else if !s.reading.TryLock() {
			return key, nil
		}
		if _, _, tried := s.lookUp(algorithm, id); tried.Equal(triedAt) {
			_ = s.read(ctx) // which logs; the keys that are there stand
		}
		s.reading.Unlock()
		key, readAt, _ = s.lookUp(algorithm, id)
	}
	switch {
	case key != nil:
		return key, nil
	case s.cfg.Now().Sub(readAt) >= staleMax: // never read included
		return nil, ErrUnavailable
	default:
		return nil, errNoKey
	}
}

var errNoKey = errors.New("no such key")

func (s *keySet) lookUp(algorithm jwa.SignatureAlgorithm, id string) (key any, readAt, triedAt time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Now().Sub(s.readAt) >= staleMax {
		return nil, s.readAt, s.triedAt
	}
	var of []publicKey
	for _, k := range s.keys {
		if k.algorithm == algorithm && (id == "" || k.id == id) {
			of = append(of, k)
		}
	}
	if len(of) == 1 {
		key = of[0].key
	}
	return key, s.readAt, s.triedAt
}

// read reads the set and replaces the keys. After an error they stand as they were.
func (s *keySet) read(ctx context.Context) error {
	doc, err := s.document(ctx)
	var keys []publicKey
	if err == nil {
		keys, err = parseKeys(doc)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.triedAt = s.cfg.Now()
	if err != nil {
		if !s.isFailed {
			s.cfg.Logger.Warn("the keys of tokens cannot be read; those read before are used", "error", err)
		}
		s.isFailed = true
		return fmt.Errorf("read the key set of tokens: %w", err)
	}
	s.keys, s.readAt, s.isFailed = keys, s.triedAt, false
	return nil
}

func (s *keySet) document(ctx context.Context) ([]byte, error) {
	if !s.isURL {
		return os.ReadFile(strings.TrimPrefix(s.cfg.JWKS, "file://"))
	}
	// A caller who goes away does not keep the others from getting the keys.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.JWKS, nil)
	if err != nil {
		return nil, err
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", answer.Status)
	}
	doc, err := io.ReadAll(io.LimitReader(answer.Body, keysBytesMax+1))
	if err == nil && len(doc) > keysBytesMax {
		err = fmt.Errorf("longer than %d bytes", keysBytesMax)
	}
	return doc, err
}

// parseKeys takes the public keys that sign by RS256 or ES256. Other keys of a set are passed over, of
// kinds and curves that nobody here knows too, as RFC 7517 wants it.
func parseKeys(doc []byte) ([]publicKey, error) {
	set, err := jwk.Parse(doc, jwk.WithStrictKeySetParsing(false))
	if err != nil {
		return nil, err
	}
	var keys []publicKey
	for i := range set.Len() {
		key, ok := set.Key(i)
		if !ok {
			continue
		}
		if use, ok := key.KeyUsage(); ok && use != "sig" {
			continue
		}
		if ops, ok := key.KeyOps(); ok && !slices.Contains(ops, jwk.KeyOpVerify) {
			continue
		}
		k, ok := publicKeyOf(key)
		if !ok {
			continue
		}
		if algorithm, ok := key.Algorithm(); ok && algorithm.String() != k.algorithm.String() {
			continue
		}
		k.id, _ = key.KeyID()
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("no public key for RS256 or ES256")
	}
	return keys, nil
}

func publicKeyOf(key jwk.Key) (publicKey, bool) {
	var raw any
	if jwk.Export(key, &raw) != nil {
		return publicKey{}, false
	}
	switch raw := raw.(type) {
	case *rsa.PublicKey:
		return publicKey{algorithm: jwa.RS256(), key: raw}, raw.N.BitLen() >= rsaBitsMin
	case *ecdsa.PublicKey:
		return publicKey{algorithm: jwa.ES256(), key: raw}, raw.Curve == elliptic.P256()
	default:
		return publicKey{}, false // private and symmetric keys included
	}
}
