package servingduck

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

func (o *owner) Upsert(ctx context.Context, rows []schemas.MinuteRow, progress serving.Progress) error {
	return o.upsert(ctx, ofClicks, rows, progress)
}

// tables names what the rows and the progress of a stream are written by.
type tables struct{ upsert, progress, offset, maxVersion, loadProgress, cluster string }

var (
	ofClicks = tables{upsert: "serving_upsert", progress: "stream_progress", offset: "stream_offset",
		maxVersion: "serving_max_version", loadProgress: "serving_progress", cluster: "serving_cluster"}
	ofImpressions = tables{upsert: "impressions_upsert", progress: "impression_progress", offset: "impression_offset",
		maxVersion: "impressions_max_version", loadProgress: "impressions_progress", cluster: "impressions_cluster"}
)

func (o *owner) upsert(ctx context.Context, to tables, rows []schemas.MinuteRow, progress serving.Progress) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	sorted, err := serving.NewestByKey(rows)
	if err != nil {
		return fmt.Errorf("upsert: %w", err)
	}
	if len(sorted) > 0 {
		if err := o.stageRows(ctx, allOf(pointed(sorted))); err != nil {
			return fmt.Errorf("stage %d rows: %w", len(sorted), err)
		}
	}
	err = o.inTx(ctx, func(tx *sql.Tx) error {
		if len(sorted) > 0 {
			if err := foldStage(ctx, tx, to, sorted); err != nil {
				return err
			}
		}
		return storeProgress(ctx, tx, to, progress)
	})
	if err != nil {
		return fmt.Errorf("upsert %d rows: %w", len(sorted), err)
	}
	o.clustering.wrote(len(sorted), o.opts.clusterRows)
	return nil
}

func pointed(rows []*schemas.MinuteRow) iter.Seq[schemas.MinuteRow] {
	return func(yield func(schemas.MinuteRow) bool) {
		for _, r := range rows {
			if !yield(*r) {
				return
			}
		}
	}
}

// foldStage replaces the stored rows by the staged ones, in the transaction.
func foldStage(ctx context.Context, tx *sql.Tx, into tables, sorted []*schemas.MinuteRow) error {
	from := minuteOf(sorted[0].MinuteMillis)
	to := minuteOf(sorted[len(sorted)-1].MinuteMillis)
	for _, step := range []struct {
		name string
		args []any
	}{
		{into.upsert + "_stale", []any{from, to}},
		{into.upsert + "_delete", []any{from, to}},
		{into.upsert + "_insert", nil},
	} {
		if _, err := tx.ExecContext(ctx, sqlduck.SQL(step.name), step.args...); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func storeProgress(ctx context.Context, tx *sql.Tx, to tables, p serving.Progress) error {
	exec := func(query string, args ...any) error {
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("store progress: %w", err)
		}
		return nil
	}
	if err := exec("delete from csp_analytics." + to.progress); err != nil {
		return err
	}
	if err := exec("delete from csp_analytics." + to.offset); err != nil {
		return err
	}
	err := exec("insert into csp_analytics."+to.progress+" values ($1, $2, $3, $4, $5)",
		p.WatermarkMillis, p.IsDrained, p.PolicyHash, p.PolicyFromMillis, p.StoredAtMillis)
	if err != nil {
		return err
	}
	partitions := make([]int32, 0, len(p.NextOffsets))
	for partition := range p.NextOffsets {
		partitions = append(partitions, partition)
	}
	slices.Sort(partitions)
	for _, partition := range partitions {
		err := exec("insert into csp_analytics."+to.offset+" values ($1, $2)", partition, p.NextOffsets[partition])
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *owner) PublishFinal(ctx context.Context, day serving.FinalDay, rows []schemas.MinuteRow) error {
	return o.publish(ctx, day, allOf(slices.Values(rows)))
}

// allOf is a sequence that cannot fail, as one that can.
func allOf(rows iter.Seq[schemas.MinuteRow]) iter.Seq2[schemas.MinuteRow, error] {
	return func(yield func(schemas.MinuteRow, error) bool) {
		for r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (o *owner) publish(ctx context.Context, day serving.FinalDay, rows iter.Seq2[schemas.MinuteRow, error]) error {
	if err := day.Check(); err != nil {
		return fmt.Errorf("publish final rows: %w", err)
	}
	o.writing.Lock()
	defer o.writing.Unlock()
	if err := o.stageRows(ctx, rows); err != nil {
		return fmt.Errorf("stage final rows: %w", err)
	}
	start, cut := minuteOf(day.DayMillis), minuteOf(day.CutMillis)
	err := o.inTx(ctx, func(tx *sql.Tx) error {
		var outside, repeated int64
		err := tx.QueryRowContext(ctx, sqlduck.SQL("serving_publish_check"), start, cut).Scan(&outside, &repeated)
		if err != nil {
			return err
		}
		if outside > 0 || repeated > 0 {
			return fmt.Errorf("%d rows outside of [day, cut), %d keys more than once", outside, repeated)
		}
		for _, step := range []struct {
			name string
			args []any
		}{
			{"serving_publish_delete", []any{start, cut}},
			{"serving_publish_insert", nil},
			{"serving_publish_day", []any{start, cut}},
		} {
			if _, err := tx.ExecContext(ctx, sqlduck.SQL(step.name), step.args...); err != nil {
				return fmt.Errorf("%s: %w", step.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("publish final rows of %s: %w", start.Format(time.DateOnly), err)
	}
	return o.clearStage(ctx)
}

func minuteOf(millis int64) time.Time { return time.UnixMilli(millis).UTC() }
