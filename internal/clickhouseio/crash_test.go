package clickhouseio

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/clickhousetest"
	"github.com/clickledger/clickledger/internal/servingtest"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// stream is a source of upserts as the stream job makes them: absolute rows that only grow.
type stream struct {
	random *rand.Rand
	rows   map[schemas.MinuteKey]schemas.MinuteRow
	step   int64
}

// next returns the rows that have changed, and the progress that goes with them.
func (s *stream) next() ([]schemas.MinuteRow, serving.Progress) {
	s.step++
	var changed []schemas.MinuteRow
	for range 200 {
		key := servingtest.Row(s.random.Int64N(90), fmt.Sprint("ad-", s.random.Int64N(300)), 1, 1).MinuteKey
		row := s.rows[key]
		row.MinuteKey = key
		row.RawClicks++
		row.UniqueClicks++
		row.SpendMicros += 1234
		row.Version++
		s.rows[key] = row
		changed = append(changed, row)
	}
	return changed, serving.Progress{WatermarkMillis: s.step, PolicyHash: "p", NextOffsets: map[int32]int64{0: s.step * 200}}
}

func (s *stream) want() []schemas.MinuteRow {
	want := make([]schemas.MinuteRow, 0, len(s.rows))
	for _, row := range s.rows {
		want = append(want, row)
	}
	slices.SortFunc(want, func(a, b schemas.MinuteRow) int { return a.Compare(b.MinuteKey) })
	return want
}

// TestServerIsKilledWhileRowsAreWritten kills the server, again and again, in the middle of upserts.
// No upsert fails: each rides over. Nothing is lost, nothing is counted twice, and at no moment is the
// progress ahead of the rows.
func TestServerIsKilledWhileRowsAreWritten(t *testing.T) {
	server := clickhousetest.Start(t)
	url := server.URL()
	if err := Migrate(t.Context(), url, Options{}); err != nil {
		t.Fatal(err)
	}
	s := open(t, url, Options{})
	seed := rand.Uint64()
	source := &stream{random: rand.New(rand.NewPCG(seed, 1)), rows: map[schemas.MinuteKey]schemas.MinuteRow{}}
	const kills = 8
	var upserts atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			rows, progress := source.next()
			if err := s.Upsert(t.Context(), rows, progress); err != nil {
				t.Errorf("seed %d: upsert %d: %v", seed, progress.WatermarkMillis, err)
				return
			}
			upserts.Add(1)
		}
	})
	pause := rand.New(rand.NewPCG(seed, 2))
	for range kills {
		for before := upserts.Load(); upserts.Load() < before+3 && !t.Failed(); {
			time.Sleep(time.Duration(1+pause.Int64N(20)) * time.Millisecond)
		}
		server.Kill(t)
		server.Restart(t)
	}
	cancel()
	group.Wait()
	t.Logf("seed %d: %d upserts of 200 rows, %d kills", seed, upserts.Load(), kills)
	day := serving.Range{FromMillis: servingtest.Day, ToMillis: servingtest.Day + serving.DayMillis}
	for _, layer := range []serving.Layer{serving.Provisional, serving.Current} {
		if got := servingtest.Read(t, s, layer, day); !reflect.DeepEqual(got, source.want()) {
			t.Errorf("seed %d: %s rows differ: got %d, want %d", seed, layer, len(got), len(source.want()))
		}
	}
	progress, err := open(t, url, Options{}).LoadProgress(t.Context())
	if err != nil || progress.WatermarkMillis != source.step {
		t.Errorf("seed %d: progress is %+v, %v; want %d", seed, progress, err, source.step)
	}
}

// TestWriterIsKilledBetweenRowsAndProgress is a stream that was killed after its rows and before its
// progress: it goes on from the old progress, and comes to the same rows.
func TestWriterIsKilledBetweenRowsAndProgress(t *testing.T) {
	t.Parallel()
	s, url := setup(t)
	source := &stream{random: rand.New(rand.NewPCG(1, 1)), rows: map[schemas.MinuteKey]schemas.MinuteRow{}}
	rows, first := source.next()
	if err := s.Upsert(t.Context(), rows, first); err != nil {
		t.Fatal(err)
	}
	rows, second := source.next()
	sorted, err := serving.NewestByKey(rows)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.insertRows(t.Context(), "provisional_insert", sorted[:len(sorted)/2], 0); err != nil { // half of it
		t.Fatal(err)
	}
	s.Close()
	s = open(t, url, Options{})
	if got, err := s.LoadProgress(t.Context()); err != nil || !reflect.DeepEqual(got, first) {
		t.Errorf("progress: got %+v, %v; want %+v", got, err, first)
	}
	if err := s.Upsert(t.Context(), rows, second); err != nil {
		t.Fatal(err)
	}
	servingtest.WantRows(t, s, serving.Provisional, source.want()...)
	servingtest.WantRows(t, s, serving.Current, source.want()...)
	if got, err := s.LoadProgress(t.Context()); err != nil || !reflect.DeepEqual(got, second) {
		t.Errorf("progress: got %+v, %v; want %+v", got, err, second)
	}
}

// TestRowsOnTheirWayWhileACutIsSet: a row that got in below a cut, because the cut came too late for
// it, is hidden by whoever inserted it, or, if he was killed, by the next.
func TestRowsOnTheirWayWhileACutIsSet(t *testing.T) {
	t.Parallel()
	r := servingtest.Row
	// inFlight gets a row into the table of readers as the view does that has not seen the cut.
	inFlight := func(s *Store) {
		servingtest.Upsert(t, s, r(1, "late", 2, 2))
		err := s.conn.Exec(t.Context(), `insert into `+s.database+`.ad_clicks_hourly
			select click_minute, ad_id, advertiser_id, campaign_id, device_type, country_code, raw_clicks, unique_clicks, 0, version,
				duplicate_clicks, invalid_clicks, spend_micros, false
			from `+s.database+`.minutes_provisional where ad_id = 'late'`)
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("hidden by the inserter", func(t *testing.T) {
		t.Parallel()
		s, url := setup(t)
		servingtest.Upsert(t, s, r(0, "a", 2, 2)) // this store knows of no cut
		servingtest.Publish(t, open(t, url, Options{}), 2, r(0, "a", 3, 100))
		inFlight(open(t, url, Options{}))
		servingtest.WantRows(t, s, serving.Current, servingtest.Final(r(0, "a", 3, 100)), r(1, "late", 2, 2))
		servingtest.Upsert(t, s, r(1, "late", 2, 2))
		servingtest.WantRows(t, s, serving.Current, servingtest.Final(r(0, "a", 3, 100)))
	})
	t.Run("hidden by the next", func(t *testing.T) {
		t.Parallel()
		s, url := setup(t)
		servingtest.Publish(t, s, 2, r(0, "a", 3, 100))
		inFlight(s)
		next := open(t, url, Options{})
		servingtest.Upsert(t, next, r(1440*3, "later", 2, 2))
		servingtest.WantRows(t, next, serving.Current, servingtest.Final(r(0, "a", 3, 100)))
		servingtest.WantRows(t, next, serving.Provisional, r(1, "late", 2, 2))
	})
	t.Run("hidden by the next publication", func(t *testing.T) {
		t.Parallel()
		s, _ := setup(t)
		servingtest.Publish(t, s, 2, r(0, "a", 3, 100))
		inFlight(s)
		servingtest.Publish(t, s, 2, r(0, "a", 4, 101))
		servingtest.WantRows(t, s, serving.Current, servingtest.Final(r(0, "a", 4, 101)))
	})
}

// TestPublicationThatWasCutOff repeats a publication that ended after each of its steps.
func TestPublicationThatWasCutOff(t *testing.T) {
	t.Parallel()
	r := servingtest.Row
	day := serving.FinalDay{DayMillis: servingtest.Day, CutMillis: servingtest.Day + 2*servingtest.Minute}
	final := []schemas.MinuteRow{r(0, "a", 3, serving.FinalVersion), r(1, "new", 3, serving.FinalVersion)}
	for name, cutOff := range map[string]func(*testing.T, *Store){
		"after the cut": func(t *testing.T, s *Store) {
			err := s.insertRow(t.Context(), "final_day_insert", time.UnixMilli(day.DayMillis).UTC(), time.UnixMilli(day.CutMillis).UTC())
			if err != nil {
				t.Fatal(err)
			}
		},
		"after some rows": func(t *testing.T, s *Store) {
			err := s.insertRow(t.Context(), "final_day_insert", time.UnixMilli(day.DayMillis).UTC(), time.UnixMilli(day.CutMillis).UTC())
			if err != nil {
				t.Fatal(err)
			}
			other := r(0, "other", 9, serving.FinalVersion)
			if err := s.insertRows(t.Context(), "final_insert", []*schemas.MinuteRow{&final[0], &other}, 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := setup(t)
			servingtest.Upsert(t, s, r(0, "a", 2, 2), r(0, "gone", 2, 2), r(5, "open", 2, 2))
			cutOff(t, s)
			servingtest.Publish(t, s, 2, final...)
			wantQuery(t, s, "select ad_id, raw_clicks, is_final from %s.ad_clicks_hourly final order by ad_id",
				[]any{"a", int64(3), true}, []any{"new", int64(3), true}, []any{"open", int64(2), false})
			servingtest.WantRows(t, s, serving.Provisional, r(0, "a", 2, 2), r(0, "gone", 2, 2), r(5, "open", 2, 2))
		})
	}
}

// TestUpsertsWhileADayIsPublished runs a stream and publications of the same minutes at the same time.
func TestUpsertsWhileADayIsPublished(t *testing.T) {
	t.Parallel()
	s, url := setup(t)
	seed := rand.Uint64()
	source := &stream{random: rand.New(rand.NewPCG(seed, 1)), rows: map[schemas.MinuteKey]schemas.MinuteRow{}}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			rows, progress := source.next()
			if err := s.Upsert(t.Context(), rows, progress); err != nil {
				t.Errorf("seed %d: %v", seed, err)
				return
			}
		}
	})
	publisher := open(t, url, Options{})
	var final []schemas.MinuteRow
	const rounds = 6
	for round := range int64(rounds) {
		final = nil
		for minute := range 10 * (round + 1) {
			final = append(final, servingtest.Row(minute, fmt.Sprint("ad-", minute), round+2, serving.FinalVersion))
		}
		servingtest.Publish(t, publisher, 10*(round+1), final...)
	}
	cancel()
	group.Wait()
	day := serving.Range{FromMillis: servingtest.Day, ToMillis: servingtest.Day + serving.DayMillis}
	if got := servingtest.Read(t, s, serving.Provisional, day); !reflect.DeepEqual(got, source.want()) {
		t.Errorf("seed %d: provisional rows differ: got %d, want %d", seed, len(got), len(source.want()))
	}
	want := make([]schemas.MinuteRow, 0, len(final))
	for _, row := range final {
		want = append(want, servingtest.Final(row))
	}
	for _, row := range source.want() {
		if row.MinuteMillis >= servingtest.Day+10*rounds*servingtest.Minute {
			want = append(want, row)
		}
	}
	got := servingtest.Read(t, s, serving.Current, day)
	for i := range got {
		if got[i].IsFinal {
			got[i].Version = serving.FinalVersion
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("seed %d: current rows differ: got %d, want %d", seed, len(got), len(want))
	}
}
