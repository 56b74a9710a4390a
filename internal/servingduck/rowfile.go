package servingduck

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/parquet-go/parquet-go"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// rowBatch is how many rows are written to a Parquet file at a time.
const rowBatch = 4096

// rowsByExport exports to a temporary file, yields its rows and removes it.
func rowsByExport(ctx context.Context, dir string, export func(path string) error) iter.Seq2[schemas.MinuteRow, error] {
	return func(yield func(schemas.MinuteRow, error) bool) {
		path, err := tempName(dir)
		if err != nil {
			yield(schemas.MinuteRow{}, fmt.Errorf("read rows: %w", err))
			return
		}
		defer os.Remove(path)
		if err := export(path); err != nil {
			yield(schemas.MinuteRow{}, err)
			return
		}
		for r, err := range readRows(ctx, path) {
			if !yield(r, err) {
				return
			}
		}
	}
}

// readRows yields the rows of a Parquet file in its order. It ends with the first error. DuckDB reads
// what DuckDB wrote: parquet-go returned, very rarely, an integer of such a file 2^32 too high.
func readRows(ctx context.Context, path string) iter.Seq2[schemas.MinuteRow, error] {
	return func(yield func(schemas.MinuteRow, error) bool) {
		stopped := false
		err := scanRows(ctx, path, func(r schemas.MinuteRow) bool {
			stopped = !yield(r, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(schemas.MinuteRow{}, fmt.Errorf("read rows: %w", err))
		}
	}
}

func scanRows(ctx context.Context, path string, each func(schemas.MinuteRow) bool) (err error) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, sqlduck.SQL("serving_read_file"), sqlduck.EscapeGlob(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r schemas.MinuteRow
		if err := rows.Scan(&r.MinuteMillis, &r.AdvertiserID, &r.CampaignID, &r.AdID, &r.DeviceType, &r.CountryCode,
			&r.RawClicks, &r.DuplicateClicks, &r.InvalidClicks, &r.UniqueClicks, &r.SpendMicros, &r.Version, &r.IsFinal); err != nil {
			return err
		}
		if !each(r) {
			return nil
		}
	}
	return rows.Err()
}

// writeRows writes the rows as Parquet in the given order.
func writeRows(w io.Writer, rows []schemas.MinuteRow) error {
	writer := parquet.NewGenericWriter[serving.FileRow](w, parquet.Compression(&parquet.Zstd))
	batch := make([]serving.FileRow, 0, rowBatch)
	for len(rows) > 0 {
		n := min(len(rows), rowBatch)
		batch = batch[:0]
		for i := range rows[:n] {
			batch = append(batch, serving.FileRowOf(&rows[i]))
		}
		if _, err := writer.Write(batch); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return writer.Close()
}
