package servingduck

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// format is the version of the file's schema.
const format = 1

// checkpointThreshold is how much log DuckDB gathers before it folds it into the file: high enough
// that a second's rows do not pay for a checkpoint each time.
const checkpointThreshold = "256MB"

// rowGroupRows is how many rows DuckDB passes over at a time where none is asked for; its default is 122,880,
// of which a reader of one advertiser needs a twentieth (decision 0019).
const rowGroupRows = 32_768

// owner is the store in the process that has the file open.
type owner struct {
	path string
	opts Options
	// tempDir is the owner's alone.
	tempDir string
	db      *sql.DB
	lock    *os.File
	turns   turns // of queries
	readers readers

	writing sync.Mutex // guards writer: one writer at a time
	writer  *sql.Conn  // holds the staging table

	clustering clustering
	server     *server
	closeOnce  func() error
}

func dirOf(path string) string { return filepath.Dir(path) }

func openOwner(ctx context.Context, path string, opts Options, lock *os.File) (_ *owner, err error) {
	tempDir := path + ".tmp"
	if opts.TempDir != "" {
		tempDir = filepath.Join(opts.TempDir, url.PathEscape(tempDir))
	}
	// What is there is a killed owner's.
	if err := errors.Join(os.RemoveAll(tempDir), os.MkdirAll(tempDir, 0o700)); err != nil {
		return nil, err
	}
	connector, err := duckdb.NewConnector("", func(conn driver.ExecerContext) error {
		for _, set := range []struct {
			query string
			value any
		}{
			{"set memory_limit = $1", opts.MemoryLimit},
			{"set threads = $1", int64(1)},
			{"set temp_directory = $1", tempDir},
			{"set checkpoint_threshold = $1", checkpointThreshold},
			{"set timezone = $1", "UTC"},
		} {
			args := []driver.NamedValue{{Ordinal: 1, Value: set.value}}
			if _, err := conn.ExecContext(ctx, set.query, args); err != nil {
				return fmt.Errorf("%s: %w", set.query, err)
			}
		}
		_, err := conn.ExecContext(ctx, fmt.Sprintf("attach if not exists '%s' as serving (row_group_size %d); use serving",
			strings.ReplaceAll(path, "'", "''"), rowGroupRows), nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	o := &owner{path: path, opts: opts, tempDir: tempDir, db: sql.OpenDB(connector), lock: lock,
		turns: make(turns, opts.Threads)}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.closeDB())
		}
	}()
	if o.writer, err = o.db.Conn(ctx); err != nil {
		return nil, err
	}
	for _, name := range []string{"serving_schema", "serving_rows", "serving_stage"} {
		if _, err := o.writer.ExecContext(ctx, sqlduck.SQL(name)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := o.checkFormat(ctx); err != nil {
		return nil, err
	}
	if o.server, err = startServer(o); err != nil {
		return nil, err
	}
	o.startClustering()
	o.closeOnce = sync.OnceValue(o.close)
	return o, nil
}

func (o *owner) checkFormat(ctx context.Context) error {
	var stored int
	err := o.writer.QueryRowContext(ctx, "select format from csp_analytics.store_format").Scan(&stored)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = o.writer.ExecContext(ctx, "insert into csp_analytics.store_format values ($1)", format)
		return err
	}
	if err == nil && stored != format {
		err = fmt.Errorf("the file has format %d, this program reads %d", stored, format)
	}
	return err
}

// Close stops serving, closes the database and drops the lock, in that order. A second call does
// nothing and returns the same.
func (o *owner) Close() error { return o.closeOnce() }

func (o *owner) close() error {
	o.clustering.end()
	err := o.server.close()
	o.writing.Lock()
	defer o.writing.Unlock()
	return errors.Join(err, o.closeDB(), os.RemoveAll(o.tempDir), o.lock.Close())
}

func (o *owner) closeDB() error {
	err := o.readers.close()
	if o.writer != nil {
		err = errors.Join(err, o.writer.Close())
	}
	return errors.Join(err, o.db.Close())
}

// stageRows empties the staging table and appends the rows to it.
func (o *owner) stageRows(ctx context.Context, rows iter.Seq2[schemas.MinuteRow, error]) error {
	if err := o.clearStage(ctx); err != nil {
		return err
	}
	return o.writer.Raw(func(conn any) error {
		appender, err := duckdb.NewAppender(conn.(driver.Conn), "temp", "main", "stage")
		if err != nil {
			return err
		}
		for r, err := range rows {
			var counts serving.Counts
			if err == nil {
				counts, err = serving.CountsOf(&r)
			}
			if err == nil {
				err = appender.AppendRow(time.UnixMilli(r.MinuteMillis).UTC(), r.AdvertiserID, r.CampaignID,
					r.AdID, r.DeviceType, r.CountryCode, counts.Raw, counts.Duplicate, counts.Invalid, counts.Unique,
					r.SpendMicros, r.Version)
			}
			if err != nil {
				return errors.Join(err, appender.Close())
			}
		}
		return appender.Close()
	})
}

func (o *owner) clearStage(ctx context.Context) error {
	_, err := o.writer.ExecContext(ctx, "truncate temp.main.stage")
	return err
}

// inTx runs work in a transaction of the writer.
func (o *owner) inTx(ctx context.Context, work func(tx *sql.Tx) error) error {
	tx, err := o.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := work(tx); err != nil {
		if rollback := tx.Rollback(); !errors.Is(rollback, sql.ErrTxDone) {
			err = errors.Join(err, rollback)
		}
		return err
	}
	return tx.Commit()
}
