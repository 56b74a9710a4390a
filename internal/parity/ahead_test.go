package parity

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

var errCrash = errors.New("crashed between rows and progress")

// aheadStore ends one upsert as a store without transactions may: some of the rows are stored, the
// progress is not.
type aheadStore struct {
	serving.Store

	left int // upserts with rows until then
	rng  *rand.Rand
}

func (s *aheadStore) Upsert(ctx context.Context, rows []schemas.MinuteRow, progress serving.Progress) error {
	if len(rows) > 0 {
		s.left--
	}
	if s.left > 0 {
		return s.Store.Upsert(ctx, rows, progress)
	}
	before, err := s.LoadProgress(ctx)
	if err != nil {
		return err
	}
	s.rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	if err := s.Store.Upsert(ctx, rows[:s.rng.IntN(len(rows)+1)], before); err != nil {
		return err
	}
	return errCrash
}

// TestRowsAheadOfTheProgress: a stream that was killed between its rows and its progress, as can be
// where the store has no transactions, comes to the rows of one that was not.
func TestRowsAheadOfTheProgress(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			b := newBed(t, logPartitions, parsePolicy(t, shortMemory))
			g := newLive(seed, false)
			rng := rand.New(rand.NewPCG(seed, 7))
			crashes := 0
			for range 4 {
				g.chunk()
				b.produce(&g.log)
				cfg := stream.Config{Log: b.url, Policy: b.policy, RunID: b.runID("stream"), UntilEnd: true,
					PublishInterval: 10 * time.Millisecond, PollWait: 20 * time.Millisecond, PollRecords: 200}
				_, err := stream.Run(b.ctx, cfg, stream.Deps{Serving: &aheadStore{Store: b.open(), left: 1 + rng.IntN(3), rng: rng}})
				if errors.Is(err, errCrash) {
					crashes++
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if crashes == 0 {
				t.Error("nothing crashed: nothing was tested")
			}
			b.stream()
			b.checkStream(oracle.Judge(g.log.recs, b.policy))
			t.Logf("%d crashes of 4 runs", crashes)
		})
	}
}
