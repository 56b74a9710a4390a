package signedurl

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

const (
	secretBytesMin = 32
	keysMax        = 32
)

// validID is what a key may be called: it stands in URLs.
var validID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`)

// Keys are the keys in force. The zero value has none: use ParseKeys.
type Keys struct{ keys []key }

type key struct {
	id     string
	secret []byte
}

// ParseKeys reads keys, one a line or separated by commas: an id, a colon, and a secret of at least 32
// bytes in base64. Lines that begin with # are notes. Errors name the line, never what is in it.
func ParseKeys(text string) (*Keys, error) {
	k := &Keys{}
	for i, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ',' }) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, encoded, ok := strings.Cut(line, ":")
		secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		if err != nil {
			secret, err = base64.RawURLEncoding.DecodeString(strings.TrimSpace(encoded))
		}
		switch id = strings.TrimSpace(id); {
		case !ok || err != nil:
			return nil, fmt.Errorf("key %d: expected an id, a colon and base64", i+1)
		case !validID.MatchString(id):
			return nil, fmt.Errorf("key %d: an id is 1 to 32 letters, digits, dots, dashes or underscores", i+1)
		case len(secret) < secretBytesMin:
			return nil, fmt.Errorf("key %s: the secret has %d bytes, fewer than %d", id, len(secret), secretBytesMin)
		case k.find(id) != nil:
			return nil, fmt.Errorf("key %s: given twice", id)
		case len(k.keys) == keysMax:
			return nil, fmt.Errorf("more than %d keys", keysMax)
		}
		k.keys = append(k.keys, key{id, secret})
	}
	if len(k.keys) == 0 {
		return nil, errors.New("no keys")
	}
	return k, nil
}

// ReadKeys reads the keys of a file.
func ReadKeys(path string) (*Keys, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k, err := ParseKeys(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// NewKey returns a line for a file of keys, with a secret of random bytes.
func NewKey(id string) (string, error) {
	if !validID.MatchString(id) {
		return "", errors.New("an id is 1 to 32 letters, digits, dots, dashes or underscores")
	}
	secret := make([]byte, secretBytesMin)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	return id + ":" + base64.StdEncoding.EncodeToString(secret), nil
}

// IDs returns the ids of the keys; the first signs.
func (k *Keys) IDs() []string {
	var ids []string
	for i := range k.keys {
		ids = append(ids, k.keys[i].id)
	}
	return ids
}

func (k *Keys) find(id string) *key {
	for i := range k.keys {
		if k.keys[i].id == id {
			return &k.keys[i]
		}
	}
	return nil
}
