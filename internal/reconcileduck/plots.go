package reconcileduck

import (
	"context"
	"database/sql"
)

// Minute is what the layers bill for one minute, over all advertisers.
type Minute struct {
	Millis                    int64 // the minute's start, Unix milliseconds UTC
	StreamClicks, BatchClicks int64
	StreamMicros, BatchMicros int64
}

// Delay is a class of clicks by how long after their event they were recorded.
type Delay struct {
	// Millis is the smallest delay of the class; -1 is that of clicks whose event is ahead of their record.
	Millis int64
	Clicks int64
	Late   int64 // those of them that were too late for the stream
}

// readPlots reads what the report draws.
func (c *comparison) readPlots(ctx context.Context, result *Result) error {
	err := c.query(ctx, "reconcile_minutes", func(rows *sql.Rows) error {
		var m Minute
		if err := rows.Scan(&m.Millis, &m.StreamClicks, &m.BatchClicks, &m.StreamMicros, &m.BatchMicros); err != nil {
			return err
		}
		result.Minutes = append(result.Minutes, m)
		return nil
	})
	if err != nil {
		return err
	}
	return c.query(ctx, "reconcile_lateness", func(rows *sql.Rows) error {
		var d Delay
		if err := rows.Scan(&d.Millis, &d.Clicks, &d.Late); err != nil {
			return err
		}
		result.Delays = append(result.Delays, d)
		return nil
	})
}
