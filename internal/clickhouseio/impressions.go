package clickhouseio

import (
	"context"
	"fmt"
	"iter"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// impressions are the minutes of the table ad_impressions_hourly. Nobody but their stream writes it, so
// its rows need no layer of their own.
type impressions struct{ store *Store }

// Impressions is serving.Store's.
func (s *Store) Impressions() serving.Minutes { return impressions{s} }

// Upsert is serving.Minutes's. Of the rows of a key ClickHouse keeps the one of the highest version.
func (m impressions) Upsert(ctx context.Context, rows []schemas.MinuteRow, progress serving.Progress) error {
	s := m.store
	s.writing.Lock()
	defer s.writing.Unlock()
	sorted, err := serving.NewestByKey(rows)
	if err == nil {
		err = checkRows(sorted)
	}
	for at := 0; err == nil && at < len(sorted); at += s.opts.BlockRows {
		block := sorted[at:min(len(sorted), at+s.opts.BlockRows)]
		err = s.retry(ctx, "insert impressions", func() error { return s.sendImpressions(ctx, block) })
	}
	if err == nil {
		err = s.storeProgress(ctx, impressionsStream, progress)
	}
	if err != nil {
		return fmt.Errorf("upsert %d rows of impressions: %w", len(rows), err)
	}
	return nil
}

func (s *Store) sendImpressions(ctx context.Context, rows []*schemas.MinuteRow) error {
	return s.insert(ctx, "impressions_insert", func(batch driver.Batch) error {
		for _, r := range rows {
			counts, err := serving.CountsOf(r)
			if err == nil {
				err = batch.Append(r.MinuteMillis/1000, r.AdvertiserID, r.CampaignID, r.AdID, r.DeviceType, r.CountryCode,
					counts.Raw, counts.Unique, r.Version)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// LoadProgress is serving.Minutes's.
func (m impressions) LoadProgress(ctx context.Context) (serving.Progress, error) {
	return m.store.progressOf(ctx, impressionsStream)
}

// Epoch is serving.Minutes's.
func (m impressions) Epoch(ctx context.Context) (uint64, error) {
	return m.store.loadEpoch(ctx, "impressions_max_version")
}

// Rows is serving.Minutes's.
func (m impressions) Rows(ctx context.Context, layer serving.Layer, r serving.Range) iter.Seq2[schemas.MinuteRow, error] {
	return func(yield func(schemas.MinuteRow, error) bool) {
		if layer != serving.Provisional {
			yield(schemas.MinuteRow{}, fmt.Errorf("read %s rows: %w", layer, serving.ErrOneLayer))
			return
		}
		m.store.readRows(ctx, "impressions", r, yield)
	}
}
