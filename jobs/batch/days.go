package batch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/internal/objectstore"
)

// Days lists the UTC days of the archive's clicks by event time, oldest first.
func Days(ctx context.Context, archive string) (_ []time.Time, err error) {
	store, err := objectstore.Open(ctx, archive)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "clickledger-days-")
	if err != nil {
		return nil, fmt.Errorf("list days: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, err := Inputs(ctx, store, "clicks/", dir)
	if err != nil {
		return nil, err
	}
	found := map[int64]bool{}
	files = slices.DeleteFunc(files, func(f File) bool {
		if f.Rows == 0 || f.Event == nil {
			return f.Rows == 0
		}
		// Both bounds are there, and nothing is between two that are of one day or of neighbours.
		first, last := f.Event.Min/dayMicros, (f.Event.Max-1)/dayMicros
		found[first], found[last] = true, true
		return last-first <= 1
	})
	if err := Localize(ctx, store, files); err != nil {
		return nil, err
	}
	if err := scanDays(ctx, files, found); err != nil {
		return nil, err
	}
	var days []time.Time
	for _, day := range slices.Sorted(maps.Keys(found)) {
		days = append(days, time.UnixMicro(day*dayMicros).UTC())
	}
	return days, nil
}

// dayMicros is the length of a day.
const dayMicros = int64(24 * time.Hour / time.Microsecond)

// scanDays adds the days of which the files hold clicks.
func scanDays(ctx context.Context, files []File, found map[int64]bool) error {
	if len(files) == 0 {
		return nil
	}
	db, err := duckscan.Open(duckscan.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Scan(ctx, "select distinct (epoch_ms(event_time) // 86400000)::bigint as day from "+readParquet(files),
		func(c *duckscan.Chunk) error {
			for _, day := range duckscan.Column[int64](c, 0) {
				found[day] = true
			}
			return nil
		})
}
