package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

func init() {
	register.DoFn4x1[context.Context, state.Provider, int64, []byte, error](&progressFn{})
}

// The kinds of marks.
const (
	markSource    = "source"    // a partition was read on
	markRows      = "rows"      // a shard's rows are stored
	markDecisions = "decisions" // a shard's decisions are acknowledged
)

// mark says how far a part of the job is.
type mark struct {
	Kind string `json:"kind"`
	// ID is a shard, or a source's partition.
	ID int32 `json:"id"`
	// WatermarkMillis is what a shard is complete to.
	WatermarkMillis int64 `json:"watermark_millis,omitempty"`
	// Of a source: the first offset of a batch and the least watermark that its clicks are measured
	// against, if there were any; where it goes on, and the highest record timestamp.
	Point     *point `json:"point,omitempty"`
	Next      int64  `json:"next,omitempty"`
	LogMillis int64  `json:"log_millis,omitempty"`
	IsEnded   bool   `json:"is_ended,omitempty"`
}

func (m mark) encode() []byte {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // numbers and a word
	}
	return text
}

// sourceMark says that a poll went from one place to the next.
func sourceMark(id int32, recs []schemas.Record, from, to place) mark {
	m := mark{Kind: markSource, ID: id, Next: to.Next, LogMillis: to.LogMillis, IsEnded: to.IsEnded}
	if len(recs) > 0 {
		before := from.AnnouncedMillis
		if before == schemas.NoWatermark {
			before = schemas.MinWatermark
		}
		m.Point = &point{Offset: recs[0].Offset, Watermark: before}
	}
	return m
}

// progressState is what the one key knows that all marks go to.
type progressState struct {
	Rows      []int64        `json:"rows"`      // watermark by shard
	Decisions []int64        `json:"decisions"` // watermark by shard
	Parts     []partProgress `json:"parts"`
	// WatermarkMillis was stored last, at the time StoredMillis of this process's clock.
	WatermarkMillis int64 `json:"watermark_millis"`
	StoredMillis    int64 `json:"stored_millis"`
	IsDrained       bool  `json:"is_drained"`
}

// partProgress is what is known of a partition.
type partProgress struct {
	Points    []point `json:"points"`
	Next      int64   `json:"next"`
	LogMillis int64   `json:"log_millis"`
	IsEnded   bool    `json:"is_ended"`
}

func newProgressState(spec *Spec) *progressState {
	s := &progressState{WatermarkMillis: schemas.MinWatermark}
	if spec.Start.PolicyHash != "" {
		s.WatermarkMillis = spec.Start.WatermarkMillis
	}
	for range spec.Shards {
		s.Rows, s.Decisions = append(s.Rows, schemas.MinWatermark), append(s.Decisions, schemas.MinWatermark)
	}
	return s
}

// grow adds the partitions that a restored state does not know.
func (s *progressState) grow(starts []int64) {
	for p := len(s.Parts); p < len(starts); p++ {
		s.Parts = append(s.Parts, partProgress{Next: starts[p], LogMillis: schemas.MinWatermark})
	}
}

func (s *progressState) take(m *mark) error {
	switch m.Kind {
	case markRows:
		s.Rows[m.ID] = max(s.Rows[m.ID], m.WatermarkMillis)
	case markDecisions:
		s.Decisions[m.ID] = max(s.Decisions[m.ID], m.WatermarkMillis)
	case markSource:
		p := &s.Parts[m.ID]
		if n := len(p.Points); m.Point != nil && (n == 0 || p.Points[n-1].Watermark < m.Point.Watermark) {
			p.Points = append(p.Points, *m.Point)
		}
		p.Next, p.LogMillis, p.IsEnded = max(p.Next, m.Next), max(p.LogMillis, m.LogMillis), p.IsEnded || m.IsEnded
	default:
		return fmt.Errorf("a mark of kind %q", m.Kind)
	}
	return nil
}

// watermark is what all rows and decisions are complete to; Max where all have ended.
func (s *progressState) watermark() int64 {
	least := int64(schemas.MaxWatermark)
	for i := range s.Rows {
		least = min(least, s.Rows[i], s.Decisions[i])
	}
	for i := range s.Parts {
		if least == schemas.MaxWatermark && !s.Parts[i].IsEnded {
			return schemas.MinWatermark // its last mark is on its way
		}
	}
	return least
}

// complete is partition.complete by the coarser points: at most what that returns.
func (p *partProgress) complete(watermark int64) int64 {
	for i, pt := range p.Points {
		if pt.Watermark >= watermark {
			// The clicks from the point before it on are measured against its watermark or any up to this one.
			p.Points = p.Points[max(i-1, 0):]
			return p.Points[0].Offset
		}
	}
	if n := len(p.Points); n > 0 {
		p.Points = p.Points[n-1:]
		if p.LogMillis >= watermark {
			return p.Points[0].Offset
		}
	}
	return p.Next
}

// due returns the progress to store, if it is time to.
func (s *progressState) due(w *worker, nowMillis int64) (serving.Progress, bool) {
	watermark := s.watermark()
	final := watermark == schemas.MaxWatermark
	if s.IsDrained || watermark == schemas.MinWatermark || watermark < s.WatermarkMillis {
		return serving.Progress{}, false
	}
	if !final && (watermark == s.WatermarkMillis || nowMillis-s.StoredMillis < w.spec.PublishMillis/2) {
		return serving.Progress{}, false
	}
	progress := serving.Progress{WatermarkMillis: watermark, IsDrained: final, PolicyHash: w.policy.Hash(),
		PolicyFromMillis: w.spec.PolicyFromMillis, StoredAtMillis: nowMillis, NextOffsets: map[int32]int64{}}
	for p := range s.Parts {
		if final {
			progress.NextOffsets[int32(p)] = s.Parts[p].Next
		} else {
			progress.NextOffsets[int32(p)] = s.Parts[p].complete(watermark)
		}
	}
	if final {
		progress.WatermarkMillis = s.lastWatermark(w)
	}
	return progress, true
}

// lastWatermark is the watermark that the log itself came to before the end was declared.
func (s *progressState) lastWatermark(w *worker) int64 {
	last := int64(math.MaxInt64)
	for i := range s.Parts {
		if h := s.Parts[i].LogMillis; h != schemas.MinWatermark {
			last = min(last, h-w.skew(h))
		}
	}
	if last == math.MaxInt64 {
		last = 0
	}
	return max(last, s.WatermarkMillis)
}

// progressFn takes all marks by one key and stores the progress. Spec is configuration.
type progressFn struct {
	Spec  Spec
	Known state.Value[[]byte]

	worker *worker
}

func (f *progressFn) Setup() (err error) {
	f.worker, err = workerOf(f.Spec)
	return err
}

func (f *progressFn) ProcessElement(ctx context.Context, sp state.Provider, _ int64, data []byte) error {
	var m mark
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("read a mark: %w", err)
	}
	text, exists, err := f.Known.Read(sp)
	if err != nil {
		return fmt.Errorf("read the progress: %w", err)
	}
	s := newProgressState(&f.Spec)
	if exists {
		if err := json.Unmarshal(text, s); err != nil {
			return fmt.Errorf("read the progress: %w", err)
		}
	}
	s.grow(f.Spec.Starts)
	if err := s.take(&m); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	if progress, isDue := s.due(f.worker, now); isDue {
		if f.worker.store != nil {
			if err := f.worker.store.StoreProgress(ctx, progress); err != nil {
				return err
			}
		}
		f.worker.published.Store(&progress)
		s.WatermarkMillis, s.StoredMillis, s.IsDrained = progress.WatermarkMillis, now, progress.IsDrained
	}
	if text, err = json.Marshal(s); err != nil {
		return err
	}
	return f.Known.Write(sp, text)
}

func (f *progressFn) Teardown() error { return releaseWorker(f.worker) }
