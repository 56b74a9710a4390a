package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/clickledger/clickledger/internal/objectstore"
)

// digestOf is the SHA-256 of an object in hexadecimal.
func digestOf(ctx context.Context, store objectstore.Store, key string) (string, error) {
	data, err := store.Get(ctx, key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
