// Package servingduck is the embedded serving store: minute rows in one DuckDB file, named by a
// URL duckdb:///path/file.
//
// A DuckDB file belongs to one process. The process that opens it first owns it, and serves a
// small HTTP API on a random port of 127.0.0.1 behind a random bearer token; address and token
// stand in the sidecar <file>.owner.json (mode 0600). Whoever opens the file after that works
// through the owner, by the same interface. Ownership is a lock on <file>.lock, which the kernel
// drops with the process: after kill -9 the next Open owns the file.
//
// Guarantees: every write is one transaction, durable when it returns. Provisional rows (of the
// stream) and final rows (of the batch layer) are kept apart; csp_analytics.ad_clicks_hourly shows
// the final rows of a day below its cut and the provisional rows of all other minutes. Publishing
// final rows never touches the provisional ones. Units: Unix milliseconds UTC, int64 micros.
package servingduck

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	"github.com/clickledger/clickledger/schemas"
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
	// ErrNotReadOnly is returned by Query for anything but one reading statement.
	ErrNotReadOnly = errors.New("only one statement that reads is allowed")
)

// Progress is how far the stream has published. It is stored in the transaction of the rows.
type Progress struct {
	WatermarkMillis int64           // W: every window that ends at or before W is published
	NextOffsets     map[int32]int64 // by partition, the next offset to read
	IsDrained       bool            // the stream has published all that it read, and stopped
	PolicyHash      string          // of the policy that judged the rows; empty: nothing was stored yet
}

// Layer says which rows are meant.
type Layer string

// The layers. Current is what a reader of ad_clicks_hourly sees.
const (
	Current     Layer = "current"
	Provisional Layer = "provisional"
	Final       Layer = "final"
)

// Range is the minutes in [FromMillis, ToMillis).
type Range struct{ FromMillis, ToMillis int64 }

// FinalDay names what PublishFinal makes final: the minutes in [DayMillis, CutMillis). DayMillis
// is the start of a UTC day, CutMillis a whole minute up to the start of the next day.
type FinalDay struct{ DayMillis, CutMillis int64 }

// Serving is the store as jobs use it, whether they own the file or work through its owner.
type Serving interface {
	// Upsert stores provisional rows and the progress in one transaction. A row replaces the stored
	// one of its key only if its version is not lower; of two rows with one key the higher version
	// stands, of equal ones the later. Final rows are refused. ErrNotOwner without ownership.
	Upsert(ctx context.Context, rows []schemas.MinuteRow, progress Progress) error
	// LoadProgress returns what the last Upsert stored, the zero Progress where there was none.
	LoadProgress(ctx context.Context) (Progress, error)
	// Rows yields the rows of the range in key order, as of one moment. It ends with the first error.
	Rows(ctx context.Context, layer Layer, r Range) iter.Seq2[schemas.MinuteRow, error]
	// ExportParquet writes the rows of the range in key order, by a temporary file and a rename.
	// Columns: click_minute (timestamp UTC), advertiser_id, campaign_id, ad_id, device_type,
	// country_code, raw_clicks, duplicate_clicks, invalid_clicks, unique_clicks, spend_micros
	// (int64), version (uint64), is_final.
	ExportParquet(ctx context.Context, layer Layer, r Range, path string) error
	// PublishFinal makes a day final below its cut, in one transaction: the rows, unique by key,
	// replace the final rows of [day, cut), and hide every provisional row there, those of keys that
	// the batch layer does not have included. The cut of a day never goes back: with a lower one the
	// minutes between stay final as they are. Provisional rows are kept for reconciliation.
	PublishFinal(ctx context.Context, day FinalDay, rows []schemas.MinuteRow) error
	// Query runs one reading statement. At most MaxQueryRows rows are returned. Arguments may be
	// nil, bool, int64, float64, string or time.Time; results are these, uint64 and text.
	Query(ctx context.Context, query string, args ...any) (*Table, error)
	// Close gives the file free. The owner's clients get ErrOwnerGone from then on.
	Close() error
}

// Table is the result of a query. Values are nil, bool, int64, uint64, float64, string or
// time.Time; decimals and everything else are text.
type Table struct {
	Columns     []string
	Types       []string // DuckDB's names
	Rows        [][]any
	IsTruncated bool // there were more than MaxQueryRows
}

// MaxQueryRows limits the rows of a Query.
const MaxQueryRows = 100_000

// Options configures Open. The zero value is usable.
type Options struct {
	// MustOwn makes Open wait for ownership and fail with ErrOwned without it. Default false.
	MustOwn bool
	// Wait is how long Open waits for a starting owner, or for ownership with MustOwn. Default 10s.
	Wait time.Duration
	// MemoryLimit is DuckDB's memory_limit. Default 1GB.
	MemoryLimit string
	// Threads is DuckDB's threads. Default 2.
	Threads int
	// TempDir is the folder for spill files and Parquet on its way, in a folder of the store's own
	// below it that comes and goes. Default: beside the file for its owner, else the system's.
	TempDir string
	// Logger gets the owner's warnings. Default: discarded.
	Logger *slog.Logger
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
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is an open serving store.
type Store struct {
	Serving
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
			return &Store{Serving: owner, isOwner: true}, nil
		}
		if !opts.MustOwn {
			client, err := openClient(ctx, path, opts)
			if err == nil {
				return &Store{Serving: client}, nil
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
