package stream

import (
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// TestResumedAt: an idle partition goes on as if the stream had not been down.
func TestResumedAt(t *testing.T) {
	t.Parallel()
	const clock = 1_800_000_000_000
	for name, tc := range map[string]struct {
		start serving.Progress
		want  int64
	}{
		"nothing was published":          {serving.Progress{}, schemas.MinWatermark},
		"by a program that kept no time": {serving.Progress{PolicyHash: "p", WatermarkMillis: clock - 9_000}, clock - 9_000},
		"a live log":                     {serving.Progress{PolicyHash: "p", WatermarkMillis: clock - 3_604_000, StoredAtMillis: clock - 3_600_000}, clock - 4_000},
		"an old day keeps its distance":  {serving.Progress{PolicyHash: "p", WatermarkMillis: clock - 90_000_000, StoredAtMillis: clock - 60_000}, clock - 89_940_000},
		"not nearer than the skew":       {serving.Progress{PolicyHash: "p", WatermarkMillis: clock - 60_000, StoredAtMillis: clock - 60_000}, clock - 2_000},
		"a log ahead of the clock":       {serving.Progress{PolicyHash: "p", WatermarkMillis: clock + 5_000, StoredAtMillis: clock - 60_000}, clock + 5_000},
		"a clock that went back":         {serving.Progress{PolicyHash: "p", WatermarkMillis: clock - 9_000, StoredAtMillis: clock + 60_000}, clock - 9_000},
	} {
		got := resumedAt(&tc.start, time.UnixMilli(clock), func(int64) int64 { return 2_000 })
		if got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}
