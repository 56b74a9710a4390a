package servingduck

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

func (o *owner) LoadProgress(ctx context.Context) (serving.Progress, error) {
	return o.loadProgress(ctx, ofClicks)
}

func (o *owner) loadProgress(ctx context.Context, of tables) (serving.Progress, error) {
	var p serving.Progress
	// One statement, so that both tables are read as of one moment.
	rows, err := o.db.QueryContext(ctx, sqlduck.SQL(of.loadProgress))
	if err != nil {
		return p, fmt.Errorf("load progress: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var partition sql.Null[int32]
		var next sql.Null[int64]
		if err := rows.Scan(&p.WatermarkMillis, &p.IsDrained, &p.PolicyHash, &p.PolicyFromMillis, &partition, &next); err != nil {
			return serving.Progress{}, fmt.Errorf("load progress: %w", err)
		}
		if partition.Valid {
			if p.NextOffsets == nil {
				p.NextOffsets = map[int32]int64{}
			}
			p.NextOffsets[partition.V] = next.V
		}
	}
	if err := rows.Err(); err != nil {
		return serving.Progress{}, fmt.Errorf("load progress: %w", err)
	}
	return p, nil
}

func (o *owner) Epoch(ctx context.Context) (uint64, error) { return o.loadEpoch(ctx, ofClicks) }

func (o *owner) loadEpoch(ctx context.Context, of tables) (uint64, error) {
	var version uint64
	if err := o.db.QueryRowContext(ctx, sqlduck.SQL(of.maxVersion)).Scan(&version); err != nil {
		return 0, fmt.Errorf("load the epoch: %w", err)
	}
	return version >> serving.EpochShift, nil
}

func (o *owner) ExportParquet(ctx context.Context, layer serving.Layer, r serving.Range, path string) (err error) {
	if err := layer.Check(); err != nil {
		return fmt.Errorf("export rows: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("export rows to %s: %w", path, err)
		}
	}()
	tmp, err := tempName(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(tmp))
		}
	}()
	conn, err := o.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, set := range []struct {
		query string
		value any
	}{
		{"set variable export_layer = $1::varchar", string(layer)},
		{"set variable export_from = $1::bigint", inTimestamp(r.FromMillis)},
		{"set variable export_to = $1::bigint", inTimestamp(r.ToMillis)},
		{"set variable export_path = $1::varchar", tmp},
	} {
		if _, err := conn.ExecContext(ctx, set.query, set.value); err != nil {
			return fmt.Errorf("%s: %w", set.query, err)
		}
	}
	if _, err := conn.ExecContext(ctx, sqlduck.SQL("serving_export")); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// timestampMillisMax is a time that a TIMESTAMP can hold, as its negative is.
const timestampMillisMax = 1 << 53

// inTimestamp cuts a time to what a TIMESTAMP can hold; no row is beyond it.
func inTimestamp(millis int64) int64 {
	return max(min(millis, timestampMillisMax), -timestampMillisMax)
}

// tempName reserves a new file in the folder and returns its name.
func tempName(dir string) (string, error) {
	f, err := os.CreateTemp(dir, ".rows-*.parquet")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (o *owner) Rows(ctx context.Context, layer serving.Layer, r serving.Range) iter.Seq2[schemas.MinuteRow, error] {
	return rowsByExport(ctx, o.tempDir, func(path string) error { return o.ExportParquet(ctx, layer, r, path) })
}

func (o *owner) Query(ctx context.Context, query string, args ...any) (*serving.Table, error) {
	conn, err := o.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	defer conn.Close()
	if err := checkReads(conn, query); err != nil {
		return nil, err
	}
	// A second guard: what reads may still call what writes.
	if _, err := conn.ExecContext(ctx, "begin transaction read only"); err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	table, err := readTable(ctx, conn, query, args)
	if _, end := conn.ExecContext(context.WithoutCancel(ctx), "rollback"); end != nil && err == nil {
		err = end
	}
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return table, nil
}

// checkReads refuses everything but one statement that reads.
func checkReads(conn *sql.Conn, query string) error {
	return conn.Raw(func(c any) error {
		// Prepare, unlike PrepareContext, runs nothing and takes one statement only.
		prepared, err := c.(driver.Conn).Prepare(query)
		if err != nil {
			return fmt.Errorf("query: %w", err)
		}
		kind, err := prepared.(*duckdb.Stmt).StatementType()
		if err == nil && kind != duckdb.STATEMENT_TYPE_SELECT && kind != duckdb.STATEMENT_TYPE_EXPLAIN {
			err = serving.ErrNotReadOnly
		}
		return errors.Join(err, prepared.Close())
	})
}

func readTable(ctx context.Context, conn *sql.Conn, query string, args []any) (*serving.Table, error) {
	rows, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	t := &serving.Table{}
	for _, column := range types {
		t.Columns = append(t.Columns, column.Name())
		t.Types = append(t.Types, column.DatabaseTypeName())
	}
	for rows.Next() {
		if len(t.Rows) == serving.MaxQueryRows {
			t.IsTruncated = true
			break
		}
		values := make([]any, len(types))
		targets := make([]any, len(types))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		for i := range values {
			values[i] = plain(values[i])
		}
		t.Rows = append(t.Rows, values)
	}
	return t, rows.Err()
}

// plain turns a value of DuckDB's driver into one of those that Table promises.
func plain(v any) any {
	switch v := v.(type) {
	case nil, bool, int64, uint64, float64, string:
		return v
	case time.Time:
		return v.UTC()
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case float32:
		return float64(v)
	case *big.Int:
		return v.String()
	case duckdb.Decimal:
		return v.String()
	case []byte:
		return fmt.Sprintf("%x", v)
	}
	if text, err := json.Marshal(v); err == nil {
		return string(text)
	}
	return fmt.Sprint(v)
}
