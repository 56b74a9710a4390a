// Package duckscan reads DuckDB's results by column, chunk by chunk, straight from its vectors:
// the batch layer's way into Parquet. database/sql hands out one boxed value at a time and costs
// more than all transforms together.
package duckscan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// Options bound the engine.
type Options struct {
	// Threads is the number of worker threads. Default: all processors.
	Threads int
	// MemoryLimit is DuckDB's memory_limit, such as "1GB". Default: DuckDB's own.
	MemoryLimit string
	// TempDir is where it spills to. Default: spilling is off.
	TempDir string
}

// DB is a DuckDB database in memory.
type DB struct{ db bindings.Database }

// Open starts an engine. It is safe for use by several goroutines through connections.
func Open(opts Options) (*DB, error) {
	var config bindings.Config
	if bindings.CreateConfig(&config) == bindings.StateError {
		return nil, errors.New("duckdb: create config")
	}
	defer bindings.DestroyConfig(&config)
	settings := map[string]string{"preserve_insertion_order": "true"}
	if opts.Threads > 0 {
		settings["threads"] = strconv.Itoa(opts.Threads)
	}
	if opts.MemoryLimit != "" {
		settings["memory_limit"] = opts.MemoryLimit
	}
	if opts.TempDir != "" {
		if err := os.MkdirAll(opts.TempDir, 0o700); err != nil {
			return nil, fmt.Errorf("duckdb: %w", err)
		}
		settings["temp_directory"] = opts.TempDir
	}
	for name, value := range settings {
		if bindings.SetConfig(config, name, value) == bindings.StateError {
			return nil, fmt.Errorf("duckdb: %s: %q is refused", name, value)
		}
	}
	d := &DB{}
	var message string
	if bindings.OpenExt(":memory:", &d.db, config, &message) == bindings.StateError {
		return nil, fmt.Errorf("duckdb: open: %s", message)
	}
	return d, nil
}

// Close ends the engine. All connections must be closed before.
func (d *DB) Close() { bindings.Close(&d.db) }

// Conn is a connection, for one goroutine.
type Conn struct{ conn bindings.Connection }

// Connect opens a connection; its time zone is UTC.
func (d *DB) Connect() (*Conn, error) {
	c := &Conn{}
	if bindings.Connect(d.db, &c.conn) == bindings.StateError {
		return nil, errors.New("duckdb: connect")
	}
	if err := c.Exec("set timezone = 'UTC'"); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close closes the connection.
func (c *Conn) Close() { bindings.Disconnect(&c.conn) }

// Exec runs one statement whose result does not matter.
func (c *Conn) Exec(sql string) error {
	var res bindings.Result
	defer bindings.DestroyResult(&res)
	if bindings.Query(c.conn, sql, &res) == bindings.StateError {
		return fmt.Errorf("duckdb: %s", bindings.ResultError(&res))
	}
	return nil
}

// Scan runs one query and calls each for every chunk of its result, in order. The result is
// streamed: it never is in memory as a whole. A chunk and its texts are valid during the call.
func (c *Conn) Scan(ctx context.Context, sql string, each func(*Chunk) error) error {
	var stmt bindings.PreparedStatement
	defer bindings.DestroyPrepare(&stmt)
	if bindings.Prepare(c.conn, sql, &stmt) == bindings.StateError {
		return fmt.Errorf("duckdb: %s", bindings.PrepareError(stmt))
	}
	var pending bindings.PendingResult
	defer bindings.DestroyPending(&pending)
	if bindings.PendingPreparedStreaming(stmt, &pending) == bindings.StateError {
		return fmt.Errorf("duckdb: %s", bindings.PendingError(pending))
	}
	var res bindings.Result
	defer bindings.DestroyResult(&res)
	if bindings.ExecutePending(pending, &res) == bindings.StateError {
		return fmt.Errorf("duckdb: %s", bindings.ResultError(&res))
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk := bindings.FetchChunk(res)
		if chunk.Ptr == nil {
			if message := bindings.ResultError(&res); message != "" {
				return fmt.Errorf("duckdb: %s", message)
			}
			return nil
		}
		n := int(bindings.DataChunkGetSize(chunk))
		var err error
		if n > 0 {
			err = each(&Chunk{chunk: chunk, n: n})
		}
		bindings.DestroyDataChunk(&chunk)
		if err != nil || n == 0 {
			return err
		}
	}
}

// Int64 runs a query that gives one BIGINT.
func (c *Conn) Int64(ctx context.Context, sql string) (int64, error) {
	var v int64
	err := c.Scan(ctx, sql, func(ch *Chunk) error {
		v = Column[int64](ch, 0)[0]
		return nil
	})
	return v, err
}

// Quote returns paths, as a literal of DuckDB that means these files and no pattern: a text for one
// path, a list for any other number.
func Quote(paths ...string) string {
	plain := strings.NewReplacer("'", "''", "[", "[[]", "*", "[*]", "?", "[?]")
	quoted := make([]string, len(paths))
	for i, path := range paths {
		quoted[i] = "'" + plain.Replace(path) + "'"
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// Chunk is a part of a result: up to 2,048 rows by column.
type Chunk struct {
	chunk bindings.DataChunk
	n     int
}

// Len is the number of rows.
func (c *Chunk) Len() int { return c.n }

// Column returns a column of a fixed-width type as a view: T must be the column's type (int32 for
// INTEGER, int64 for BIGINT, float64 for DOUBLE, bool for BOOLEAN). NULLs read as garbage: coalesce them in the query.
func Column[T int32 | int64 | float64 | bool | uint64](c *Chunk, col int) []T {
	v := bindings.DataChunkGetVector(c.chunk, bindings.IdxT(col))
	return unsafe.Slice((*T)(bindings.VectorGetData(v)), c.n)
}

// Texts is a column of VARCHAR or BLOB.
type Texts []text

// text is duckdb_string_t: the length, then up to 12 bytes inside, or a prefix and a pointer.
type text struct {
	length uint32
	prefix [4]byte
	data   unsafe.Pointer
}

const inlined = 12

// Text returns a column of texts as a view.
func (c *Chunk) Text(col int) Texts {
	v := bindings.DataChunkGetVector(c.chunk, bindings.IdxT(col))
	return unsafe.Slice((*text)(bindings.VectorGetData(v)), c.n)
}

// At returns text i as a view into DuckDB's memory.
func (t Texts) At(i int) []byte {
	s := &t[i]
	if s.length <= inlined {
		return unsafe.Slice(&s.prefix[0], s.length)
	}
	return unsafe.Slice((*byte)(s.data), s.length)
}
