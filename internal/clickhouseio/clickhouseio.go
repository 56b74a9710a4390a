// Package clickhouseio is the production serving store: minute rows in ClickHouse, over its native
// protocol, named by a URL clickhouse://user@host:9000/database.
//
// Readers read csp_analytics.ad_clicks_hourly, with FINAL or argMax(…, version). What the stream
// published is kept apart in minutes_provisional as well, so that a reconciliation can be repeated.
// ClickHouse has no transactions. What makes each write safe to repeat, and a crash between two of
// them harmless, stands in docs/decisions/0008-clickhouse-serving-store.md.
//
// Guarantees: rows are absolute totals with versions; the same rows may be written any number of
// times, in any order. Progress is written after the rows that it speaks of. A write that returned
// survives kill -9 and, by fsync, a power cut. Calls ride over a restart of the server for
// Options.RetryFor. One server or one replica that all talk to: reading what was just written is
// what the store relies on. Units: Unix milliseconds UTC, int64 micros.
package clickhouseio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/clickledger/clickledger/schemas/serving"
	sqlclick "github.com/clickledger/clickledger/sql/clickhouse"
)

// ErrNotMigrated is returned by Open where the tables are missing or older than this program.
var ErrNotMigrated = errors.New("the tables of the serving store are not up to date")

// Options configures Open and Migrate. The zero value is usable.
type Options struct {
	// RetryFor is how long a call goes on trying while the server is away, after Open. Default 2m.
	RetryFor time.Duration
	// QueryTimeout bounds a Query. Default 1m.
	QueryTimeout time.Duration
	// BlockRows is the most rows of one insert. Default 200,000.
	BlockRows int
	// Logger gets a warning for each attempt that failed. Default: discarded.
	Logger *slog.Logger
}

const (
	defaultRetryFor     = 2 * time.Minute
	defaultQueryTimeout = time.Minute
	defaultBlockRows    = 200_000

	dialTimeout = 10 * time.Second
	readTimeout = 5 * time.Minute
	// connectionsMax bounds the connections of a store.
	connectionsMax = 8
	// sortBytesMax is what a sort may hold in the server's memory before it spills to disk.
	sortBytesMax = 1 << 30
)

func (o Options) withDefaults() Options {
	if o.RetryFor == 0 {
		o.RetryFor = defaultRetryFor
	}
	if o.QueryTimeout == 0 {
		o.QueryTimeout = defaultQueryTimeout
	}
	if o.BlockRows == 0 {
		o.BlockRows = defaultBlockRows
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is an open serving store. It is safe for use by several goroutines.
type Store struct {
	conn     driver.Conn
	place    string // the URL without its password
	database string
	opts     Options

	writing  sync.Mutex        // guards what follows: one writer at a time
	sequence map[string]uint64 // of the last progress, by stream; 0: not read yet
	cuts     map[int64]int64   // of days, as this store has seen to them; by Unix seconds
	block    block
}

var _ serving.Store = (*Store)(nil)

// Open connects to the store at a URL clickhouse://user:password@host:port/database. Options in the
// URL's query: secure=true for TLS, ca_file=PATH for the authority that signed the server's
// certificate, skip_verify=true for none at all. Without a database it is csp_analytics. The tables
// must be there, ErrNotMigrated else. A server that cannot be reached is an error at once.
func Open(ctx context.Context, rawURL string, opts Options) (*Store, error) {
	s, err := connect(ctx, rawURL, opts)
	if err != nil {
		return nil, err
	}
	version, err := s.loadVersion(ctx)
	if want := uint32(len(sqlclick.Migrations())); err == nil && version < want {
		err = fmt.Errorf("%w: they have version %d, this program wants %d", ErrNotMigrated, version, want)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serving store %s: %w", s.place, err), s.Close())
	}
	return s, nil
}

// connect returns a store whose server has answered.
func connect(ctx context.Context, rawURL string, opts Options) (*Store, error) {
	options, database, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	place := redact(rawURL)
	conn, err := clickhouse.Open(options)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		if err = conn.Ping(ctx); err != nil {
			err = errors.Join(err, conn.Close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("serving store %s: %w", place, firstLine(err))
	}
	return &Store{conn: conn, place: place, database: database, opts: opts.withDefaults(), sequence: map[string]uint64{}}, nil
}

// firstLine cuts the advice off the server's message about a wrong password.
func firstLine(err error) error {
	if e, ok := errors.AsType[*clickhouse.Exception](err); ok {
		e.Message, _, _ = strings.Cut(e.Message, "\n")
		return e
	}
	return err
}

// Close closes the connections.
func (s *Store) Close() error { return s.conn.Close() }

func (s *Store) sql(name string) string { return sqlclick.SQL(name, s.database) }

// redact returns the URL without its password.
func redact(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "clickhouse://…" // what cannot be parsed may hold a password anywhere
	}
	return u.Redacted()
}
