package parity

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// shortMemory makes the horizon of a replay three and a half minutes, so that a restart begins in
// the middle of a log of fourteen.
const shortMemory = `
revisions:
  - effective_from: 2020-01-01T00:00:00Z
    max_event_ahead: 5s
    dedup: {ttl: 40s, lookback: 25h}
    velocity: {window: 10s, max_clicks: 30, cooling: 90s}
    allowed_lateness: 30s
`

const (
	chunks      = 8
	chunkClicks = 1_200
	chunkMillis = 45 * second
	// chunkGap keeps what the clock adds to an idle partition's watermark away from the verdicts.
	chunkGap = 45 * second
)

// live makes a log in chunks.
type live struct {
	rng    *rand.Rand
	log    clickLog
	n      int // chunks made
	id     int
	recent []event
	trips  []event // identities that cool down
	isLate bool
}

func newLive(seed uint64, isLate bool) *live {
	return &live{rng: rand.New(rand.NewPCG(seed, 3)), isLate: isLate}
}

func (g *live) fresh(at int64) event {
	g.id++
	user := g.rng.IntN(300)
	ad := g.rng.IntN(25)
	return event{id: fmt.Sprintf("click-%d", g.id), ad: fmt.Sprintf("ad-%d", ad), adv: fmt.Sprintf("adv-%d", ad%7),
		user: fmt.Sprintf("user-%d", user), ip: fmt.Sprintf("10.0.%d.%d", user/250, user%250),
		cost: float64(1+ad) / 100, at: at - g.rng.Int64N(1_000), received: at}
}

// chunk appends the next chunk to the log.
func (g *live) chunk() {
	from := noon + int64(g.n)*(chunkMillis+chunkGap)
	g.n++
	for p := range int32(logPartitions) { // on time, and so the watermark is the log's before anything else
		e := g.fresh(from)
		e.at = from
		g.log.addTo(p, e)
	}
	if !g.isLate {
		g.recent = nil // a copy has the time of its original
	}
	var list []event
	for i := range chunkClicks {
		at := from + int64(i)*chunkMillis/chunkClicks
		e, isCopy := g.fresh(at), false
		switch k := g.rng.IntN(100); {
		case k < 4 && len(g.recent) > 0:
			e = g.recent[len(g.recent)-1-g.rng.IntN(min(len(g.recent), 300))]
			e.received = at
			isCopy = true
			if k == 0 {
				e.cost += 0.01
			}
		case k < 8 && g.isLate: // from seven seconds to fifty
			e.at = at - 7*second - g.rng.Int64N(43*second)
		case k == 8:
			e.agent = "Googlebot/2.1"
		case k == 9:
			e.ip = "not an address"
		case k < 13 && len(g.trips) > 0:
			t := g.trips[g.rng.IntN(len(g.trips))]
			e.ad, e.adv, e.ip, e.user, e.cost = t.ad, t.adv, t.ip, t.user, t.cost
		}
		if !isCopy && e.ip != "not an address" {
			g.recent = append(g.recent, e)
		}
		list = append(list, e)
	}
	for range 3 {
		at := from + g.rng.Int64N(chunkMillis-10*second)
		who := g.fresh(at)
		g.trips = append(g.trips, who)
		list = append(list, burst(28+g.rng.IntN(6), at, 150, who)...)
	}
	for i := range list {
		if list[i].received == 0 {
			list[i].received = list[i].at
		}
	}
	slices.SortStableFunc(list, func(a, b event) int { return int(a.received - b.received) })
	for _, e := range list {
		h := fnv.New32a()
		_, _ = h.Write([]byte(e.id))
		g.log.addTo(int32(h.Sum32()%logPartitions), e)
	}
}

// witness sees what is published, and that it never goes back.
type witness struct {
	rows      map[schemas.MinuteKey]schemas.MinuteRow
	watermark int64
	changes   int // of the watermark in this life
	reads     int
}

func (w *witness) look(t *testing.T, store serving.Store) {
	t.Helper()
	progress, err := store.LoadProgress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if progress.WatermarkMillis < w.watermark {
		t.Errorf("the watermark went back from %d to %d", w.watermark, progress.WatermarkMillis)
	}
	if progress.WatermarkMillis > w.watermark {
		w.watermark = progress.WatermarkMillis
		w.changes++
	}
	seen := 0
	for _, row := range rows(t, store, serving.Provisional, always) {
		old, ok := w.rows[row.MinuteKey]
		if ok {
			seen++
		}
		if row.Version < old.Version || row.RawClicks < old.RawClicks || row.DuplicateClicks < old.DuplicateClicks ||
			row.InvalidClicks < old.InvalidClicks || row.UniqueClicks < old.UniqueClicks || row.SpendMicros < old.SpendMicros {
			t.Errorf("a row went back:\nfrom %+v\n  to %+v", old, row)
		}
		if row.Version == old.Version && row != old {
			t.Errorf("one version, two rows:\n%+v\n%+v", old, row)
		}
		if row.SpendMicros > row.UniqueClicks*1_000_000 { // no click costs more than 0.27
			table, err := store.Query(t.Context(), `select epoch_ms(click_minute), spend_micros, unique_clicks, version
				from csp_analytics.minutes_provisional where ad_id = $1 order by 1`, row.AdID)
			t.Errorf("impossible row: %+v; the table holds %+v (%v)", row, table, err)
		}
		w.rows[row.MinuteKey] = row
	}
	if seen < w.reads {
		t.Errorf("%d rows were there before, %d are there still", w.reads, seen)
	}
	w.reads = len(w.rows)
}

// TestCrash ends the stream at random moments, by SIGKILL or by its context, while records come in,
// and starts it again. Rows, versions and decisions are those of a run that nothing interrupted, and
// where nothing is late the oracle's.
func TestCrash(t *testing.T) {
	for _, tc := range []struct {
		name           string
		isLate, isSoft bool
	}{
		{"kill", false, false}, {"kill, late clicks", true, false}, {"cancel", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			})
			b := newBed(t, logPartitions, parsePolicy(t, shortMemory))
			g := newLive(seed, tc.isLate)
			g.chunk()
			b.produce(&g.log)
			start := func() life { return b.process(shortMemory) }
			if tc.isSoft {
				start = b.inProcess
			}
			b.interrupt(t, g, seed, start)
			decided := b.decisions()
			published := rows(t, b.open(), serving.Provisional, always)
			if !tc.isLate {
				want := oracle.Judge(g.log.recs, b.policy)
				b.checkDecisions(want, decided)
				sameRows(t, "stream", bare(slices.Clone(published)), want.Rows(oracle.All))
			}
			b.compareUninterrupted(published, decided)
		})
	}
}

// interrupt lets the stream live several times while the log grows.
func (b *bed) interrupt(t *testing.T, g *live, seed uint64, start func() life) {
	rng := rand.New(rand.NewPCG(seed, 4))
	w := witness{rows: map[schemas.MinuteKey]schemas.MinuteRow{}}
	for g.n < chunks {
		l := start()
		// So many publications, and then at any instant; or at once, while it still rebuilds.
		until, wait := rng.IntN(5), time.Duration(rng.IntN(200))*time.Millisecond
		w.changes = 0
		for produced := 0; w.changes < until || produced == 0; {
			if produced < 2 && g.n < chunks && rng.IntN(3) == 0 {
				g.chunk()
				b.produce(&g.log)
				produced++
			}
			w.look(t, l.store)
		}
		for deadline := time.Now().Add(wait); time.Now().Before(deadline); {
			w.look(t, l.store)
		}
		l.stop()
	}
	l := start()
	w.look(t, l.store)
	l.drain()
	w.look(t, b.open())
}

// compareUninterrupted runs the whole log once, into a store of its own.
func (b *bed) compareUninterrupted(published []schemas.MinuteRow, decided map[schemas.Position]schemas.Decision) {
	b.t.Helper()
	from := b.decisionEnds()
	store, err := servingduck.Open(b.ctx, "duckdb://"+filepath.Join(b.t.TempDir(), "other.duckdb"), servingduck.Options{MustOwn: true})
	if err != nil {
		b.t.Fatal(err)
	}
	defer store.Close()
	st, err := stream.Run(b.ctx, stream.Config{Log: b.url, Policy: b.policy, RunID: b.runID("whole"), UntilEnd: true}, stream.Deps{Serving: store})
	if err != nil {
		b.t.Fatal(err)
	}
	if st.Judged() != st.Records {
		b.t.Errorf("uninterrupted: %+v", st)
	}
	sameRows(b.t, "interrupted", published, rows(b.t, store, serving.Provisional, always))
	b.sameDecisions(decided, b.decisionsFrom(from))
}

// sameDecisions wants the same decision on every position.
func (b *bed) sameDecisions(decided, want map[schemas.Position]schemas.Decision) {
	b.t.Helper()
	bad := 0
	for pos, d := range want {
		if got, ok := decided[pos]; !ok || got != d {
			if bad++; bad < 5 {
				b.t.Errorf("decision: got %+v (%t), want %+v", got, ok, d)
			}
		}
	}
	if bad > 0 || len(want) != len(decided) {
		b.t.Errorf("%d decisions differ; there are %d, want %d", bad, len(decided), len(want))
	}
}
