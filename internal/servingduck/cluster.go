package servingduck

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// The stream writes rows minute by minute, so that those of one advertiser lie everywhere. Once
// their minutes are settled the owner moves them to where the rows of an advertiser are side by
// side: a reader then passes over the others' without reading more of them than a column. Rows are
// moved as they are, in a transaction, and nothing but the time that a query takes depends on it.
const (
	// clusterRowsDefault is how many rows are laid out at a time in the end: eight of DuckDB's row groups.
	// Writers wait for about half a second then.
	clusterRowsDefault = 1_000_000
	// clusterParts is how much less is laid out at first, so that today's rows need not wait for a million.
	clusterParts = 4
	// settledAfter is how far behind the newest minute rows are left alone: longer than the stream
	// publishes late panes.
	settledAfter = 15 * time.Minute
	// clusterTimeout limits one step.
	clusterTimeout = 2 * time.Minute
	// againAfter is when a checkpoint that was not possible is tried again, and how long parts that were
	// laid out are the last ones: where a million comes sooner, its rows are moved once only.
	againAfter = 30 * time.Second
)

// clustering is the owner's work in the background.
type clustering struct {
	written int           // rows since the last look; guarded by owner.writing
	due     chan struct{} // holds one
	stop    context.CancelFunc
	done    chan struct{}

	// The goroutine's own.
	hasMoved bool      // rows since the last checkpoint
	partsAt  time.Time // when parts were laid out
}

// startClustering lays out what there is, and then what is written.
func (o *owner) startClustering() {
	ctx, stop := context.WithCancel(context.Background())
	o.clustering = clustering{due: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	o.clustering.due <- struct{}{}
	go func() {
		defer close(o.clustering.done)
		isLeft := false
		for {
			var again <-chan time.Time
			if isLeft || o.clustering.hasMoved {
				again = time.After(againAfter)
			}
			select {
			case <-ctx.Done():
				return
			case <-again:
			case <-o.clustering.due:
			}
			sizes := []int{o.opts.clusterRows, o.opts.clusterRows / clusterParts}
			if isLeft = time.Since(o.clustering.partsAt) < againAfter; isLeft {
				sizes = sizes[:1]
			} else {
				o.clustering.partsAt = time.Now()
			}
			err := errors.Join(o.clusterAll(ctx, ofClicks, sizes), o.clusterAll(ctx, ofImpressions, sizes), o.dropMoved(ctx))
			if err != nil && ctx.Err() == nil {
				o.opts.Logger.Warn("rows stay as they were written, and are read slower", "error", err)
			}
		}
	}()
}

// end waits for the step under way, which leaves everything as it was.
func (c *clustering) end() {
	c.stop()
	<-c.done
}

// wrote counts rows. The caller holds owner.writing.
func (c *clustering) wrote(rows, clusterRows int) {
	if c.written += rows; c.written < clusterRows/clusterParts/2 {
		return
	}
	c.written = 0
	select {
	case c.due <- struct{}{}:
	default:
	}
}

// clusterAll lays out the table's rows as long as there are enough of them, first by the largest size.
func (o *owner) clusterAll(ctx context.Context, of tables, sizes []int) error {
	for _, rows := range sizes {
		for hasMore := true; hasMore; {
			var err error
			if hasMore, err = o.clusterNext(ctx, of, rows); err == nil {
				err = o.dropMoved(ctx)
			}
			if err != nil {
				return fmt.Errorf("lay out rows by advertiser: %w", err)
			}
		}
	}
	return nil
}

// clusterNext lays out the next rows, so many or a little more; false where there are not enough.
func (o *owner) clusterNext(ctx context.Context, of tables, rows int) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	from, err := o.clusteredUntil(ctx, of, rows)
	if err != nil {
		return false, err
	}
	var until sql.Null[time.Time]
	err = o.db.QueryRowContext(ctx, sqlduck.SQL(of.cluster+"_span"), from, int64(rows), int64(settledAfter.Minutes())).Scan(&until)
	if err != nil || !until.Valid {
		return false, err
	}
	o.writing.Lock()
	defer o.writing.Unlock()
	err = o.inTx(ctx, func(tx *sql.Tx) error {
		var newest int64
		if err := tx.QueryRowContext(ctx, sqlduck.SQL(of.cluster+"_newest")).Scan(&newest); err != nil {
			return err
		}
		for _, step := range []struct {
			name string
			args []any
		}{
			{of.cluster + "_insert", []any{from, until.V}},
			{of.cluster + "_delete", []any{from, until.V, newest}},
			{of.cluster + "_done", []any{until.V, int64(rows)}},
		} {
			if _, err := tx.ExecContext(ctx, sqlduck.SQL(step.name), step.args...); err != nil {
				return fmt.Errorf("%s: %w", step.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	o.clustering.hasMoved = true
	return true, nil
}

// dropMoved drops, by a checkpoint, the rows in their old places, which readers pass over until then.
// DuckDB makes none while others use the file: it has all turns meanwhile, some milliseconds, and where a
// long query goes on it is tried again later.
func (o *owner) dropMoved(ctx context.Context) error {
	if !o.clustering.hasMoved {
		return nil
	}
	o.writing.Lock()
	defer o.writing.Unlock()
	for range cap(o.turns) {
		end, err := o.turns.take(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	_, err := o.writer.ExecContext(ctx, "checkpoint")
	if e, ok := errors.AsType[*duckdb.Error](err); ok && e.Type == duckdb.ErrorTypeTransaction {
		return nil
	}
	o.clustering.hasMoved = err != nil
	return err
}

// clusteredUntil returns the minute from which rows are to be laid out, so many at a time. Where
// many rows came in for minutes before that, all begins anew.
func (o *owner) clusteredUntil(ctx context.Context, of tables, rows int) (time.Time, error) {
	var until time.Time
	var then, now int64
	err := o.db.QueryRowContext(ctx, sqlduck.SQL(of.cluster+"_state"), int64(rows)).Scan(&until, &then, &now)
	if errors.Is(err, sql.ErrNoRows) || err == nil && rows == o.opts.clusterRows && now-then >= int64(rows) {
		return time.Time{}, nil
	}
	return until.UTC(), err
}
