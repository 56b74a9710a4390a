package clickhouseio

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// Keys of the streams' progress.
const (
	clicksStream      = "clicks"
	impressionsStream = "impressions"
)

// Upsert is serving.Store's. Rows come first, then the progress: a crash between leaves rows that are
// ahead of the progress, which the stream, started again from it, writes once more with the same
// versions.
func (s *Store) Upsert(ctx context.Context, rows []schemas.MinuteRow, progress serving.Progress) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.upsertRows(ctx, rows); err != nil {
		return fmt.Errorf("upsert %d rows: %w", len(rows), err)
	}
	if err := s.storeProgress(ctx, clicksStream, progress); err != nil {
		return fmt.Errorf("upsert %d rows: store progress: %w", len(rows), err)
	}
	return nil
}

// upsertRows stores provisional rows; the caller holds s.writing.
func (s *Store) upsertRows(ctx context.Context, rows []schemas.MinuteRow) error {
	sorted, err := serving.NewestByKey(rows)
	if err == nil {
		err = checkRows(sorted)
	}
	if err != nil || len(sorted) == 0 {
		return err
	}
	if err := s.insertRows(ctx, "provisional_insert", sorted, 0); err != nil {
		return err
	}
	return s.hideStrays(ctx, sorted[0].MinuteMillis)
}

// checkRows refuses what the columns cannot hold, before anything is written.
func checkRows(rows []*schemas.MinuteRow) error {
	for _, r := range rows {
		if _, err := serving.CountsOf(r); err != nil {
			return err
		}
		if r.MinuteMillis%schemas.MinuteMillis != 0 || r.MinuteMillis < 0 || r.MinuteMillis/1000 > math.MaxUint32 {
			return fmt.Errorf("a row of minute %d: not a minute of the years 1970 to 2105", r.MinuteMillis)
		}
	}
	return nil
}

// storeProgress writes the progress under the next sequence number.
func (s *Store) storeProgress(ctx context.Context, stream string, p serving.Progress) error {
	return s.retry(ctx, "store progress", func() error {
		if s.sequence[stream] == 0 {
			_, sequence, err := s.loadProgress(ctx, stream)
			if err != nil {
				return err
			}
			s.sequence[stream] = sequence
		}
		partitions := make([]int32, 0, len(p.NextOffsets))
		for partition := range p.NextOffsets {
			partitions = append(partitions, partition)
		}
		slices.Sort(partitions)
		next := make([]int64, len(partitions))
		for i, partition := range partitions {
			next[i] = p.NextOffsets[partition]
		}
		s.sequence[stream]++ // of an attempt that failed too: it may still arrive
		return s.insertRow(ctx, "progress_insert", stream, s.sequence[stream], p.WatermarkMillis, p.IsDrained, p.PolicyHash, p.PolicyFromMillis, p.StoredAtMillis,
			partitions, next)
	})
}

// insertRow writes one row of a small table.
func (s *Store) insertRow(ctx context.Context, statement string, values ...any) error {
	return s.insert(ctx, statement, func(batch driver.Batch) error { return batch.Append(values...) })
}

// span is the minutes in [from, to), in seconds, as the statements take them.
type span struct{ from, to uint32 }

func (p span) parameters(more ...any) []any {
	return append([]any{
		clickhouse.Named("from", fmt.Sprint(p.from)), clickhouse.Named("to", fmt.Sprint(p.to)),
	}, more...)
}

// spanOf cuts a range to what a DateTime can hold.
func spanOf(r serving.Range) span {
	seconds := func(millis int64) uint32 {
		up := millis / 1000
		if millis > 0 && millis%1000 != 0 {
			up++
		}
		return uint32(min(max(up, 0), math.MaxUint32))
	}
	return span{seconds(r.FromMillis), seconds(r.ToMillis)}
}

// hideStrays is the second half of what keeps provisional rows out of a final day. The materialized
// view leaves out rows below the cut; but a cut that was set while rows were on their way in may have
// come too late for them. Whoever set it hides what was there; whoever inserts looks afterwards
// whether there is a cut that he had not seen, and hides what he brought in below it.
//
// fromMillis is the first minute that was inserted. The first time all days are looked at: another
// store may have been killed between the insert and this.
func (s *Store) hideStrays(ctx context.Context, fromMillis int64) error {
	if s.cuts == nil {
		fromMillis = 0
	}
	from := uint32((fromMillis - fromMillis%serving.DayMillis) / 1000)
	return s.retry(ctx, "hide stray rows", func() error {
		cuts, err := s.loadCuts(ctx, from)
		if err != nil {
			return err
		}
		isNew := false
		for day, cut := range cuts {
			isNew = isNew || cut > s.cuts[day]
		}
		if isNew {
			if err := s.deleteStrays(ctx, from); err != nil {
				return err
			}
		}
		if s.cuts == nil {
			s.cuts = map[int64]int64{}
		}
		maps.Copy(s.cuts, cuts)
		return nil
	})
}

func (s *Store) loadCuts(ctx context.Context, from uint32) (map[int64]int64, error) {
	rows, err := s.conn.Query(ctx, s.sql("cuts_load"), clickhouse.Named("from", fmt.Sprint(from)))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	cuts := map[int64]int64{}
	for rows.Next() {
		var day, cut uint32
		if err := rows.Scan(&day, &cut); err != nil {
			return nil, err
		}
		cuts[int64(day)] = int64(cut)
	}
	return cuts, rows.Err()
}

func (s *Store) deleteStrays(ctx context.Context, from uint32) error {
	rows, err := s.conn.Query(ctx, s.sql("strays_find"), clickhouse.Named("from", fmt.Sprint(from)))
	if err != nil {
		return err
	}
	defer rows.Close()
	type stray struct {
		span

		partition string
	}
	var found []stray
	for rows.Next() {
		var f stray
		if err := rows.Scan(&f.from, &f.to, &f.partition); err != nil {
			return err
		}
		found = append(found, f)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, f := range found {
		if err := s.conn.Exec(ctx, s.sql("strays_delete"), f.parameters(clickhouse.Named("partition", f.partition))...); err != nil {
			return err
		}
	}
	return nil
}

// PublishFinal is serving.Store's. Its steps can be repeated, and a call that was cut off is repaired
// by the next one. The cut comes first: from then on no new provisional row gets into the day. Then
// come the final rows, above every version that is there, and at last all that they do not replace
// is deleted. Readers meanwhile see each row either as it was or as it will be.
func (s *Store) PublishFinal(ctx context.Context, day serving.FinalDay, rows []schemas.MinuteRow) error {
	if err := day.Check(); err != nil {
		return fmt.Errorf("publish final rows: %w", err)
	}
	name := time.UnixMilli(day.DayMillis).UTC().Format(time.DateOnly)
	sorted, err := finalRows(day, rows)
	if err == nil {
		err = s.publish(ctx, day, sorted)
	}
	if err != nil {
		return fmt.Errorf("publish final rows of %s: %w", name, err)
	}
	return nil
}

// finalRows returns the rows in key order, after checking that they may be published.
func finalRows(day serving.FinalDay, rows []schemas.MinuteRow) ([]*schemas.MinuteRow, error) {
	sorted := make([]*schemas.MinuteRow, len(rows))
	outside, repeated := 0, 0
	for i := range rows {
		sorted[i] = &rows[i]
		if m := rows[i].MinuteMillis; m < day.DayMillis || m >= day.CutMillis {
			outside++
		}
	}
	byKey := func(a, b *schemas.MinuteRow) int { return a.Compare(b.MinuteKey) }
	if !slices.IsSortedFunc(sorted, byKey) {
		slices.SortFunc(sorted, byKey)
	}
	for i := 1; i < len(sorted); i++ {
		if sorted[i].MinuteKey == sorted[i-1].MinuteKey {
			repeated++
		}
	}
	if outside > 0 || repeated > 0 {
		return nil, fmt.Errorf("%d rows outside of [day, cut), %d keys more than once", outside, repeated)
	}
	return sorted, checkRows(sorted)
}

func (s *Store) publish(ctx context.Context, day serving.FinalDay, sorted []*schemas.MinuteRow) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.retry(ctx, "set the day's cut", func() error {
		return s.insertRow(ctx, "final_day_insert", time.UnixMilli(day.DayMillis).UTC(), time.UnixMilli(day.CutMillis).UTC())
	})
	if err != nil {
		return fmt.Errorf("set the cut: %w", err)
	}
	minutes := spanOf(serving.Range{FromMillis: day.DayMillis, ToMillis: day.CutMillis})
	raise, below, err := s.raise(ctx, minutes, sorted)
	if err != nil {
		return err
	}
	if err := s.insertRows(ctx, "final_insert", sorted, raise); err != nil {
		return fmt.Errorf("insert %d rows: %w", len(sorted), err)
	}
	if err := s.retry(ctx, "delete stale rows", func() error { return s.deleteStale(ctx, minutes, below) }); err != nil {
		return fmt.Errorf("delete stale rows: %w", err)
	}
	return nil
}

// raise returns what to add to the versions of the rows so that all of them are above what is there,
// and the lowest that comes out: whatever is below it is of the past.
func (s *Store) raise(ctx context.Context, minutes span, sorted []*schemas.MinuteRow) (raise, below uint64, err error) {
	if len(sorted) == 0 {
		return 0, math.MaxUint64, nil
	}
	var ceiling uint64
	err = s.retry(ctx, "read versions", func() error {
		return s.conn.QueryRow(ctx, s.sql("publish_ceiling"), minutes.parameters()...).Scan(&ceiling)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read versions: %w", err)
	}
	below = uint64(math.MaxUint64)
	highest := uint64(0)
	for _, r := range sorted {
		below, highest = min(below, r.Version), max(highest, r.Version)
	}
	if below <= ceiling {
		raise = ceiling + 1 - below
	}
	if raise > math.MaxUint64-highest {
		return 0, 0, fmt.Errorf("version %d cannot be raised above %d", highest, ceiling)
	}
	return raise, below + raise, nil
}

func (s *Store) deleteStale(ctx context.Context, minutes span, below uint64) error {
	version := clickhouse.Named("below", fmt.Sprint(below))
	rows, err := s.conn.Query(ctx, s.sql("publish_stale"), minutes.parameters(version)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var partitions []string
	for rows.Next() {
		var partition string
		if err := rows.Scan(&partition); err != nil {
			return err
		}
		partitions = append(partitions, partition)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, partition := range partitions {
		err := s.conn.Exec(ctx, s.sql("publish_delete"), minutes.parameters(version, clickhouse.Named("partition", partition))...)
		if err != nil {
			return err
		}
	}
	return nil
}
