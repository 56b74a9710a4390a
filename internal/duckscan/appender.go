package duckscan

import (
	"fmt"
	"unsafe"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// Appender fills a table by column, a chunk at a time. It is for one goroutine.
type Appender struct {
	appender bindings.Appender
	chunk    bindings.DataChunk
	vectors  []bindings.Vector
	data     []unsafe.Pointer // of the vectors, to spare a call into C for each value
	capacity int
	n        int
}

// look remembers where the chunk's vectors are.
func (a *Appender) look() {
	for i := range a.vectors {
		a.vectors[i] = bindings.DataChunkGetVector(a.chunk, bindings.IdxT(i))
		a.data[i] = bindings.VectorGetData(a.vectors[i])
	}
}

// Append opens an appender to a table of the connection. The column types are those of the table,
// given once more.
func (c *Conn) Append(table string, types ...ColumnType) (*Appender, error) {
	a := &Appender{capacity: int(bindings.VectorSize())}
	if bindings.AppenderCreate(c.conn, "", table, &a.appender) == bindings.StateError {
		return nil, fmt.Errorf("duckdb: append to %s", table)
	}
	logical := make([]bindings.LogicalType, len(types))
	for i, t := range types {
		logical[i] = bindings.CreateLogicalType(t)
		defer bindings.DestroyLogicalType(&logical[i])
	}
	a.chunk = bindings.CreateDataChunk(logical)
	a.vectors, a.data = make([]bindings.Vector, len(types)), make([]unsafe.Pointer, len(types))
	a.look()
	return a, nil
}

// ColumnType is a column's type.
type ColumnType = bindings.Type

// The column types of an appender.
const (
	Integer     ColumnType = bindings.TypeInteger
	Double      ColumnType = bindings.TypeDouble
	TimestampTZ ColumnType = bindings.TypeTimestampTZ
	BigInt      ColumnType = bindings.TypeBigInt
	Varchar     ColumnType = bindings.TypeVarchar
	UTinyInt    ColumnType = bindings.TypeUTinyInt
	Boolean     ColumnType = bindings.TypeBoolean
)

// Row begins a row and returns its index, to be passed to Set and SetText.
func (a *Appender) Row() (int, error) {
	if a.n == a.capacity {
		if err := a.flush(); err != nil {
			return 0, err
		}
	}
	a.n++
	return a.n - 1, nil
}

// Set sets a value of a fixed-width column.
func Set[T int32 | int64 | uint8 | float64 | bool](a *Appender, col, row int, v T) {
	unsafe.Slice((*T)(a.data[col]), a.capacity)[row] = v
}

// SetText sets a value of a VARCHAR column.
func (a *Appender) SetText(col, row int, v []byte) {
	bindings.VectorAssignStringElementLen(a.vectors[col], bindings.IdxT(row), v)
}

func (a *Appender) flush() error {
	if a.n == 0 {
		return nil
	}
	bindings.DataChunkSetSize(a.chunk, bindings.IdxT(a.n))
	if bindings.AppendDataChunk(a.appender, a.chunk) == bindings.StateError {
		data := bindings.AppenderErrorData(a.appender)
		defer bindings.DestroyErrorData(&data)
		return fmt.Errorf("duckdb: append: %s", bindings.ErrorDataMessage(data))
	}
	bindings.DataChunkReset(a.chunk)
	a.look()
	a.n = 0
	return nil
}

// Close writes what is left and ends the appender.
func (a *Appender) Close() error {
	err := a.flush()
	bindings.DestroyDataChunk(&a.chunk)
	if bindings.AppenderDestroy(&a.appender) == bindings.StateError && err == nil {
		err = fmt.Errorf("duckdb: append: the last rows were refused")
	}
	return err
}
