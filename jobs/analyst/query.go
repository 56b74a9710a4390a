package analyst

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// ErrNotReadOnly is returned by Query for anything but one reading statement.
var ErrNotReadOnly = errors.New("only one statement that reads is allowed")

// Column is a column of an answer.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // DuckDB's name
}

// Query runs one statement that reads: begin gets the columns, each every row in order. Values are
// nil, bool, int64, uint64, *big.Int, float64 (finite), string, []any or map[string]any; times,
// decimals, blobs (in hexadecimal) and everything else are text. The row's slice is used again.
func (d *Database) Query(ctx context.Context, query string, begin func([]Column) error, each func([]any) error) (err error) {
	if err := d.checkReads(query); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	rows, err := d.Conn.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	columns := make([]Column, len(types))
	for i, t := range types {
		columns[i] = Column{t.Name(), t.DatabaseTypeName()}
	}
	if err := begin(columns); err != nil {
		return err
	}
	row, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		into[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("query: %w", err)
		}
		for i := range row {
			row[i] = plain(row[i])
		}
		if err := each(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	return nil
}

// checkReads refuses everything but one statement that reads.
func (d *Database) checkReads(query string) error {
	return d.Conn.Raw(func(c any) error {
		// Prepare, unlike PrepareContext, runs nothing and takes one statement only.
		prepared, err := c.(driver.Conn).Prepare(query)
		if err != nil {
			return err
		}
		kind, err := prepared.(*duckdb.Stmt).StatementType()
		if err == nil && kind != duckdb.STATEMENT_TYPE_SELECT && kind != duckdb.STATEMENT_TYPE_EXPLAIN {
			err = ErrNotReadOnly
		}
		return errors.Join(err, prepared.Close())
	})
}

// plain turns a value of the driver into one that text and JSON can carry.
func plain(v any) any {
	switch v := v.(type) {
	case nil, bool, string, int64, uint64, *big.Int:
		return v
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return uint64(v)
	case uint16:
		return uint64(v)
	case uint32:
		return uint64(v)
	case float32:
		return plain(float64(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
		return v
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case []byte:
		return hex.EncodeToString(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for k := range v {
			object[k] = plain(v[k])
		}
		return object
	case sql.Null[any]:
		return plain(v.V)
	case fmt.Stringer:
		return v.String()
	}
	return fmt.Sprint(v)
}
