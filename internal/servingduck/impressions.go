package servingduck

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// impressions are the minutes of the table ad_impressions_hourly.
type impressions struct{ owner *owner }

func (o *owner) Impressions() serving.Minutes { return impressions{o} }

func (m impressions) Upsert(ctx context.Context, rows []schemas.MinuteRow, progress serving.Progress) error {
	return m.owner.upsert(ctx, ofImpressions, rows, progress)
}

func (m impressions) LoadProgress(ctx context.Context) (serving.Progress, error) {
	return m.owner.loadProgress(ctx, ofImpressions)
}

func (m impressions) Epoch(ctx context.Context) (uint64, error) {
	return m.owner.loadEpoch(ctx, ofImpressions)
}

func (m impressions) Rows(ctx context.Context, layer serving.Layer, r serving.Range) iter.Seq2[schemas.MinuteRow, error] {
	return func(yield func(schemas.MinuteRow, error) bool) {
		if layer != serving.Provisional {
			yield(schemas.MinuteRow{}, fmt.Errorf("read %s rows: %w", layer, serving.ErrOneLayer))
			return
		}
		rows, err := m.owner.db.QueryContext(ctx, sqlduck.SQL("impressions_rows"), minuteOf(inTimestamp(r.FromMillis)), minuteOf(inTimestamp(r.ToMillis)))
		if err != nil {
			yield(schemas.MinuteRow{}, fmt.Errorf("read impressions: %w", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var row schemas.MinuteRow
			var minute time.Time
			err := rows.Scan(&minute, &row.AdvertiserID, &row.CampaignID, &row.AdID, &row.DeviceType, &row.CountryCode,
				&row.RawClicks, &row.UniqueClicks, &row.Version)
			row.MinuteMillis = minute.UnixMilli()
			if !yield(row, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(schemas.MinuteRow{}, fmt.Errorf("read impressions: %w", err))
		}
	}
}

// notOwner are the impressions of a store that another process owns: that one counts them.
type notOwner struct{}

func (c *client) Impressions() serving.Minutes { return notOwner{} }

func (notOwner) Upsert(context.Context, []schemas.MinuteRow, serving.Progress) error {
	return fmt.Errorf("upsert impressions: %w", ErrNotOwner)
}

func (notOwner) LoadProgress(context.Context) (serving.Progress, error) {
	return serving.Progress{}, fmt.Errorf("load progress of impressions: %w", ErrNotOwner)
}

func (notOwner) Epoch(context.Context) (uint64, error) {
	return 0, fmt.Errorf("load the epoch of impressions: %w", ErrNotOwner)
}

func (notOwner) Rows(context.Context, serving.Layer, serving.Range) iter.Seq2[schemas.MinuteRow, error] {
	return func(yield func(schemas.MinuteRow, error) bool) {
		yield(schemas.MinuteRow{}, fmt.Errorf("read impressions: %w", ErrNotOwner))
	}
}
