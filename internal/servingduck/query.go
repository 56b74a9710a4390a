package servingduck

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/clickledger/clickledger/schemas/serving"
)

// turnMax is how long a query keeps its turn. One that takes longer goes on, beside those whose turn
// it is: an analyst's minute does not hold up the API.
const turnMax = 100 * time.Millisecond

// connsIdleMax is how many connections are kept for the next queries: one more than have a turn is
// seldom needed, and to open one costs as much as a query.
const connsIdleMax = 8

// turns lets so many short queries run at once, in the order in which they came. Ten that share
// two cores all take ten times as long, and some of them far longer.
type turns chan struct{}

// take waits for a turn and returns what ends it.
func (t turns) take(ctx context.Context) (end func(), err error) {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	give := sync.OnceFunc(func() { <-t })
	late := time.AfterFunc(turnMax, give)
	return func() { late.Stop(); give() }, nil
}

func (o *owner) Query(ctx context.Context, query string, args ...any) (*serving.Table, error) {
	table, err := o.query(ctx, query, args)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return table, nil
}

func (o *owner) query(ctx context.Context, query string, args []any) (*serving.Table, error) {
	named := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		value, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
	end, err := o.turns.take(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	conn, err := o.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// A second guard: what reads may still call what writes.
	if _, err := conn.ExecContext(ctx, "begin transaction read only"); err != nil {
		return nil, err
	}
	var table *serving.Table
	err = conn.Raw(func(c any) (err error) {
		table, err = queryConn(ctx, c.(*duckdb.Conn), query, named)
		return err
	})
	if _, end := conn.ExecContext(context.WithoutCancel(ctx), "rollback"); end != nil && err == nil {
		err = end
	}
	return table, err
}

// queryConn prepares the statement once: to see that it is one statement and reads, and to run it.
func queryConn(ctx context.Context, conn *duckdb.Conn, query string, args []driver.NamedValue) (_ *serving.Table, err error) {
	// Prepare, unlike PrepareContext, runs nothing and takes one statement only.
	prepared, err := conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, prepared.Close()) }()
	stmt := prepared.(*duckdb.Stmt)
	kind, err := stmt.StatementType()
	if err != nil {
		return nil, err
	}
	if kind != duckdb.STATEMENT_TYPE_SELECT && kind != duckdb.STATEMENT_TYPE_EXPLAIN {
		return nil, serving.ErrNotReadOnly
	}
	rows, err := stmt.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return readTable(ctx, rows)
}

func readTable(ctx context.Context, rows driver.Rows) (*serving.Table, error) {
	t := &serving.Table{Columns: rows.Columns()}
	types := rows.(driver.RowsColumnTypeDatabaseTypeName)
	for i := range t.Columns {
		t.Types = append(t.Types, types.ColumnTypeDatabaseTypeName(i))
	}
	for ctx.Err() == nil {
		values := make([]driver.Value, len(t.Columns))
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return t, nil
		} else if err != nil {
			return nil, err
		}
		if len(t.Rows) == serving.MaxQueryRows {
			t.IsTruncated = true
			return t, nil
		}
		row := make([]any, len(values))
		for i := range values {
			row[i] = plain(values[i])
		}
		t.Rows = append(t.Rows, row)
	}
	return nil, ctx.Err()
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
