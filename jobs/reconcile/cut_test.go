package reconcile

import (
	"fmt"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// TestCut: a day that lasts is never settled to its end, else what comes after would not be shown any more.
func TestCut(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC)
	at := func(clock string) time.Time {
		got, err := time.Parse(time.DateTime, day.Format(time.DateOnly)+" "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	end := day.AddDate(0, 0, 1)
	drained := serving.Progress{PolicyHash: "p", IsDrained: true, WatermarkMillis: at("12:03:10").UnixMilli(), NextOffsets: map[int32]int64{0: 10, 1: 10}}
	live, behind := drained, drained
	live.IsDrained = false
	behind.NextOffsets = map[int32]int64{0: 11, 1: 10}
	// Partition 0 was last written to at 12:04:30, partition 1 at 12:01:00, offsets 0 to 9.
	for _, tc := range []struct {
		name     string
		progress serving.Progress
		files    int
		now      time.Time
		want     time.Time
	}{
		{"drained, the day is over", drained, 2, end, end},
		{"drained, the day lasts", drained, 2, at("12:06:00"), at("12:05:00")},
		{"drained, nothing is archived", serving.Progress{PolicyHash: "p", IsDrained: true}, 0, at("12:06:00"), day},
		{"drained, the archive is behind", behind, 2, at("12:06:00"), at("12:04:00")},
		{"live", live, 2, at("12:06:00"), at("12:03:00")},
		{"live, the day is over", live, 2, end, at("12:03:00")},
		{"no stream, the day lasts", serving.Progress{}, 2, at("12:06:00"), at("12:00:00")},
		{"no stream, the day is over", serving.Progress{}, 2, end, end},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := &run{cfg: Config{Policy: policy.Default()}, deps: Deps{Now: func() time.Time { return tc.now }}, batch: &batch.Loaded{},
				progress: tc.progress, dayStart: day.UnixMilli(), dayEnd: end.UnixMilli()}
			for p, last := range []string{"12:04:30", "12:01:00"}[:tc.files] {
				key := fmt.Sprintf("clicks/dt=2026-11-10/hr=12/p=%03d/%020d-%020d.parquet", p, 0, 9)
				r.batch.Inputs = append(r.batch.Inputs, batch.ManifestInput{Key: key})
				r.clicks = append(r.clicks, batch.File{Key: key, Rows: 10, Received: &parquetio.Bounds{Min: day.UnixMicro(), Max: at(last).UnixMicro()}})
			}
			if got := time.UnixMilli(r.cutMillis()).UTC(); !got.Equal(tc.want) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
