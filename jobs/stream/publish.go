package stream

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/schemas"
)

// epochShift leaves the lower bits of a version to the number of records in the row.
const epochShift = 40

// publisher collects totals from all shards and stores them, newest version of each row, with the
// watermark that all shards have reached.
type publisher struct {
	session *session

	mu        sync.Mutex
	rows      map[schemas.MinuteKey]schemas.MinuteRow
	watermark []int64 // by shard
	flushed   time.Time
	stored    int64 // watermark of the last flush
	isDrained bool
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

// take adds one block of totals. Rows of minutes that no click after the stored watermark can
// reach are only the rebuilding of what is published already.
func (p *publisher) take(b *schemas.RowBlock) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := int64(math.MinInt64)
	if start := p.session.start; start.PolicyHash != "" {
		oldest = start.WatermarkMillis - p.session.latenessMillis() - schemas.MinuteMillis
	}
	for i := range b.Len() {
		if b.MinuteMillis[i] < oldest {
			continue
		}
		row, err := b.Row(i)
		if err != nil {
			return err
		}
		row.Version |= p.session.epoch << epochShift
		p.rows[row.MinuteKey] = row
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
	if !final && (time.Since(p.flushed) < p.session.cfg.PublishInterval/2 || (len(p.rows) == 0 && watermark == p.stored)) {
		return nil
	}
	return p.flush(ctx, watermark, final)
}

func (p *publisher) flush(ctx context.Context, watermark int64, final bool) error {
	s := p.session
	progress := servingduck.Progress{WatermarkMillis: watermark, IsDrained: final, PolicyHash: s.cfg.Policy.Hash(),
		NextOffsets: map[int32]int64{}}
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
	if s.deps.Serving != nil {
		if err := s.deps.Serving.Upsert(ctx, rows, progress); err != nil {
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
