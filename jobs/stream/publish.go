package stream

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// publisher collects totals from all shards and stores them, newest version of each row, with the
// watermark that all shards have reached.
type publisher struct {
	session *session

	mu        sync.Mutex
	rows      map[schemas.MinuteKey]schemas.MinuteRow
	watermark []int64 // by shard
	flushed   time.Time
	stored    int64 // watermark of the last flush
	// floor holds the rows that were published before a restart and that the replay has not come to
	// yet. Until it is empty nothing is published: with the same watermark, a rebuilt row may for a
	// while hold other clicks than the published one, of those beyond the watermark.
	floor      map[schemas.MinuteKey]schemas.MinuteRow
	floorUntil int64 // the newest record that the log had at the start; 0 while that is not read
	isDrained  bool
}

func (p *publisher) init(s *session) {
	p.session, p.rows = s, map[schemas.MinuteKey]schemas.MinuteRow{}
	p.watermark = make([]int64, s.cfg.Shards)
	for i := range p.watermark {
		p.watermark[i] = schemas.MinWatermark
	}
	p.stored = schemas.MinWatermark
	if s.start.PolicyHash != "" {
		p.stored = s.start.WatermarkMillis
	}
}

// loadFloor reads the rows that a replay comes to again. Another policy's rows are no measure.
func (p *publisher) loadFloor(ctx context.Context) error {
	s := p.session
	if s.start.PolicyHash == "" || s.start.PolicyHash != s.cfg.Policy.Hash() {
		return nil
	}
	p.floor = map[schemas.MinuteKey]schemas.MinuteRow{}
	again := serving.Range{FromMillis: p.oldest(), ToMillis: math.MaxInt64 / 1_000_000}
	for row, err := range s.minutes.Rows(ctx, serving.Provisional, again) {
		if err != nil {
			return fmt.Errorf("load published rows: %w", err)
		}
		p.floor[row.MinuteKey] = row
	}
	return nil
}

// isRebuilt reports whether the replay has come to all that was published, or has judged all that
// was in the log when it began, so that nothing more is to be waited for.
func (p *publisher) isRebuilt(watermark int64) bool {
	if len(p.floor) == 0 {
		return true
	}
	if p.floorUntil == 0 {
		for _, part := range p.session.partitions {
			if part.next.Load() < part.endAtStart {
				return false
			}
		}
		for _, part := range p.session.partitions {
			p.floorUntil = max(p.floorUntil, part.highest.Load())
		}
	}
	return watermark > p.floorUntil
}

// reaches reports whether a row holds at least what another does.
func reaches(r, old *schemas.MinuteRow) bool {
	return r.Version >= old.Version && r.RawClicks >= old.RawClicks && r.DuplicateClicks >= old.DuplicateClicks &&
		r.InvalidClicks >= old.InvalidClicks && r.UniqueClicks >= old.UniqueClicks && r.SpendMicros >= old.SpendMicros
}

// oldest is the first minute that a click after the stored watermark can reach.
func (p *publisher) oldest() int64 {
	start := p.session.start
	if start.PolicyHash == "" {
		return math.MinInt64
	}
	return schemas.MinuteStart(start.WatermarkMillis - p.session.latenessMillis())
}

// take adds one block of totals. Rows of minutes that no click after the stored watermark can
// reach are only the rebuilding of what is published already.
func (p *publisher) take(b *schemas.RowBlock) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := p.oldest()
	for i := range b.Len() {
		if b.MinuteMillis[i] < oldest {
			continue
		}
		row, err := b.Row(i)
		if err != nil {
			return err
		}
		row.Version |= p.session.epoch << serving.EpochShift
		p.rows[row.MinuteKey] = row
		if old, ok := p.floor[row.MinuteKey]; ok && reaches(&row, &old) {
			delete(p.floor, row.MinuteKey)
		}
	}
	p.watermark[b.Channel] = max(p.watermark[b.Channel], b.WatermarkMillis)
	return nil
}

// flushIfDue stores what was collected, at most once in half a publish interval, or at the end.
func (p *publisher) flushIfDue(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	watermark := int64(schemas.MaxWatermark)
	for _, w := range p.watermark {
		watermark = min(watermark, w)
	}
	final := watermark == schemas.MaxWatermark
	if watermark < p.stored || watermark == schemas.MinWatermark || p.isDrained {
		return nil // still rebuilding
	}
	if !p.isRebuilt(watermark) {
		return nil
	}
	p.floor = nil
	if !final && (time.Since(p.flushed) < p.session.cfg.PublishInterval/2 || (len(p.rows) == 0 && watermark == p.stored)) {
		return nil
	}
	return p.flush(ctx, watermark, final)
}

func (p *publisher) flush(ctx context.Context, watermark int64, final bool) error {
	s := p.session
	progress := serving.Progress{WatermarkMillis: watermark, IsDrained: final, PolicyHash: s.cfg.Policy.Hash(),
		PolicyFromMillis: s.spec.PolicyFromMillis, StoredAtMillis: time.Now().UnixMilli(), NextOffsets: map[int32]int64{}}
	if final {
		progress.WatermarkMillis = p.lastWatermark()
	}
	for _, part := range s.partitions {
		if final {
			progress.NextOffsets[part.id] = part.next.Load()
		} else {
			progress.NextOffsets[part.id] = part.complete(watermark)
		}
	}
	rows := make([]schemas.MinuteRow, 0, len(p.rows))
	for _, row := range p.rows {
		rows = append(rows, row) // the store sorts
	}
	if s.minutes != nil {
		if err := s.minutes.Upsert(ctx, rows, progress); err != nil {
			return err
		}
	}
	clear(p.rows)
	s.rows.Add(int64(len(rows)))
	s.watermark.Store(progress.WatermarkMillis)
	p.flushed, p.stored, p.isDrained = time.Now(), progress.WatermarkMillis, final
	return nil
}

// lastWatermark is the watermark that the log itself came to before the end was declared.
func (p *publisher) lastWatermark() int64 {
	last := int64(math.MaxInt64)
	for _, part := range p.session.partitions {
		if h := part.highest.Load(); h != schemas.MinWatermark {
			last = min(last, h-p.session.skew(h))
		}
	}
	if last == math.MaxInt64 {
		last = 0
	}
	return max(last, p.session.start.WatermarkMillis)
}
