// Package analyst answers SQL questions about an archive: the views clicks, dead_letters,
// decisions and dlq over its Parquet files, and minutes over the newest results of the batch, in a DuckDB of
// its own in memory. Nothing in the archive is ever written, and of all statements only one that
// reads is taken. Units are those of the files: times UTC, money int64 micros.
package analyst

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/clickledger/clickledger/internal/auditduck"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/batch"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// Config says what to open.
type Config struct {
	Archive     string // file:///dir or s3://bucket/prefix; of S3 everything is copied first
	MemoryLimit string // DuckDB's. Default 2GB.
	Threads     int    // DuckDB's. Default 2.
	TempDir     string // for copies and spilled data. Default: the system's.
}

// Database is an open archive. It is for one goroutine.
type Database struct {
	Store objectstore.Store
	Conn  *sql.Conn // the connection that has the views
	Dir   string    // a folder that lives as long as the database

	db *sql.DB
}

// folders of the archive that are views.
var folders = []string{"clicks/", "dead_letters/", "decisions/", "dlq/"}

// Open opens the archive with its views. The caller closes the database.
func Open(ctx context.Context, cfg Config) (_ *Database, err error) {
	d, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	root, ok := d.Store.LocalPath("")
	if !ok {
		for _, folder := range folders {
			files, err := batch.Inputs(ctx, d.Store, folder, d.Dir)
			if err != nil {
				return nil, err
			}
			if err := batch.Localize(ctx, d.Store, files); err != nil {
				return nil, err
			}
		}
		root = filepath.Join(d.Dir, "objects")
	}
	if err := d.connect(ctx, cfg, root); err != nil {
		return nil, err
	}
	if err := d.createMinutes(ctx); err != nil {
		return nil, fmt.Errorf("view minutes: %w", err)
	}
	return d, nil
}

// OpenWithoutViews opens the archive for statements that name the files they read; of S3 nothing is copied,
// and no file needs to be sound. The caller closes the database.
func OpenWithoutViews(ctx context.Context, cfg Config) (*Database, error) {
	d, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := d.connect(ctx, cfg, ""); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func prepare(ctx context.Context, cfg Config) (*Database, error) {
	store, err := objectstore.Open(ctx, cfg.Archive)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cfg.TempDir, "clickledger-analyst-")
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return &Database{Store: store, Dir: dir}, nil
}

// connect opens DuckDB, with views over the files below root if it is given.
func (d *Database) connect(ctx context.Context, cfg Config, root string) (err error) {
	options := auditduck.AnalystOptions{MemoryLimit: cfg.MemoryLimit, Threads: cfg.Threads, TempDir: d.Dir}
	if d.db, err = auditduck.OpenAnalyst(ctx, root, options); err != nil {
		return err
	}
	if d.Conn, err = d.db.Conn(ctx); err != nil {
		return fmt.Errorf("open archive: %w", err)
	}
	return nil
}

// createMinutes makes the view of the newest whole result of each day.
func (d *Database) createMinutes(ctx context.Context) error {
	runs, err := batch.Runs(ctx, d.Store)
	if err != nil {
		return err
	}
	newest := map[string]batch.RunKey{}
	var days []string
	for _, r := range runs { // by day and revision
		if _, ok := newest[r.Date]; !ok {
			days = append(days, r.Date)
		}
		newest[r.Date] = r
	}
	slices.Sort(days)
	paths := make([]any, 0, len(days))
	for _, day := range days {
		path, err := batch.LocalCopy(ctx, d.Store, newest[day].Prefix+batch.MinutesFile, d.Dir)
		if err != nil {
			return err
		}
		paths = append(paths, path)
	}
	if len(paths) == 0 {
		_, err := d.Conn.ExecContext(ctx, sqlduck.SQL("analyst_minutes_empty"))
		return err
	}
	if _, err := d.Conn.ExecContext(ctx, "set variable analyst_minutes = $1::varchar[]", paths); err != nil {
		return err
	}
	_, err = d.Conn.ExecContext(ctx, sqlduck.SQL("analyst_minutes"))
	return err
}

// Path is an object's path in the file system; false where it has none.
func (d *Database) Path(key string) (string, bool) {
	if path, ok := d.Store.LocalPath(key); ok {
		return path, true
	}
	path := filepath.Join(d.Dir, "objects", filepath.FromSlash(key))
	_, err := os.Stat(path)
	return path, err == nil
}

// Close ends the database and removes its folder.
func (d *Database) Close() error {
	var err error
	if d.Conn != nil {
		err = errors.Join(err, d.Conn.Close())
	}
	if d.db != nil {
		err = errors.Join(err, d.db.Close())
	}
	if d.Dir != "" {
		err = errors.Join(err, os.RemoveAll(d.Dir))
	}
	return err
}
