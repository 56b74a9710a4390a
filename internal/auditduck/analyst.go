package auditduck

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// AnalystOptions configures OpenAnalyst. The zero value is usable.
type AnalystOptions struct {
	MemoryLimit string // DuckDB's memory_limit. Default 2GB.
	Threads     int    // DuckDB's threads. Default 2.
	TempDir     string // DuckDB's temp_directory. Default: the system's.
}

// OpenAnalyst opens a database in memory with the views clicks, dead_letters, decisions and dlq
// over the Parquet files below an archive's folder; the columns dt (date), hr and p (text) are those of
// the folder names. A missing or empty folder gives an empty view. Files that come later are seen,
// but for those of a folder that was empty when the connection was opened. Without a folder there are no views.
func OpenAnalyst(ctx context.Context, archiveDir string, opts AnalystOptions) (*sql.DB, error) {
	views, dir := []string{"clicks", "dead_letters", "decisions", "dlq"}, ""
	if archiveDir == "" {
		views = nil
	} else {
		var err error
		if dir, err = filepath.Abs(archiveDir); err != nil {
			return nil, fmt.Errorf("open archive: %w", err)
		}
	}
	s := settings{opts.MemoryLimit, opts.Threads, opts.TempDir}
	if s.memoryLimit == "" {
		s.memoryLimit = defaultMemoryLimit
	}
	if s.threads == 0 {
		s.threads = defaultThreads
	}
	if s.tempDir == "" {
		s.tempDir = os.TempDir()
	}
	ctx = context.WithoutCancel(ctx) // connections are opened later, too
	db, err := openMemory(ctx, s, func(conn driver.ExecerContext) error {
		for _, name := range views {
			if err := createView(ctx, conn, name, filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("view %s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return db, nil
}

func createView(ctx context.Context, conn driver.ExecerContext, name, dir string) error {
	if !holdsParquet(dir) {
		_, err := conn.ExecContext(ctx, sqlduck.SQL("analyst_"+name+"_empty"), nil)
		return err
	}
	// Variables and temporary views are the connection's own, so a path is never part of a statement.
	files := sqlduck.EscapeGlob(dir) + "/**/*.parquet"
	args := []driver.NamedValue{{Ordinal: 1, Value: files}}
	if _, err := conn.ExecContext(ctx, setVariable[name], args); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, sqlduck.SQL("analyst_"+name), nil)
	return err
}

var setVariable = map[string]string{
	"clicks":       "set variable analyst_clicks = $1::varchar",
	"dead_letters": "set variable analyst_dead_letters = $1::varchar",
	"decisions":    "set variable analyst_decisions = $1::varchar",
	"dlq":          "set variable analyst_dlq = $1::varchar",
}

// holdsParquet reports whether there is a Parquet file below the folder.
func holdsParquet(dir string) bool {
	found := false
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir // what cannot be read holds nothing to show
		}
		if !entry.IsDir() && strings.HasSuffix(path, ".parquet") {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}
