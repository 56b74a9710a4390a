package stream

import (
	"context"
	"math"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/rtrackers/offsetrange"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/transforms/decode"
)

func init() {
	register.DoFn4x2[context.Context, *sdf.LockRTracker, int64, func(decode.Batch), sdf.ProcessContinuation, error](&readFn{})
	register.Emitter1[decode.Batch]()
}

// endOffset is beyond every offset of a log.
const endOffset = math.MaxInt64 - 1

// pollBytes is how much log the broker gathers for a poll: each poll costs a bundle of every
// operator, however few clicks it brings. The partitions share PollWait, as prism polls them in turn.
const pollBytes = 1 << 20

// waitPause is how long a partition rests that has read too far ahead of the others.
const waitPause = 20 * time.Millisecond

// read is the source. In: nothing. Out: PCollection<decode.Batch>.
func read(s beam.Scope, runID string, starts []int64) beam.PCollection {
	s = s.Scope("stream.Read")
	ids := make([]int64, len(starts))
	for i := range ids {
		ids[i] = int64(i)
	}
	return beam.ParDo(s, &readFn{RunID: runID, Starts: starts}, beam.Reshuffle(s, beam.CreateList(s, ids)))
}

// readFn is a splittable DoFn over partitions: the restriction is the range of offsets, so a
// runner with checkpoints stores where to go on. RunID and Starts are configuration.
type readFn struct {
	RunID  string
	Starts []int64

	session *session
}

func (f *readFn) CreateInitialRestriction(p int64) offsetrange.Restriction {
	return offsetrange.Restriction{Start: f.Starts[p], End: endOffset}
}

func (f *readFn) SplitRestriction(_ int64, r offsetrange.Restriction) []offsetrange.Restriction {
	return []offsetrange.Restriction{r} // one partition is one ordered channel
}

func (f *readFn) RestrictionSize(p int64, r offsetrange.Restriction) float64 {
	s, err := sessionOf(f.RunID)
	if err != nil {
		return 1
	}
	return float64(max(1, s.partitions[p].end.Load()-r.Start))
}

func (f *readFn) CreateTracker(r offsetrange.Restriction) *sdf.LockRTracker {
	return sdf.NewLockRTracker(offsetrange.NewTracker(r))
}

func (f *readFn) Setup() (err error) {
	f.session, err = sessionOf(f.RunID)
	return err
}

// ProcessElement is one poll: records become a batch, and so does their absence, which carries
// the watermark on.
func (f *readFn) ProcessElement(_ context.Context, rt *sdf.LockRTracker, id int64, emit func(decode.Batch)) (sdf.ProcessContinuation, error) {
	s := f.session
	p := s.partitions[id]
	if s.stopping.Load() {
		return finish(rt), nil
	}
	if !s.mayRead(p) {
		return sdf.ResumeProcessingIn(waitPause), nil
	}
	draining := s.draining.Load()
	limits := kafkaio.FetchLimits{MaxWait: s.cfg.PollWait / time.Duration(len(s.partitions)), MinBytes: pollBytes, MaxRecords: s.cfg.PollRecords}
	recs, high, err := p.reader.Fetch(s.ctx, limits)
	if err != nil {
		if s.ctx.Err() != nil {
			return finish(rt), nil //nolint:nilerr // the job is being stopped, and reading was interrupted for it
		}
		return sdf.StopProcessing(), s.fail(err)
	}
	p.end.Store(high)
	if len(recs) > 0 && !rt.TryClaim(recs[len(recs)-1].Offset) {
		return sdf.StopProcessing(), nil
	}
	s.records.Add(int64(len(recs)))
	emit(p.batch(recs, s.skew, time.Now()))
	if draining && len(recs) == 0 && p.next.Load() >= high {
		emit(p.last(time.Now()))
		p.ended.Store(true)
		return finish(rt), nil
	}
	return sdf.ResumeProcessingIn(0), nil
}

// finish claims the rest of the restriction, so that the partition is done.
func finish(rt *sdf.LockRTracker) sdf.ProcessContinuation {
	if rt.TryClaim(int64(endOffset - 1)) {
		rt.TryClaim(int64(endOffset))
	}
	return sdf.StopProcessing()
}
