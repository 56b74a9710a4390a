package parquetio

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// ReadOffsets hands the values of one int64 column to each in row order, some at a time, and reads no
// other column. The slice is overwritten by the next call.
func ReadOffsets(src Source, column string, each func([]int64) error) (err error) {
	defer recovered(&err)
	file, err := parquet.OpenFile(src, src.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("read column %s: %w", column, err)
	}
	leaf, ok := file.Schema().Lookup(column)
	if !ok || leaf.Node.Type().Kind() != parquet.Int64 {
		return fmt.Errorf("read column %s: there is no such int64 column", column)
	}
	for _, g := range file.RowGroups() {
		if err := readColumn(g.ColumnChunks()[leaf.ColumnIndex], each); err != nil {
			return fmt.Errorf("read column %s: %w", column, err)
		}
	}
	return nil
}

func readColumn(chunk parquet.ColumnChunk, each func([]int64) error) (err error) {
	pages := chunk.Pages()
	defer func() { err = errors.Join(err, pages.Close()) }()
	values := make([]parquet.Value, DefaultReadRows)
	out := make([]int64, 0, DefaultReadRows)
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for r := page.Values(); ; {
			n, err := r.ReadValues(values)
			out = slices.Grow(out[:0], n)
			for _, v := range values[:n] {
				out = append(out, v.Int64())
			}
			if n > 0 {
				if err := each(out); err != nil {
					return err
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
		}
		parquet.Release(page)
	}
}
