package servingduck

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// history is what a store must hold, kept in maps.
type history struct {
	random      *rand.Rand
	provisional map[schemas.MinuteKey]schemas.MinuteRow
	final       map[schemas.MinuteKey]schemas.MinuteRow
	impressions map[schemas.MinuteKey]schemas.MinuteRow
	cuts        map[int64]int64
	newest      int64 // minute of the day
}

// rows makes up rows of minutes up to the newest, most of them near it, with versions that go up and down.
func (h *history) rows(n int) []schemas.MinuteRow {
	rows := make([]schemas.MinuteRow, 0, n)
	for range n {
		back := h.random.Int64N(12)
		if h.random.IntN(10) == 0 {
			back = h.random.Int64N(h.newest + 1)
		}
		r := row(h.newest-min(back, h.newest), fmt.Sprint("ad-", h.random.IntN(5)), 1+h.random.Int64N(100), 1+h.random.Uint64N(50))
		r.AdvertiserID = fmt.Sprint("adv-", h.random.IntN(7))
		rows = append(rows, r)
	}
	return rows
}

func keep(stored map[schemas.MinuteKey]schemas.MinuteRow, rows []schemas.MinuteRow) {
	for _, r := range rows {
		if old, ok := stored[r.MinuteKey]; !ok || r.Version >= old.Version {
			stored[r.MinuteKey] = r
		}
	}
}

func sorted(rows map[schemas.MinuteKey]schemas.MinuteRow) []schemas.MinuteRow {
	return slices.SortedFunc(maps.Values(rows), func(a, b schemas.MinuteRow) int {
		return cmp.Or(cmp.Compare(a.MinuteMillis, b.MinuteMillis), cmp.Compare(a.AdvertiserID, b.AdvertiserID),
			cmp.Compare(a.CampaignID, b.CampaignID), cmp.Compare(a.AdID, b.AdID))
	})
}

// current is what a reader sees.
func (h *history) current() map[schemas.MinuteKey]schemas.MinuteRow {
	rows := maps.Clone(h.final)
	for key, r := range h.provisional {
		if cut, ok := h.cuts[key.MinuteMillis/serving.DayMillis*serving.DayMillis]; !ok || key.MinuteMillis >= cut {
			rows[key] = r
		}
	}
	return rows
}

// step writes something.
func (h *history) step(t *testing.T, s *Store) {
	t.Helper()
	progress := serving.Progress{PolicyHash: "p"}
	switch h.random.IntN(8) {
	case 0:
		start := day + h.random.Int64N(h.newest/1440+1)*serving.DayMillis
		cut := start + h.random.Int64N(1441)*minute
		final := map[schemas.MinuteKey]schemas.MinuteRow{}
		for _, r := range h.rows(200) {
			if r.MinuteMillis >= start && r.MinuteMillis < cut {
				r.IsFinal, r.Version = true, serving.FinalVersion
				final[r.MinuteKey] = r
			}
		}
		if err := s.PublishFinal(t.Context(), serving.FinalDay{DayMillis: start, CutMillis: cut}, sorted(final)); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(h.final, func(key schemas.MinuteKey, _ schemas.MinuteRow) bool {
			return key.MinuteMillis >= start && key.MinuteMillis < cut
		})
		maps.Copy(h.final, final)
		h.cuts[start] = max(h.cuts[start], cut)
	case 1, 2:
		rows := h.rows(120)
		for i := range rows {
			rows[i].DuplicateClicks, rows[i].InvalidClicks, rows[i].SpendMicros = 0, 0, 0
		}
		if err := s.Impressions().Upsert(t.Context(), rows, progress); err != nil {
			t.Fatal(err)
		}
		keep(h.impressions, rows)
	default:
		rows := h.rows(120)
		if err := s.Upsert(t.Context(), rows, progress); err != nil {
			t.Fatal(err)
		}
		keep(h.provisional, rows)
		h.newest += h.random.Int64N(40)
	}
}

func (h *history) check(t *testing.T, s *Store) {
	t.Helper()
	all := serving.Range{FromMillis: day, ToMillis: day + 1000*serving.DayMillis}
	for _, tt := range []struct {
		name  string
		from  serving.Minutes
		layer serving.Layer
		want  map[schemas.MinuteKey]schemas.MinuteRow
	}{
		{"current", s, serving.Current, h.current()},
		{"provisional", s, serving.Provisional, h.provisional},
		{"final", s, serving.Final, h.final},
		{"impressions", s.Impressions(), serving.Provisional, h.impressions},
	} {
		var got []schemas.MinuteRow
		for r, err := range tt.from.Rows(t.Context(), tt.layer, all) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		if want := sorted(tt.want); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %d rows, want %d, or they differ", tt.name, len(got), len(want))
		}
	}
}

// TestLaidOutRows compares the rows of a store that lays them out all the time with what was
// written, after random histories of upserts, publications and restarts, with readers beside them.
func TestLaidOutRows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			storeURL := "duckdb://" + filepath.Join(t.TempDir(), "serving.duckdb")
			h := &history{random: rand.New(rand.NewPCG(seed, 18)), provisional: map[schemas.MinuteKey]schemas.MinuteRow{},
				final: map[schemas.MinuteKey]schemas.MinuteRow{}, impressions: map[schemas.MinuteKey]schemas.MinuteRow{}, cuts: map[int64]int64{}}
			for range 3 {
				s := open(t, storeURL, Options{MustOwn: true, clusterRows: 800})
				var readers sync.WaitGroup
				stop := make(chan struct{})
				for range 2 {
					readers.Go(func() { readWhile(t, s, stop) })
				}
				for range 30 {
					h.step(t, s)
				}
				h.check(t, s)
				close(stop)
				readers.Wait()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, storeURL, Options{MustOwn: true, clusterRows: 800})
			waitLaidOut(t, s)
			h.check(t, s)
		})
	}
}

// readWhile sees every row once, however it lies: rows of one key are never two.
func readWhile(t *testing.T, s *Store, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		got, err := s.Query(t.Context(), `select count(*) - count(distinct (click_minute, advertiser_id, ad_id)) from csp_analytics.ad_clicks_hourly`)
		if err != nil || got.Rows[0][0] != int64(0) {
			t.Errorf("rows of a key that is there already: %+v, %v", got, err)
			return
		}
	}
}

// waitLaidOut waits until few rows are not laid out, and looks whether they are.
func waitLaidOut(t *testing.T, s *Store) {
	t.Helper()
	const left = `with here as (
	select advertiser_id <> lag(advertiser_id) over (order by rowid) as is_other
	from csp_analytics.minutes_provisional
)
select count(*) filter (is_other), count(*), (select count(*) from csp_analytics.clustered) from here`
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got, err := s.Query(t.Context(), left)
		if err != nil {
			t.Fatal(err)
		}
		turns, _ := got.Rows[0][0].(int64)
		rows, _ := got.Rows[0][1].(int64)
		if steps, _ := got.Rows[0][2].(int64); steps == 4 && turns*4 < rows { // of seven advertisers at random, six in seven differ
			return
		}
		if time.Now().After(end) {
			t.Fatalf("of %v rows, the advertiser changes at: %v", got.Rows[0][1], got.Rows[0][0])
		}
	}
}
