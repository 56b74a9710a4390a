package serving

import (
	"errors"
	"fmt"
	"slices"

	"github.com/clickledger/clickledger/schemas"
)

// FileRow is a row of a Parquet file of rows.
type FileRow struct {
	ClickMinute     int64  `parquet:"click_minute,timestamp(microsecond)"` // UTC
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

// FileRowOf returns the row as it stands in a file.
func FileRowOf(r *schemas.MinuteRow) FileRow {
	return FileRow{
		ClickMinute: r.MinuteMillis * 1000, AdvertiserID: r.AdvertiserID, CampaignID: r.CampaignID,
		AdID: r.AdID, DeviceType: r.DeviceType, CountryCode: r.CountryCode,
		RawClicks: r.RawClicks, DuplicateClicks: r.DuplicateClicks, InvalidClicks: r.InvalidClicks,
		UniqueClicks: r.UniqueClicks, SpendMicros: r.SpendMicros, Version: r.Version, IsFinal: r.IsFinal,
	}
}

// Counts are a row's counts in the 32 bits of the lesson's columns.
type Counts struct{ Raw, Duplicate, Invalid, Unique uint32 }

// CountsOf narrows the counts; one that does not fit is an error.
func CountsOf(r *schemas.MinuteRow) (Counts, error) {
	var c [4]uint32
	for i, n := range [4]int64{r.RawClicks, r.DuplicateClicks, r.InvalidClicks, r.UniqueClicks} {
		if n < 0 || n > 1<<32-1 {
			return Counts{}, fmt.Errorf("a row of minute %d has a count of %d: not 32 bits", r.MinuteMillis, n)
		}
		c[i] = uint32(n)
	}
	return Counts{c[0], c[1], c[2], c[3]}, nil
}

// NewestByKey returns the rows in key order, of each key the one with the highest version, the
// last of equal ones. Final rows are an error.
func NewestByKey(rows []schemas.MinuteRow) ([]*schemas.MinuteRow, error) {
	sorted := make([]*schemas.MinuteRow, len(rows))
	isSorted := true
	for i := range rows {
		if rows[i].IsFinal {
			return nil, errors.New("final rows are published, not upserted")
		}
		sorted[i] = &rows[i]
		isSorted = isSorted && (i == 0 || rows[i-1].Compare(rows[i].MinuteKey) < 0)
	}
	if isSorted {
		return sorted, nil
	}
	order := make([]int32, len(rows)) // sorted with the place as the last key: faster than a stable sort
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		if c := rows[a].Compare(rows[b].MinuteKey); c != 0 {
			return c
		}
		return int(a - b)
	})
	for i, at := range order {
		sorted[i] = &rows[at]
	}
	kept := sorted[:0]
	for _, r := range sorted {
		if n := len(kept); n > 0 && kept[n-1].MinuteKey == r.MinuteKey {
			if r.Version >= kept[n-1].Version {
				kept[n-1] = r
			}
			continue
		}
		kept = append(kept, r)
	}
	return kept, nil
}
