package api

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// store asks the serving store, with the statements of its dialect. Parameters are always bound.
type store struct {
	store Store
	sql   func(name string) string
	now   func() time.Time

	reading sync.Mutex // of the cuts
	mu      sync.Mutex
	cuts    map[int64]int64 // never changed once it is here
	cutsAt  time.Time
}

// scope is whose rows are meant.
type scope struct {
	advertiserID, campaignID, adID string
	span
}

// part says what points are kept apart by.
type part string

const (
	byAd       part = "ad"
	byCampaign part = "campaign"
	byNone     part = "none"
)

// figures are the sums of rows.
type figures struct {
	clicks, duplicates, invalid, spendMicros int64
	impressions                              int64
	isFinal                                  bool // as far as rows go
}

// point is a bucket of one part.
type point struct {
	cursor
	figures
}

// pageOf is a page of points.
type pageOf struct {
	scope
	bucket int64 // seconds
	part   part
	after  cursor
	limit  int
}

func (q pageOf) args() []any {
	from := max(q.from, q.after.bucket) // what is before the cursor need not be read
	return []any{q.advertiserID, from, q.to, q.bucket, q.campaignID, q.adID, string(q.part),
		q.after.bucket, q.after.part, int64(q.limit)}
}

// series returns a page of points in order, those with impressions alone included.
func (s *store) series(ctx context.Context, q pageOf) ([]point, error) {
	var points []point
	err := s.query(ctx, "api_series", q.args(), func(row []any) (err error) {
		p := point{figures: figures{isFinal: isTrue(row[6])}}
		p.part, _ = row[1].(string)
		err = integers(row, map[int]*int64{0: &p.bucket, 2: &p.clicks, 3: &p.duplicates, 4: &p.invalid, 5: &p.spendMicros,
			7: &p.figures.impressions})
		points = append(points, p)
		return err
	})
	return points, err
}

// impressions returns the points that have impressions, in order, with nothing else of them.
func (s *store) impressions(ctx context.Context, q pageOf) ([]point, error) {
	var points []point
	err := s.query(ctx, "api_impressions", q.args(), func(row []any) error {
		var p point
		p.part, _ = row[1].(string)
		err := integers(row, map[int]*int64{0: &p.bucket, 2: &p.figures.impressions})
		points = append(points, p)
		return err
	})
	return points, err
}

// cutsFor is how long the cuts are used. A cut that is old calls a point provisional for that much longer.
const cutsFor = time.Second

// finalCuts returns the end of what is final, by the beginning of the day: of all days, a row each. One
// request reads them for all: meanwhile others use those that are there, or wait where there are none.
func (s *store) finalCuts(ctx context.Context) (map[int64]int64, error) {
	cuts, isDue := s.knownCuts()
	if !isDue {
		return cuts, nil
	}
	if cuts == nil {
		s.reading.Lock()
	} else if !s.reading.TryLock() {
		return cuts, nil
	}
	defer s.reading.Unlock()
	if cuts, isDue = s.knownCuts(); !isDue {
		return cuts, nil
	}
	at := s.now()
	cuts = map[int64]int64{}
	err := s.query(ctx, "api_final_cuts", []any{int64(0), int64(secondsMax)}, func(row []any) error {
		var day, cut int64
		err := integers(row, map[int]*int64{0: &day, 1: &cut})
		cuts[day] = cut
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts, s.cutsAt = cuts, at
	return cuts, nil
}

func (s *store) knownCuts() (cuts map[int64]int64, isDue bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cuts, s.cuts == nil || s.now().Sub(s.cutsAt) >= cutsFor
}

// topPart is one campaign or ad.
type topPart struct {
	id string
	figures
}

// top returns the parts with the highest spend, with their impressions.
func (s *store) top(ctx context.Context, sc scope, by part, limit int) ([]topPart, error) {
	var parts []topPart
	args := []any{sc.advertiserID, sc.from, sc.to, string(by), sc.campaignID, int64(limit)}
	err := s.query(ctx, "api_top", args, func(row []any) error {
		var p topPart
		p.id, _ = row[0].(string)
		err := integers(row, map[int]*int64{1: &p.clicks, 2: &p.duplicates, 3: &p.invalid, 4: &p.spendMicros})
		parts = append(parts, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	// One bucket that holds any time: each part is one point.
	shown, err := s.impressions(ctx, pageOf{scope: sc, bucket: 1 << 40, part: by, after: start, limit: impressionPartsMax})
	if err != nil {
		return nil, err
	}
	impressions := make(map[string]int64, len(shown))
	for i := range shown {
		impressions[shown[i].part] = shown[i].impressions
	}
	for i := range parts {
		parts[i].impressions = impressions[parts[i].id]
	}
	return parts, nil
}

// impressionPartsMax is how many campaigns or ads of one advertiser are counted.
const impressionPartsMax = 100_000

func (s *store) query(ctx context.Context, name string, args []any, each func(row []any) error) error {
	table, err := s.store.Query(ctx, s.sql(name), args...)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, row := range table.Rows {
		if err := each(row); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func integers(row []any, to map[int]*int64) error {
	for i, n := range to {
		switch v := row[i].(type) {
		case int64:
			*n = v
		case uint64:
			*n = int64(v)
		default:
			return fmt.Errorf("column %d is no whole number", i)
		}
	}
	return nil
}

func isTrue(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case int64:
		return v != 0
	default:
		return false
	}
}
