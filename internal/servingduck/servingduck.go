// Package servingduck is the embedded serving store: minute rows in one DuckDB file, named by a
// URL duckdb:///path/file.
//
// A DuckDB file belongs to one process. The process that opens it first owns it, and serves a
// small HTTP API on a random port of 127.0.0.1 behind a random bearer token; address and token
// stand in the sidecar <file>.owner.json (mode 0600). Whoever opens the file after that works
// through the owner, by the same interface. Ownership is a lock on <file>.lock, which the kernel
// drops with the process: after kill -9 the next Open owns the file.
//
// Guarantees: every write is one transaction, durable when it returns; Upsert stores rows and
// progress in the same one, and only the owner may call it. Provisional rows (of the stream) and
// final rows (of the batch layer) are kept apart; csp_analytics.ad_clicks_hourly shows the final
// rows of a day below its cut and the provisional rows of all other minutes. Publishing final rows
// never touches the provisional ones. The owner lays out rows by advertiser once their minutes are
// settled (cluster.go), which no figure depends on. Units: Unix milliseconds UTC, int64 micros.
package servingduck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	"github.com/clickledger/clickledger/schemas/serving"
)

var (
	// ErrNotOwner is returned by Upsert where another process owns the file.
	ErrNotOwner = errors.New("the file belongs to another process")
	// ErrOwned is returned by Open where another process owns the file and Options.MustOwn is set,
	// or where the owner does not answer.
	ErrOwned = errors.New("the file is held by another process")
	// ErrOwnerGone is returned where the process that owned the file does not answer any more. The
	// call had no effect or its whole effect; open the store again and repeat it.
	ErrOwnerGone = errors.New("the owner of the file does not answer")
)

// Options configures Open. The zero value is usable.
type Options struct {
	// MustOwn makes Open wait for ownership and fail with ErrOwned without it. Default false.
	MustOwn bool
	// Wait is how long Open waits for a starting owner, or for ownership with MustOwn. Default 10s.
	Wait time.Duration
	// MemoryLimit is DuckDB's memory_limit. Default 1GB.
	MemoryLimit string
	// Threads is how many queries run at a time, each on a thread of its own. Default 2.
	Threads int
	// TempDir is the folder for spill files and Parquet on its way, in a folder of the store's own
	// below it that comes and goes. Default: beside the file for its owner, else the system's.
	TempDir string
	// Logger gets the owner's warnings. Default: discarded.
	Logger *slog.Logger

	clusterRows int // tests lay out fewer rows at a time
}

const (
	defaultWait        = 10 * time.Second
	defaultMemoryLimit = "1GB"
	defaultThreads     = 2
	retryPause         = 20 * time.Millisecond
)

func (o Options) withDefaults() Options {
	if o.Wait == 0 {
		o.Wait = defaultWait
	}
	if o.MemoryLimit == "" {
		o.MemoryLimit = defaultMemoryLimit
	}
	if o.Threads == 0 {
		o.Threads = defaultThreads
	}
	if o.clusterRows == 0 {
		o.clusterRows = clusterRowsDefault
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is an open serving store.
type Store struct {
	serving.Store
	isOwner bool
}

// IsOwner reports whether this process owns the file.
func (s *Store) IsOwner() bool { return s.isOwner }

// Open opens or creates the store at a URL duckdb:///absolute/path or duckdb:relative/path. The
// folder must exist. Where another process owns the file, the store works through that process.
func Open(ctx context.Context, rawURL string, opts Options) (*Store, error) {
	path, err := pathOf(rawURL)
	if err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, opts.Wait)
	defer cancel()
	last := ErrOwned
	for {
		lock, err := tryLock(path + ".lock")
		if err != nil {
			return nil, fmt.Errorf("open serving store %s: %w", path, err)
		}
		if lock != nil {
			// The owner's database outlives ctx, which ends with Open.
			owner, err := openOwner(context.WithoutCancel(ctx), path, opts, lock)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("open serving store %s: %w", path, err), lock.Close())
			}
			return &Store{Store: owner, isOwner: true}, nil
		}
		if !opts.MustOwn {
			client, err := openClient(ctx, path, opts)
			if err == nil {
				return &Store{Store: client}, nil
			}
			last = errors.Join(ErrOwned, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("open serving store %s: %w", path, last)
		case <-time.After(retryPause):
		}
	}
}

func pathOf(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("serving store: %w", err)
	}
	path := u.Path
	if path == "" {
		path = u.Opaque
	}
	if u.Scheme != "duckdb" || path == "" || u.Host != "" {
		return "", fmt.Errorf("serving store %q: want duckdb:///path/file", rawURL)
	}
	return filepath.Abs(path)
}
