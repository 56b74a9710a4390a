package reconcileduck

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// ErrConservation says that the written discrepancies do not come to the causes.
var ErrConservation = errors.New("the discrepancies do not add up to the causes")

// List says which discrepancies to list, in the order of the file. The zero value lists none.
type List struct {
	SinceMillis  int64  // minutes from this on
	AdvertiserID string // of this advertiser only; empty: of all
	Limit        int64  // the most
}

// Discrepancy is one differing click, batch less stream. What no click accounts for has no
// position: Partition and Offset are nil then, and click and verdicts are empty.
type Discrepancy struct {
	Partition     *int32 `json:"partition"`
	Offset        *int64 `json:"offset"`
	ClickID       string `json:"click_id"`
	MinuteMillis  int64  `json:"minute_millis"` // the minute's start, Unix milliseconds UTC
	AdvertiserID  string `json:"advertiser_id"`
	AdID          string `json:"ad_id"`
	Cause         string `json:"cause"`
	DeltaClicks   int64  `json:"delta_clicks"`
	DeltaMicros   int64  `json:"delta_micros"`
	StreamVerdict string `json:"stream_verdict"`
	BatchVerdict  string `json:"batch_verdict"`
}

// Place is the position as partition/offset, and - where there is none.
func (d *Discrepancy) Place() string {
	if d.Partition == nil || d.Offset == nil {
		return "-"
	}
	return fmt.Sprintf("%d/%d", *d.Partition, *d.Offset)
}

// writeDiscrepancies writes the file, reads it back and compares it with the causes.
func (c *comparison) writeDiscrepancies(ctx context.Context, result *Result) error {
	if _, err := c.conn.ExecContext(ctx, sqlduck.SQL("reconcile_discrepancies")); err != nil {
		return fmt.Errorf("reconcile_discrepancies: %w", err)
	}
	written := map[string]map[string]Effect{}
	err := c.query(ctx, "reconcile_discrepancies_sums", func(rows *sql.Rows) error {
		var id, cause string
		var e Effect
		var n int64
		if err := rows.Scan(&id, &cause, &e.Clicks, &e.Micros, &e.Gross, &n); err != nil {
			return err
		}
		if written[id] == nil {
			written[id] = map[string]Effect{}
		}
		written[id][cause] = e
		result.Discrepancies += n
		return nil
	})
	if err != nil {
		return err
	}
	if err := conserved(result.Advertisers, written); err != nil {
		return err
	}
	return c.query(ctx, "reconcile_discrepancies_listed", func(rows *sql.Rows) error {
		var d Discrepancy
		if err := rows.Scan(&d.Partition, &d.Offset, &d.ClickID, &d.MinuteMillis, &d.AdvertiserID, &d.AdID, &d.Cause,
			&d.DeltaClicks, &d.DeltaMicros, &d.StreamVerdict, &d.BatchVerdict); err != nil {
			return err
		}
		result.Listed = append(result.Listed, d)
		return nil
	})
}

// conserved compares the causes of every advertiser with those of the written file.
func conserved(advertisers []Advertiser, written map[string]map[string]Effect) error {
	causes, found := 0, 0
	for i := range advertisers {
		a := &advertisers[i]
		for _, cause := range Causes {
			want, ok := a.Effects[cause]
			got, is := written[a.ID][cause]
			if ok != is || got != want {
				return fmt.Errorf("advertiser %q, %s: the file has %+v, the causes %+v: %w", a.ID, cause, got, want, ErrConservation)
			}
			if ok {
				causes++
			}
		}
	}
	for _, effects := range written {
		found += len(effects)
	}
	if found != causes {
		return fmt.Errorf("the file has %d sums of an advertiser's cause, not %d: %w", found, causes, ErrConservation)
	}
	return nil
}
