package parquetio

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// DefaultReadRows is how many rows ReadRows hands out at a time.
const DefaultReadRows = 4096

// footerBytes is what is read of a file's end to find the footer; the archive's are smaller.
const footerBytes = 32 << 10

// ErrNoBounds says that a footer does not tell a column's minimum and maximum.
var ErrNoBounds = errors.New("the footer has no minimum and maximum of the column")

// Source is an open object.
type Source interface {
	io.ReaderAt
	// Size is the object's size in bytes.
	Size() int64
}

// Footer is what a file tells of itself without its rows being read.
type Footer struct {
	// Rows is the number of rows.
	Rows  int64
	file  *parquet.File
	notes Notes
}

// Bounds are a column's minimum and maximum over all rows.
type Bounds struct{ Min, Max int64 }

// ReadFooter reads a file's footer, and nothing else. A file that is no Parquet is an error.
func ReadFooter(src Source) (f Footer, err error) {
	defer recovered(&err)
	// One read, of the end: over a network each costs more than the bytes do. The end has a magic number
	// too.
	file, err := parquet.OpenFile(src, src.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true),
		parquet.SkipMagicBytes(true), parquet.OptimisticRead(true), parquet.ReadBufferSize(footerBytes))
	if err != nil {
		return Footer{}, fmt.Errorf("read footer: %w", err)
	}
	notes := Notes{}
	for _, kv := range file.Metadata().KeyValueMetadata {
		notes[kv.Key] = kv.Value
	}
	return Footer{Rows: file.NumRows(), file: file, notes: notes}, nil
}

// Note returns the footer's text of that key; false where it has none.
func (f Footer) Note(key string) (string, bool) {
	v, ok := f.notes[key]
	return v, ok
}

// HasNotes reports whether the footer has a text whose key begins so.
func (f Footer) HasNotes(prefix string) bool {
	for key := range f.notes {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// Bounds returns the minimum and maximum of a column of whole numbers or times, in the column's own
// unit. ErrNoBounds where the footer lacks them; a file without rows has none.
func (f Footer) Bounds(column string) (b Bounds, err error) {
	defer recovered(&err)
	leaf, ok := f.file.Schema().Lookup(column)
	if !ok {
		return Bounds{}, fmt.Errorf("column %s: %w", column, ErrNoBounds)
	}
	found := false
	for _, g := range f.file.RowGroups() {
		if g.NumRows() == 0 {
			continue
		}
		chunk, ok := g.ColumnChunks()[leaf.ColumnIndex].(*parquet.FileColumnChunk)
		if !ok {
			return Bounds{}, fmt.Errorf("column %s: %w", column, ErrNoBounds)
		}
		low, high, ok := chunk.Bounds()
		kind := low.Kind()
		if !ok || (kind != parquet.Int64 && kind != parquet.Int32) {
			return Bounds{}, fmt.Errorf("column %s: %w", column, ErrNoBounds)
		}
		lo, hi := whole(low), whole(high)
		if !found {
			b = Bounds{lo, hi}
		}
		b, found = Bounds{min(b.Min, lo), max(b.Max, hi)}, true
	}
	if !found {
		return Bounds{}, fmt.Errorf("column %s: %w", column, ErrNoBounds)
	}
	return b, nil
}

func whole(v parquet.Value) int64 {
	if v.Kind() == parquet.Int32 {
		return int64(v.Int32())
	}
	return v.Int64()
}

// ReadRows hands the rows of a file to each in order, some at a time. The slice is overwritten by the
// next call; what each returns ends the reading.
func ReadRows[T Row](src Source, each func([]T) error) (err error) {
	defer recovered(&err)
	file, err := parquet.OpenFile(src, src.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("read parquet: %w", err)
	}
	r := parquet.NewGenericReader[T](file)
	defer func() { err = errors.Join(err, r.Close()) }()
	rows := make([]T, DefaultReadRows)
	for {
		n, err := r.Read(rows)
		if n > 0 {
			if err := each(rows[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read parquet: %w", err)
		}
	}
}

// ReadLast returns the last row of a file; false where it has none.
func ReadLast[T Row](src Source) (row T, ok bool, err error) {
	defer recovered(&err)
	file, err := parquet.OpenFile(src, src.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return row, false, fmt.Errorf("read parquet: %w", err)
	}
	if file.NumRows() == 0 {
		return row, false, nil
	}
	r := parquet.NewGenericReader[T](file)
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.SeekToRow(file.NumRows() - 1); err != nil {
		return row, false, fmt.Errorf("read parquet: %w", err)
	}
	rows := make([]T, 1)
	n, err := r.Read(rows)
	if n != 1 {
		return row, false, fmt.Errorf("read parquet: last row: %w", err)
	}
	return rows[0], true, nil
}

// recovered makes an error of a panic: the library panics on some malformed files.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("read parquet: malformed file: %v", r)
	}
}
