package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/clickledger/clickledger/internal/objectstore"
)

// claim says which range begins at an offset, and by which policy its first claimant judged.
type claim struct {
	Range
	Hour   Hour   `json:"hour"`
	Policy string `json:"policy"`
	Sum    string `json:"sha256,omitempty"` // of the claim without it
}

// sum is the digest of a claim.
func (c claim) sum() string {
	digest := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", c.Range, c.Hour, c.Policy))
	return hex.EncodeToString(digest[:])
}

func claimKey(folder string, partition int32, from int64) string {
	return fmt.Sprintf("%s/%s/p=%03d/%020d.json", folderClaims, folder, partition, from)
}

func firstKey(folder string, partition int32) string {
	return fmt.Sprintf("%s/%s/p=%03d/first.json", folderClaims, folder, partition)
}

// putClaim claims the range, or returns the claim that is there; ours is false then.
func putClaim(ctx context.Context, store objectstore.Store, folder string, c claim) (got claim, ours bool, err error) {
	key := claimKey(folder, c.Partition, c.From)
	c.Sum = c.sum()
	got, ours, err = putJSON(ctx, store, key, c)
	if err != nil {
		return claim{}, false, err
	}
	if got.Partition != c.Partition || got.From != c.From || got.To < got.From || got.Hour < 0 || got.Hour > hourMax {
		return claim{}, false, fmt.Errorf("claim %s: not a claim of offset %d/%d", store.URL(key), c.Partition, c.From)
	}
	return got, ours, nil
}

// putFirst settles at which offset a partition's archive begins. Two archivers that start on an empty
// archive may find different first offsets in the log, as the log forgets.
func putFirst(ctx context.Context, store objectstore.Store, folder string, partition int32, first int64) (int64, error) {
	got, _, err := putJSON(ctx, store, firstKey(folder, partition), Range{Partition: partition, From: first, To: first})
	return got.From, err
}

// putJSON puts a value if absent and returns the one that is there.
func putJSON[T any](ctx context.Context, store objectstore.Store, key string, v T) (got T, created bool, err error) {
	b, err := json.Marshal(v)
	if err != nil {
		return got, false, fmt.Errorf("put %s: %w", store.URL(key), err)
	}
	created, err = store.Put(ctx, key, b, objectstore.PutOptions{IfAbsent: true})
	if err != nil || created {
		return v, created, err
	}
	b, err = store.Get(ctx, key)
	if err != nil {
		return got, false, err
	}
	if err := json.Unmarshal(b, &got); err != nil {
		return got, false, fmt.Errorf("read %s: %w", store.URL(key), err)
	}
	return got, false, nil
}
