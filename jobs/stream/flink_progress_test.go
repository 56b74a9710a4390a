package stream

import (
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// TestProgressOfMarks has the progress wait for every shard's rows and decisions, and never go back.
func TestProgressOfMarks(t *testing.T) {
	p := policy.Default()
	w := &worker{policy: p, spec: Spec{Shards: 2, Starts: []int64{5}, Start: serving.Progress{PolicyHash: p.Hash(), WatermarkMillis: 1000}}}
	s := newProgressState(&w.spec)
	s.grow(w.spec.Starts)
	take := func(m mark) {
		t.Helper()
		if err := s.take(&m); err != nil {
			t.Fatal(err)
		}
	}
	want := func(label string, watermark int64, next int64, isDrained bool) {
		t.Helper()
		got, isDue := s.due(w, 1)
		if isDue != (watermark != 0) || isDue && (got.WatermarkMillis != watermark || got.NextOffsets[0] != next || got.IsDrained != isDrained) {
			t.Errorf("%s: got %+v, %t; want %d, %d, %t", label, got, isDue, watermark, next, isDrained)
		}
		if isDue {
			s.WatermarkMillis, s.IsDrained = got.WatermarkMillis, got.IsDrained
		}
	}
	want("nothing yet", 0, 0, false)
	take(mark{Kind: markSource, Point: &point{Offset: 5, Watermark: schemas.MinWatermark}, Next: 10, LogMillis: 4000})
	take(mark{Kind: markSource, Point: &point{Offset: 10, Watermark: 2000}, Next: 20, LogMillis: 9000})
	for shard := range int32(2) {
		take(mark{Kind: markRows, ID: shard, WatermarkMillis: 1500})
	}
	want("decisions are not acknowledged", 0, 0, false)
	take(mark{Kind: markDecisions, ID: 0, WatermarkMillis: 900})
	take(mark{Kind: markDecisions, ID: 1, WatermarkMillis: 1500})
	want("behind what was stored at the start", 0, 0, false)
	take(mark{Kind: markDecisions, ID: 0, WatermarkMillis: 1500})
	want("all are at 1500", 1500, 5, false)
	for shard := range int32(2) {
		take(mark{Kind: markRows, ID: shard, WatermarkMillis: schemas.MaxWatermark})
		take(mark{Kind: markDecisions, ID: shard, WatermarkMillis: schemas.MaxWatermark})
	}
	want("the source's last mark is missing", 0, 0, false)
	take(mark{Kind: markSource, Next: 20, LogMillis: 9000, IsEnded: true})
	want("the end", 7000, 20, true)
	want("once", 0, 0, false)
}
