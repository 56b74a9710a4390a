package servingduck

import (
	"context"
	"database/sql"
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

// readersIdleMax is how many readers are kept for the next queries: one more than have a turn is seldom
// needed, and to open one costs as much as a query.
const readersIdleMax = 8

// preparedMax is how many statements a reader keeps.
const preparedMax = 32

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
	r, err := o.takeReader(ctx)
	if err != nil {
		return nil, err
	}
	table, err := r.query(ctx, query, named)
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return table, o.readers.giveBack(r)
}

// reader is a connection for queries, with the statements that it has prepared. To prepare one costs as
// much as to run it where it reads little.
type reader struct {
	conn     *sql.Conn
	prepared map[string]*duckdb.Stmt
}

// readers are those that nobody uses.
type readers struct {
	mu       sync.Mutex
	idle     []*reader
	isClosed bool
}

func (o *owner) takeReader(ctx context.Context) (*reader, error) {
	o.readers.mu.Lock()
	if n := len(o.readers.idle); n > 0 {
		r := o.readers.idle[n-1]
		o.readers.idle = o.readers.idle[:n-1]
		o.readers.mu.Unlock()
		return r, nil
	}
	o.readers.mu.Unlock()
	conn, err := o.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &reader{conn: conn, prepared: map[string]*duckdb.Stmt{}}, nil
}

func (r *readers) giveBack(one *reader) error {
	r.mu.Lock()
	if !r.isClosed && len(r.idle) < readersIdleMax {
		r.idle = append(r.idle, one)
		r.mu.Unlock()
		return nil
	}
	r.mu.Unlock()
	return one.close()
}

// close closes those that nobody uses, and has the others closed when they are given back.
func (r *readers) close() (err error) {
	r.mu.Lock()
	idle := r.idle
	r.idle, r.isClosed = nil, true
	r.mu.Unlock()
	for _, one := range idle {
		err = errors.Join(err, one.close())
	}
	return err
}

func (r *reader) close() error {
	err := r.conn.Raw(func(any) error { return r.forget() })
	return errors.Join(err, r.conn.Close())
}

// forget closes the prepared statements.
func (r *reader) forget() (err error) {
	for _, stmt := range r.prepared {
		err = errors.Join(err, stmt.Close())
	}
	clear(r.prepared)
	return err
}

func (r *reader) query(ctx context.Context, query string, args []driver.NamedValue) (table *serving.Table, err error) {
	// A second guard: what reads may still call what writes.
	if _, err := r.conn.ExecContext(ctx, "begin transaction read only"); err != nil {
		return nil, err
	}
	err = r.conn.Raw(func(c any) (err error) {
		table, err = r.run(ctx, c.(*duckdb.Conn), query, args)
		return err
	})
	if _, end := r.conn.ExecContext(context.WithoutCancel(ctx), "rollback"); end != nil && err == nil {
		err = end
	}
	return table, err
}

func (r *reader) run(ctx context.Context, conn *duckdb.Conn, query string, args []driver.NamedValue) (_ *serving.Table, err error) {
	stmt := r.prepared[query]
	if stmt == nil {
		if stmt, err = prepare(conn, query); err != nil {
			return nil, err
		}
		if len(args) == 0 { // somebody's own, which seldom comes again
			defer func() { err = errors.Join(err, stmt.Close()) }()
		} else {
			if len(r.prepared) == preparedMax {
				if err := r.forget(); err != nil {
					return nil, errors.Join(err, stmt.Close())
				}
			}
			r.prepared[query] = stmt
		}
	}
	rows, err := stmt.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return readTable(ctx, rows)
}

// prepare sees to it that it is one statement, and reads.
func prepare(conn *duckdb.Conn, query string) (*duckdb.Stmt, error) {
	// Prepare, unlike PrepareContext, runs nothing and takes one statement only.
	prepared, err := conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	stmt := prepared.(*duckdb.Stmt)
	kind, err := stmt.StatementType()
	if err == nil && kind != duckdb.STATEMENT_TYPE_SELECT && kind != duckdb.STATEMENT_TYPE_EXPLAIN {
		err = serving.ErrNotReadOnly
	}
	if err != nil {
		return nil, errors.Join(err, stmt.Close())
	}
	return stmt, nil
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
