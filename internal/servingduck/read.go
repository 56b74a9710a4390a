package servingduck

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

func (o *owner) LoadProgress(ctx context.Context) (serving.Progress, error) {
	return o.loadProgress(ctx, ofClicks)
}

func (o *owner) loadProgress(ctx context.Context, of tables) (serving.Progress, error) {
	var p serving.Progress
	// One statement, so that both tables are read as of one moment.
	rows, err := o.db.QueryContext(ctx, sqlduck.SQL(of.loadProgress))
	if err != nil {
		return p, fmt.Errorf("load progress: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var partition sql.Null[int32]
		var next sql.Null[int64]
		if err := rows.Scan(&p.WatermarkMillis, &p.IsDrained, &p.PolicyHash, &p.PolicyFromMillis, &p.StoredAtMillis, &partition, &next); err != nil {
			return serving.Progress{}, fmt.Errorf("load progress: %w", err)
		}
		if partition.Valid {
			if p.NextOffsets == nil {
				p.NextOffsets = map[int32]int64{}
			}
			p.NextOffsets[partition.V] = next.V
		}
	}
	if err := rows.Err(); err != nil {
		return serving.Progress{}, fmt.Errorf("load progress: %w", err)
	}
	return p, nil
}

func (o *owner) Epoch(ctx context.Context) (uint64, error) { return o.loadEpoch(ctx, ofClicks) }

func (o *owner) loadEpoch(ctx context.Context, of tables) (uint64, error) {
	var version uint64
	if err := o.db.QueryRowContext(ctx, sqlduck.SQL(of.maxVersion)).Scan(&version); err != nil {
		return 0, fmt.Errorf("load the epoch: %w", err)
	}
	return version >> serving.EpochShift, nil
}

func (o *owner) ExportParquet(ctx context.Context, layer serving.Layer, r serving.Range, path string) (err error) {
	if err := layer.Check(); err != nil {
		return fmt.Errorf("export rows: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("export rows to %s: %w", path, err)
		}
	}()
	tmp, err := tempName(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(tmp))
		}
	}()
	conn, err := o.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, set := range []struct {
		query string
		value any
	}{
		{"set variable export_layer = $1::varchar", string(layer)},
		{"set variable export_from = $1::bigint", inTimestamp(r.FromMillis)},
		{"set variable export_to = $1::bigint", inTimestamp(r.ToMillis)},
		{"set variable export_path = $1::varchar", tmp},
	} {
		if _, err := conn.ExecContext(ctx, set.query, set.value); err != nil {
			return fmt.Errorf("%s: %w", set.query, err)
		}
	}
	if _, err := conn.ExecContext(ctx, sqlduck.SQL("serving_export")); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// timestampMillisMax is a time that a TIMESTAMP can hold, as its negative is.
const timestampMillisMax = 1 << 53

// inTimestamp cuts a time to what a TIMESTAMP can hold; no row is beyond it.
func inTimestamp(millis int64) int64 {
	return max(min(millis, timestampMillisMax), -timestampMillisMax)
}

// tempName reserves a new file in the folder and returns its name.
func tempName(dir string) (string, error) {
	f, err := os.CreateTemp(dir, ".rows-*.parquet")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (o *owner) Rows(ctx context.Context, layer serving.Layer, r serving.Range) iter.Seq2[schemas.MinuteRow, error] {
	return rowsByExport(ctx, o.tempDir, func(path string) error { return o.ExportParquet(ctx, layer, r, path) })
}
