package stream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	"github.com/clickledger/clickledger/transforms/decode"
)

// partition is the source's side of one Kafka partition on prism: where it reads, and its watermark.
type partition struct {
	id, of int32
	start  int64
	reader *kafkaio.Reader
	// endAtStart is where the log ended when the job began, and resumed what was published before.
	endAtStart int64
	resumed    serving.Progress

	place    place
	lastSeen time.Time // when the newest record was read

	highest atomic.Int64 // highest record timestamp so far, for others to read
	next    atomic.Int64
	end     atomic.Int64
	ended   atomic.Bool

	mu     sync.Mutex
	points []point
}

// point says that clicks from the offset on are measured against the watermark.
type point struct {
	Offset    int64 `json:"offset"`
	Watermark int64 `json:"watermark"`
}

func newPartition(id, of int32, start int64, reader *kafkaio.Reader) *partition {
	p := &partition{id: id, of: of, start: start, reader: reader, place: newPlace(start)}
	p.highest.Store(schemas.MinWatermark)
	p.next.Store(start)
	return p
}

// batch makes the batch of what a poll returned; see place.advance.
func (p *partition) batch(recs []schemas.Record, skew func(logMillis int64) int64, now time.Time) decode.Batch {
	if len(recs) > 0 {
		p.note(recs, skew)
		p.lastSeen = now
	}
	var b decode.Batch
	p.place, b = p.place.advance(p.id, p.of, polled{records: recs, next: p.reader.Offset(), end: p.end.Load(), now: now,
		lastSeen: p.lastSeen, resumed: resumedAt(&p.resumed, now, skew)}, skew)
	p.next.Store(b.Next)
	p.highest.Store(p.place.LogMillis)
	return b
}

// last makes the batch that ends the partition: everything before it may be judged.
func (p *partition) last(now time.Time) (b decode.Batch) {
	p.place, b = p.place.last(p.id, p.of, now)
	return b
}

// note remembers from which offsets on the watermark that clicks are measured against is higher;
// decode.Core measures in the same way.
func (p *partition) note(recs []schemas.Record, skew func(int64) int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, log := p.place.AnnouncedMillis, p.place.LogMillis
	if before == schemas.NoWatermark {
		before = schemas.MinWatermark
	}
	for i := range recs {
		if log != schemas.MinWatermark {
			before = max(before, log-skew(log))
		}
		if n := len(p.points); n == 0 || p.points[n-1].Watermark < before {
			p.points = append(p.points, point{Offset: recs[i].Offset, Watermark: before})
		}
		log = max(log, recs[i].TimestampMicros/1000)
	}
}

// complete returns the offset below which every click has been judged once the published
// watermark is W: a click below it that came late came behind a watermark before W.
func (p *partition) complete(watermark int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := 0
	for i, pt := range p.points {
		if pt.Watermark >= watermark {
			p.points = p.points[max(i-1, 0):]
			return pt.Offset
		}
		keep = i
	}
	p.points = p.points[keep:]
	return p.next.Load()
}
