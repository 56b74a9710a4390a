package servingduck

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/parquet-go/parquet-go"

	"github.com/clickledger/clickledger/schemas"
)

// rowBatch is how many rows are read from or written to a Parquet file at a time.
const rowBatch = 4096

// fileRow is a row of an exported file.
type fileRow struct {
	ClickMinute     int64  `parquet:"click_minute,timestamp(microsecond)"`
	AdvertiserID    string `parquet:"advertiser_id"`
	CampaignID      string `parquet:"campaign_id"`
	AdID            string `parquet:"ad_id"`
	DeviceType      string `parquet:"device_type"`
	CountryCode     string `parquet:"country_code"`
	RawClicks       int64  `parquet:"raw_clicks"`
	DuplicateClicks int64  `parquet:"duplicate_clicks"`
	InvalidClicks   int64  `parquet:"invalid_clicks"`
	UniqueClicks    int64  `parquet:"unique_clicks"`
	SpendMicros     int64  `parquet:"spend_micros"`
	Version         uint64 `parquet:"version"`
	IsFinal         bool   `parquet:"is_final"`
}

func (f *fileRow) row() schemas.MinuteRow {
	return schemas.MinuteRow{
		MinuteKey: schemas.MinuteKey{
			MinuteMillis: f.ClickMinute / 1000, AdvertiserID: f.AdvertiserID, CampaignID: f.CampaignID,
			AdID: f.AdID, DeviceType: f.DeviceType, CountryCode: f.CountryCode,
		},
		RawClicks: f.RawClicks, DuplicateClicks: f.DuplicateClicks, InvalidClicks: f.InvalidClicks,
		UniqueClicks: f.UniqueClicks, SpendMicros: f.SpendMicros, Version: f.Version, IsFinal: f.IsFinal,
	}
}

func fileRowOf(r *schemas.MinuteRow) fileRow {
	return fileRow{
		ClickMinute: r.MinuteMillis * 1000, AdvertiserID: r.AdvertiserID, CampaignID: r.CampaignID,
		AdID: r.AdID, DeviceType: r.DeviceType, CountryCode: r.CountryCode,
		RawClicks: r.RawClicks, DuplicateClicks: r.DuplicateClicks, InvalidClicks: r.InvalidClicks,
		UniqueClicks: r.UniqueClicks, SpendMicros: r.SpendMicros, Version: r.Version, IsFinal: r.IsFinal,
	}
}

// rowsByExport exports to a temporary file, yields its rows and removes it.
func rowsByExport(dir string, export func(path string) error) iter.Seq2[schemas.MinuteRow, error] {
	return func(yield func(schemas.MinuteRow, error) bool) {
		path, err := tempName(dir)
		if err != nil {
			yield(schemas.MinuteRow{}, fmt.Errorf("read rows: %w", err))
			return
		}
		defer os.Remove(path)
		if err := export(path); err != nil {
			yield(schemas.MinuteRow{}, err)
			return
		}
		f, err := os.Open(path)
		if err != nil {
			yield(schemas.MinuteRow{}, fmt.Errorf("read rows: %w", err))
			return
		}
		defer f.Close()
		for r, err := range readRows(f) {
			if !yield(r, err) {
				return
			}
		}
	}
}

// readRows yields the rows of a Parquet file in its order. It ends with the first error.
func readRows(f io.ReaderAt) iter.Seq2[schemas.MinuteRow, error] {
	return func(yield func(schemas.MinuteRow, error) bool) {
		reader := parquet.NewGenericReader[fileRow](f)
		defer reader.Close()
		batch := make([]fileRow, rowBatch)
		for {
			n, err := reader.Read(batch)
			for i := range batch[:n] {
				if !yield(batch[i].row(), nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(schemas.MinuteRow{}, fmt.Errorf("read rows: %w", err))
				return
			}
		}
	}
}

// writeRows writes the rows as Parquet in the given order.
func writeRows(w io.Writer, rows []schemas.MinuteRow) error {
	writer := parquet.NewGenericWriter[fileRow](w, parquet.Compression(&parquet.Zstd))
	batch := make([]fileRow, 0, rowBatch)
	for len(rows) > 0 {
		n := min(len(rows), rowBatch)
		batch = batch[:0]
		for i := range rows[:n] {
			batch = append(batch, fileRowOf(&rows[i]))
		}
		if _, err := writer.Write(batch); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return writer.Close()
}
