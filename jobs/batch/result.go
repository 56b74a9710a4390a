package batch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/clickledger/clickledger/internal/objectstore"
)

// ErrNoResult says that a day was not judged yet.
var ErrNoResult = errors.New("no result of the batch: run it first")

// Loaded is a result with its files in the file system.
type Loaded struct {
	Manifest
	Prefix                          string // in the archive
	Minutes, Decisions, DeadLetters string // paths
}

// Load reads the newest whole result of a day from the archive and checks its files by their
// digests. Copies of objects that are not in the file system go into dir.
func Load(ctx context.Context, store objectstore.Store, date, dir string) (*Loaded, error) {
	prefix, err := LastRevision(ctx, store, date)
	if err != nil {
		return nil, err
	}
	if prefix == "" {
		return nil, fmt.Errorf("%s in %s: %w", date, store.URL("results"), ErrNoResult)
	}
	m, err := LoadManifest(ctx, store, RunKey{Prefix: prefix})
	if err != nil {
		return nil, err
	}
	l := &Loaded{Manifest: *m, Prefix: prefix}
	for name, path := range map[string]*string{MinutesFile: &l.Minutes, DecisionsFile: &l.Decisions, DeadLettersFile: &l.DeadLetters} {
		data, err := store.Get(ctx, prefix+name)
		if err != nil {
			return nil, err
		}
		if digestOf(data) != l.Outputs[name] {
			return nil, fmt.Errorf("%s is not what the manifest says: %w", store.URL(prefix+name), ErrChanged)
		}
		var ok bool
		if *path, ok = store.LocalPath(prefix + name); !ok {
			if *path, err = copyObject(ctx, store, prefix+name, dir); err != nil {
				return nil, err
			}
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, err
		}
	}
	return l, nil
}
