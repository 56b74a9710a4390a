package clickhouseio

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/parquet-go/parquet-go"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// rowBatch is how many rows are written to a Parquet file at a time.
const rowBatch = 4096

// LoadProgress is serving.Store's.
func (s *Store) LoadProgress(ctx context.Context) (serving.Progress, error) {
	return s.progressOf(ctx, clicksStream)
}

func (s *Store) progressOf(ctx context.Context, stream string) (p serving.Progress, err error) {
	err = s.retry(ctx, "load progress", func() error {
		p, _, err = s.loadProgress(ctx, stream)
		return err
	})
	if err != nil {
		return serving.Progress{}, fmt.Errorf("load progress of %s: %w", stream, err)
	}
	return p, nil
}

func (s *Store) loadProgress(ctx context.Context, stream string) (serving.Progress, uint64, error) {
	var p serving.Progress
	var sequence uint64
	var partitions []int32
	var next []int64
	err := s.conn.QueryRow(ctx, s.sql("progress_load"), clickhouse.Named("stream", stream)).
		Scan(&sequence, &p.WatermarkMillis, &p.IsDrained, &p.PolicyHash, &p.PolicyFromMillis, &p.StoredAtMillis, &partitions, &next)
	if errors.Is(err, sql.ErrNoRows) {
		return serving.Progress{}, 0, nil
	}
	if err == nil && len(partitions) != len(next) {
		err = fmt.Errorf("%d partitions have %d offsets", len(partitions), len(next))
	}
	if err != nil {
		return serving.Progress{}, 0, err
	}
	for i, partition := range partitions {
		if p.NextOffsets == nil {
			p.NextOffsets = map[int32]int64{}
		}
		p.NextOffsets[partition] = next[i]
	}
	return p, sequence, nil
}

// Epoch is serving.Store's.
func (s *Store) Epoch(ctx context.Context) (uint64, error) { return s.loadEpoch(ctx, "max_version") }

func (s *Store) loadEpoch(ctx context.Context, statement string) (uint64, error) {
	var version uint64
	err := s.retry(ctx, "load the epoch", func() error {
		return s.conn.QueryRow(ctx, s.sql(statement)).Scan(&version)
	})
	if err != nil {
		return 0, fmt.Errorf("load the epoch: %w", err)
	}
	return version >> serving.EpochShift, nil
}

// Rows is serving.Store's. The rows stream: the server sorts them, nothing holds them all. An error
// before the first row is tried again, one in the middle ends the sequence.
func (s *Store) Rows(ctx context.Context, layer serving.Layer, r serving.Range) iter.Seq2[schemas.MinuteRow, error] {
	return func(yield func(schemas.MinuteRow, error) bool) {
		if err := layer.Check(); err != nil {
			yield(schemas.MinuteRow{}, fmt.Errorf("read %s rows: %w", layer, err))
			return
		}
		s.readRows(ctx, string(layer), r, yield)
	}
}

// readRows yields what the statement rows_WHAT reads, and ends with the first error.
func (s *Store) readRows(ctx context.Context, what string, r serving.Range, yield func(schemas.MinuteRow, error) bool) {
	fail := func(err error) { yield(schemas.MinuteRow{}, fmt.Errorf("read %s rows: %w", what, err)) }
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the query of a reader that has enough
	var rows driver.Rows
	err := s.retry(ctx, "read rows", func() (err error) {
		rows, err = s.conn.Query(ctx, s.sql("rows_"+what), spanOf(r).parameters()...)
		return err
	})
	if err != nil {
		fail(err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		row, err := scanRow(rows)
		if err != nil {
			fail(err)
			return
		}
		if !yield(row, nil) {
			cancel()
			return
		}
	}
	if err := rows.Err(); err != nil {
		fail(err)
	}
}

func scanRow(rows driver.Rows) (schemas.MinuteRow, error) {
	var r schemas.MinuteRow
	var second, raw, duplicate, invalid, unique uint32
	err := rows.Scan(&second, &r.AdvertiserID, &r.CampaignID, &r.AdID, &r.DeviceType, &r.CountryCode,
		&raw, &duplicate, &invalid, &unique, &r.SpendMicros, &r.Version, &r.IsFinal)
	r.MinuteMillis = int64(second) * 1000
	r.RawClicks, r.DuplicateClicks, r.InvalidClicks, r.UniqueClicks = int64(raw), int64(duplicate), int64(invalid), int64(unique)
	return r, err
}

// ExportParquet is serving.Store's.
func (s *Store) ExportParquet(ctx context.Context, layer serving.Layer, r serving.Range, path string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".rows-*.parquet")
	if err != nil {
		return fmt.Errorf("export rows to %s: %w", path, err)
	}
	err = writeRows(file, s.Rows(ctx, layer, r))
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("export rows to %s: %w", path, err), os.Remove(file.Name()))
	}
	return nil
}

func writeRows(file *os.File, rows iter.Seq2[schemas.MinuteRow, error]) error {
	writer := parquet.NewGenericWriter[serving.FileRow](file, parquet.Compression(&parquet.Zstd))
	batch := make([]serving.FileRow, 0, rowBatch)
	flush := func() error {
		_, err := writer.Write(batch)
		batch = batch[:0]
		return err
	}
	for r, err := range rows {
		if err != nil {
			return err
		}
		if batch = append(batch, serving.FileRowOf(&r)); len(batch) == rowBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return writer.Close()
}
