package batch

import (
	"math"
	"slices"
	"time"

	"github.com/clickledger/clickledger/schemas/policy"
)

// Archived is what the archive holds of clicks and dead letters, by what the footers say.
type Archived struct {
	Clicks, DeadLetters []File
}

// Fresh lists the files that a result did not see and that may change its day, by their bounds: they
// may hold clicks of the day or of the history of its identities, dead letters received on the day, or
// copies that were recorded before clicks that the result judged (a WAL that is shipped late). Without
// known inputs these are the files of the day. It errs to the side of too many files.
func (a Archived) Fresh(date time.Time, p *policy.Policy, known []ManifestInput) []File {
	t := timesOf(date, p)
	seen := map[string]bool{}
	for _, in := range known {
		seen[in.Key] = true
	}
	// A copy changes a verdict only if it was received before a click that was judged.
	copies := span{t.received.from - t.lookback, t.day.to}
	for _, f := range a.Clicks {
		if !seen[f.Key] || f.Rows == 0 || !overlaps(f.Event, t.judged) {
			continue
		}
		last := int64(math.MaxInt64 / 1000)
		if f.Received != nil {
			last = f.Received.Max/1000 + 1
		}
		copies.to = max(copies.to, last)
	}
	fresh := slices.DeleteFunc(slices.Clone(a.Clicks), func(f File) bool {
		return seen[f.Key] || f.Rows == 0 || !overlaps(f.Event, t.judged) && (len(known) == 0 || !overlaps(f.Received, copies))
	})
	for _, f := range a.DeadLetters {
		if !seen[f.Key] && f.Rows > 0 && overlaps(f.Received, t.day) {
			fresh = append(fresh, f)
		}
	}
	return fresh
}
