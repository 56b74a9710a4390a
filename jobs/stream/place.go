package stream

import (
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	"github.com/clickledger/clickledger/transforms/decode"
)

// place says where the source goes on in a partition, and what it has said of it. On a runner with
// checkpoints it is state.
type place struct {
	// Start is the offset at which the job began, Next the one at which the next poll does.
	Start int64 `json:"start"`
	Next  int64 `json:"next"`
	// LogMillis is the highest record timestamp so far.
	LogMillis int64 `json:"log_millis"`
	// AnnouncedMillis is the watermark, and FrontierMillis the log time, that the last batch had.
	AnnouncedMillis int64 `json:"announced_millis"`
	FrontierMillis  int64 `json:"frontier_millis"`
	// Shards is the number that every operator has: state is of so many.
	Shards int `json:"shards,omitempty"`
	// IsEnded says that the batch that ends the partition was sent.
	IsEnded bool `json:"is_ended,omitempty"`
}

func newPlace(start int64) place {
	return place{Start: start, Next: start, LogMillis: schemas.MinWatermark, AnnouncedMillis: schemas.MinWatermark,
		FrontierMillis: schemas.MinWatermark}
}

// polled is what a poll brought.
type polled struct {
	records  []schemas.Record
	next     int64     // offset to go on at
	end      int64     // of the log
	now      time.Time // of the poll
	lastSeen time.Time // when the newest record was read
	resumed  int64     // watermark that was published before the job began, and that has gone on with the clock since
}

// resumedAt is how far a partition of which all was read is at a time: as far as what was published
// before the job began, and on with the clock since, as if the job had never ended, but never nearer to the
// clock than the allowed skew.
func resumedAt(start *serving.Progress, now time.Time, skew func(logMillis int64) int64) int64 {
	if start.PolicyHash == "" {
		return schemas.MinWatermark
	}
	watermark := start.WatermarkMillis
	if start.StoredAtMillis == 0 {
		return watermark
	}
	clock := now.UnixMilli()
	return max(watermark, min(watermark+clock-start.StoredAtMillis, clock-skew(clock)))
}

// advance makes the batch of what a poll returned and moves the watermark: to the highest record
// timestamp less the allowed skew, and on with the clock while the partition is idle. A partition
// that never had a record bounds nothing.
func (p place) advance(id, of int32, got polled, skew func(logMillis int64) int64) (place, decode.Batch) {
	b := decode.Batch{Records: got.records, LogBefore: p.LogMillis, FrontierBefore: p.FrontierMillis, WatermarkBefore: p.AnnouncedMillis}
	b.Channel, b.Channels, b.Start, b.Prev, b.TickMillis = id, of, p.Start, p.Next, got.now.UnixMilli()
	b.Next = got.next
	switch {
	case len(got.records) > 0:
		for i := range got.records {
			p.LogMillis = max(p.LogMillis, got.records[i].TimestampMicros/1000)
		}
		p.FrontierMillis = raise(p.FrontierMillis, p.LogMillis)
		p.AnnouncedMillis = raise(p.AnnouncedMillis, p.LogMillis-skew(p.LogMillis))
	case b.Next >= got.end && p.LogMillis == schemas.MinWatermark:
		p.FrontierMillis, p.AnnouncedMillis = schemas.NoWatermark, schemas.NoWatermark
	case b.Next >= got.end:
		idle := max(got.resumed, p.LogMillis+got.now.Sub(got.lastSeen).Milliseconds()-skew(p.LogMillis))
		p.FrontierMillis = raise(p.FrontierMillis, idle)
		p.AnnouncedMillis = raise(p.AnnouncedMillis, idle)
	}
	b.LogMillis, b.WatermarkMillis = p.FrontierMillis, p.AnnouncedMillis
	p.Next = b.Next
	return p, b
}

// last makes the batch that ends the partition: everything before it may be judged.
func (p place) last(id, of int32, now time.Time) (place, decode.Batch) {
	b := decode.Batch{LogBefore: p.LogMillis, WatermarkBefore: p.AnnouncedMillis}
	b.Channel, b.Channels, b.Start, b.Prev, b.Next = id, of, p.Start, p.Next, p.Next
	b.TickMillis = now.UnixMilli()
	b.LogMillis, b.WatermarkMillis = schemas.MaxWatermark, schemas.MaxWatermark
	p.IsEnded = true
	return p, b
}

func raise(old, now int64) int64 {
	if old == schemas.NoWatermark {
		return now
	}
	return max(old, now)
}
