package stream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/decode"
)

// partition is the source's side of one Kafka partition: where it reads, and its watermark.
type partition struct {
	id, of int32
	start  int64
	reader *kafkaio.Reader
	// endAtStart is where the log ended when the job began, and resumed the watermark that was
	// published before: whoever has read all of the log is as far as that again.
	endAtStart int64
	resumed    int64

	log       int64     // highest record timestamp so far, Unix milliseconds
	announced int64     // watermark
	frontier  int64     // log time
	lastSeen  time.Time // when the newest record was read

	highest atomic.Int64 // log, for others to read
	next    atomic.Int64
	end     atomic.Int64
	ended   atomic.Bool

	mu     sync.Mutex
	points []point
}

// point says that clicks from the offset on are measured against the watermark.
type point struct{ offset, watermark int64 }

func newPartition(id, of int32, start int64, reader *kafkaio.Reader) *partition {
	p := &partition{id: id, of: of, start: start, reader: reader, log: schemas.MinWatermark,
		announced: schemas.MinWatermark, frontier: schemas.MinWatermark,
		resumed: schemas.MinWatermark}
	p.highest.Store(schemas.MinWatermark)
	p.next.Store(start)
	return p
}

// batch makes the batch of what a poll returned and moves the watermark: to the highest record
// timestamp less the allowed skew, and on with the clock while the partition is idle. A partition
// that never had a record bounds nothing.
func (p *partition) batch(recs []schemas.Record, skew func(logMillis int64) int64, now time.Time) decode.Batch {
	b := decode.Batch{Records: recs, LogBefore: p.log, FrontierBefore: p.frontier, WatermarkBefore: p.announced}
	b.Channel, b.Channels, b.Start, b.Prev, b.TickMillis = p.id, p.of, p.start, p.next.Load(), now.UnixMilli()
	b.Next = p.reader.Offset()
	switch {
	case len(recs) > 0:
		p.note(recs, skew)
		p.lastSeen = now
		p.frontier = raise(p.frontier, p.log)
		p.announced = raise(p.announced, p.log-skew(p.log))
	case b.Next >= p.end.Load() && p.log == schemas.MinWatermark:
		p.frontier, p.announced = schemas.NoWatermark, schemas.NoWatermark
	case b.Next >= p.end.Load():
		idle := max(p.resumed, p.log+now.Sub(p.lastSeen).Milliseconds()-skew(p.log))
		p.frontier = raise(p.frontier, idle)
		p.announced = raise(p.announced, idle)
	}
	b.LogMillis, b.WatermarkMillis = p.frontier, p.announced
	p.next.Store(b.Next)
	p.highest.Store(p.log)
	return b
}

// last makes the batch that ends the partition: everything before it may be judged.
func (p *partition) last(now time.Time) decode.Batch {
	b := decode.Batch{LogBefore: p.log, WatermarkBefore: p.announced}
	b.Channel, b.Channels, b.Start, b.Prev, b.Next = p.id, p.of, p.start, p.next.Load(), p.next.Load()
	b.TickMillis = now.UnixMilli()
	b.LogMillis, b.WatermarkMillis = schemas.MaxWatermark, schemas.MaxWatermark
	return b
}

func raise(old, now int64) int64 {
	if old == schemas.NoWatermark {
		return now
	}
	return max(old, now)
}

// note raises the log time by the records and remembers from which offsets on the watermark that
// clicks are measured against is higher; decode.Core measures in the same way.
func (p *partition) note(recs []schemas.Record, skew func(int64) int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.announced
	if before == schemas.NoWatermark {
		before = schemas.MinWatermark
	}
	for i := range recs {
		if p.log != schemas.MinWatermark {
			before = max(before, p.log-skew(p.log))
		}
		if n := len(p.points); n == 0 || p.points[n-1].watermark < before {
			p.points = append(p.points, point{offset: recs[i].Offset, watermark: before})
		}
		p.log = max(p.log, recs[i].TimestampMicros/1000)
	}
}

// complete returns the offset below which every click has been judged once the published
// watermark is W: a click below it that came late came behind a watermark before W.
func (p *partition) complete(watermark int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := 0
	for i, pt := range p.points {
		if pt.watermark >= watermark {
			p.points = p.points[max(i-1, 0):]
			return pt.offset
		}
		keep = i
	}
	p.points = p.points[keep:]
	return p.next.Load()
}
