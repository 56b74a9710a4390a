// Package parquetio writes and reads the archive's Parquet files.
//
// Writing is deterministic: the same rows and the same notes give the same bytes, so that an archiver
// that does a range again after a crash makes the very object that it made before. Rows are in offset
// order; every row group's footer entry carries the minimum and maximum of every column. received_at
// is timestamp(us, UTC), event_time timestamp(ms, UTC), texts are UTF-8. Columns are dictionary or
// delta encoded as schemas says, and compressed with zstd. A Bloom filter for each row group says which
// click_ids it cannot hold, so that one click is found without reading all.
package parquetio

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/clickledger/clickledger/schemas"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

const (
	// RowGroupRows is the most rows of a row group: DuckDB reads so many at a time, and a reader that
	// prunes by minima and maxima skips so many.
	RowGroupRows = 122_880
	// dictionaryBytesMax ends a dictionary that does not pay: nearly every value is new.
	dictionaryBytesMax = 1 << 20
	writeRows          = 4096
	// clickIDBits are the bits of the Bloom filter for each click_id of a row group: one group in a
	// hundred is read for nothing when a click is looked up.
	clickIDBits = 10
)

// Row is what the archive holds.
type Row interface {
	schemas.ArchiveClick | schemas.ArchiveDeadLetter | schemas.ArchiveDecision | schemas.ArchiveDLQ
}

// Notes are the text pairs in a file's footer.
type Notes map[string]string

// errOrder says that rows do not come in strictly ascending offset order.
var errOrder = errors.New("rows are not in offset order")

// Encode returns the rows as a Parquet file, which it seals: ReadDigest finds any byte that is changed
// afterwards. They must be in strictly ascending order of their
// offset; there may be none.
func Encode[T Row](rows []T, notes Notes) ([]byte, error) {
	for i := 1; i < len(rows); i++ {
		if offsetOf(&rows[i]) <= offsetOf(&rows[i-1]) {
			return nil, fmt.Errorf("encode parquet: offset %d after %d: %w",
				offsetOf(&rows[i]), offsetOf(&rows[i-1]), errOrder)
		}
	}
	options := []parquet.WriterOption{
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}),
		parquet.CreatedBy("clickledger", "1", "archive"),
		parquet.MaxRowsPerRowGroup(RowGroupRows),
		parquet.DictionaryMaxBytes(dictionaryBytesMax),
		parquet.DataPageStatistics(true),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending(offsetColumn[T]()))),
	}
	if column := lookupColumn[T](); column != "" {
		options = append(options, parquet.BloomFilters(parquet.SplitBlockFilter(clickIDBits, column)))
	}
	for _, k := range slices.Sorted(maps.Keys(notes)) {
		options = append(options, parquet.KeyValueMetadata(k, notes[k]))
	}
	options = append(options, parquet.KeyValueMetadata(noteSeal, sealEmpty))
	var out bytes.Buffer
	w := parquet.NewGenericWriter[T](&out, options...)
	// The writer cuts its pages by calls: a fixed number of rows a call keeps the bytes the same.
	for chunk := range slices.Chunk(rows, writeRows) {
		if _, err := w.Write(chunk); err != nil {
			return nil, fmt.Errorf("encode parquet: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encode parquet: %w", err)
	}
	if err := seal(out.Bytes()); err != nil {
		return nil, fmt.Errorf("encode parquet: %w", err)
	}
	return out.Bytes(), nil
}

// offsetOf is the offset by which rows are in order: in clicks, in clicks.decisions or in clicks.dlq.
func offsetOf[T Row](row *T) int64 {
	switch r := any(row).(type) {
	case *schemas.ArchiveClick:
		return r.Offset
	case *schemas.ArchiveDeadLetter:
		return r.Offset
	case *schemas.ArchiveDecision:
		return r.LogOffset
	case *schemas.ArchiveDLQ:
		return r.LogOffset
	}
	panic("parquetio: unknown row type")
}

func offsetColumn[T Row]() string {
	var row T
	switch any(row).(type) {
	case schemas.ArchiveDecision, schemas.ArchiveDLQ:
		return "log_offset"
	}
	return "offset"
}

// lookupColumn is the column by which single rows are looked up; empty where there is none.
func lookupColumn[T Row]() string {
	var row T
	switch any(row).(type) {
	case schemas.ArchiveClick, schemas.ArchiveDecision:
		return "click_id"
	}
	return ""
}
