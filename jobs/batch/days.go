package batch

import (
	"context"
	"errors"
	"fmt"
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
	files = slices.DeleteFunc(files, func(f File) bool { return f.Rows == 0 })
	if len(files) == 0 {
		return nil, nil
	}
	db, err := duckscan.Open(duckscan.Options{})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var days []time.Time
	err = conn.Scan(ctx, "select distinct (epoch_ms(event_time) // 86400000)::bigint as day from "+readParquet(files)+" order by day",
		func(c *duckscan.Chunk) error {
			for _, day := range duckscan.Column[int64](c, 0) {
				days = append(days, time.UnixMilli(day*86_400_000).UTC())
			}
			return nil
		})
	return days, err
}
