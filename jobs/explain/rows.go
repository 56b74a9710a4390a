package explain

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// minuteRows are an advertiser's rows of a minute, by key.
type minuteRows map[schemas.MinuteKey]*Row

// addRows finds the rows of the copies' minutes in the serving store and in the batch's results.
func (e *explainer) addRows(ctx context.Context, r *Report) error {
	type place struct {
		minute     int64
		advertiser string
	}
	type layers struct{ provisional, batch, final minuteRows }
	seen := map[place]layers{}
	for i := range r.Copies {
		c := &r.Copies[i]
		key, ok := c.minuteKey()
		if !ok {
			continue
		}
		at := place{key.MinuteMillis, key.AdvertiserID}
		found, ok := seen[at]
		if !ok {
			var err error
			if found.provisional, err = e.servedRows(ctx, serving.Provisional, at.advertiser, at.minute); err != nil {
				return err
			}
			if found.final, err = e.servedRows(ctx, serving.Final, at.advertiser, at.minute); err != nil {
				return err
			}
			if found.batch, err = e.batchRows(ctx, c.BillingDate, at.advertiser, at.minute); err != nil {
				return err
			}
			seen[at] = found
		}
		c.Provisional, c.ByBatch, c.Final = found.provisional[key], found.batch[key], found.final[key]
	}
	return nil
}

// servedRows are the rows of a layer of the serving store; none where no store is asked.
func (e *explainer) servedRows(ctx context.Context, layer serving.Layer, advertiserID string, minute int64) (minuteRows, error) {
	rows := minuteRows{}
	if e.deps.Serving == nil {
		return rows, nil
	}
	span := serving.Range{FromMillis: minute, ToMillis: minute + schemas.MinuteMillis}
	for got, err := range e.deps.Serving.Rows(ctx, layer, span) {
		if err != nil {
			return nil, fmt.Errorf("read rows: %w", err)
		}
		if got.AdvertiserID == advertiserID {
			rows[got.MinuteKey] = rowOf(&got)
		}
	}
	return rows, nil
}

// batchRows are the rows of the newest result of a day; none where there is no result.
func (e *explainer) batchRows(ctx context.Context, date, advertiserID string, minute int64) (minuteRows, error) {
	rows := minuteRows{}
	day, err := e.result(ctx, date)
	if errors.Is(err, batch.ErrNoResult) {
		return rows, nil
	}
	if err != nil {
		return nil, err
	}
	err = e.query(ctx, "explain_batch_rows", func(found *sql.Rows) error {
		r := schemas.MinuteRow{MinuteKey: schemas.MinuteKey{MinuteMillis: minute, AdvertiserID: advertiserID}}
		if err := found.Scan(&r.CampaignID, &r.AdID, &r.DeviceType, &r.CountryCode, &r.RawClicks, &r.DuplicateClicks,
			&r.InvalidClicks, &r.UniqueClicks, &r.SpendMicros); err != nil {
			return err
		}
		rows[r.MinuteKey] = rowOf(&r)
		return nil
	}, sqlduck.EscapeGlob(day.Minutes), advertiserID, minute)
	if err != nil {
		return nil, fmt.Errorf("read %s%s: %w", day.Prefix, batch.MinutesFile, err)
	}
	return rows, nil
}

// discrepancyKey is an advertiser's minute of a day.
type discrepancyKey struct {
	date, advertiserID string
	minute             int64
}

// discrepancy is one row of discrepancies.parquet; the position is {-1, -1} where no click accounts for it.
type discrepancy struct {
	Difference

	at  schemas.Position
	key schemas.MinuteKey
}

// discrepanciesOf are what the last reconciliation of a day wrote down of an advertiser's minute, and
// the file that says it; empty where it was not reconciled.
func (e *explainer) discrepanciesOf(ctx context.Context, k discrepancyKey) ([]discrepancy, string, error) {
	day, err := e.result(ctx, k.date)
	if errors.Is(err, batch.ErrNoResult) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	object := day.Prefix + reconcile.DiscrepanciesFile
	if list, ok := e.discrepancies[k]; ok {
		return list, object, nil
	}
	_, err = e.db.Store.Get(ctx, day.Prefix+reconcile.ReportFile) // written last
	if errors.Is(err, objectstore.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	path, err := batch.LocalCopy(ctx, e.db.Store, object, e.db.Dir)
	if err != nil {
		return nil, "", err
	}
	var list []discrepancy
	err = e.query(ctx, "explain_discrepancies", func(rows *sql.Rows) error {
		f := discrepancy{Difference: Difference{Basis: object}, key: schemas.MinuteKey{MinuteMillis: k.minute, AdvertiserID: k.advertiserID}}
		if err := rows.Scan(&f.at.Partition, &f.at.Offset, &f.key.CampaignID, &f.key.AdID, &f.key.DeviceType, &f.key.CountryCode,
			&f.Cause, &f.DeltaClicks, &f.DeltaMicros); err != nil {
			return err
		}
		list = append(list, f)
		return nil
	}, sqlduck.EscapeGlob(path), k.advertiserID, k.minute)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", object, err)
	}
	e.discrepancies[k] = list
	return list, object, nil
}

// addDifferences finds what the last reconciliation says of each copy.
func (e *explainer) addDifferences(ctx context.Context, r *Report) error {
	for i := range r.Copies {
		c := &r.Copies[i]
		key, ok := c.minuteKey()
		if !ok {
			continue
		}
		list, _, err := e.discrepanciesOf(ctx, discrepancyKey{c.BillingDate, key.AdvertiserID, key.MinuteMillis})
		if err != nil {
			return err
		}
		for j := range list {
			if list[j].at == c.position() {
				c.Difference = &list[j].Difference
			}
		}
	}
	return nil
}
