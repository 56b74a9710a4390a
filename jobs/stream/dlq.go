package stream

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
)

const (
	refetchBytes   = 256 << 10
	refetchRecords = 1_000
	refetchWait    = 100 * time.Millisecond
	// refetchGap is how many records are read and dropped rather than asked for anew.
	refetchGap = 1_000
)

// fetchInvalid returns the whole records of invalid clicks, where the blocks went through encoding and are small because they do not
// carry them. What this process does not hold any more is read from the log again. A record that retention has deleted since is left out.
func (w *worker) fetchInvalid(ctx context.Context, clicks []invalidClick) ([]kafkaio.OutRecord, error) {
	slices.SortFunc(clicks, func(a, b invalidClick) int {
		if a.Position == b.Position {
			return 0
		}
		if a.Position.Less(b.Position) {
			return -1
		}
		return 1
	})
	var out []kafkaio.OutRecord
	clicks = slices.DeleteFunc(clicks, func(c invalidClick) bool {
		rec, ok := w.recent.find(c.Position)
		if ok {
			out = append(out, c.dlqRecord(rec))
		}
		return ok
	})
	for len(clicks) > 0 {
		n := 1
		for n < len(clicks) && clicks[n].Partition == clicks[0].Partition {
			n++
		}
		var err error
		if out, err = w.fetchPartition(ctx, clicks[:n], out); err != nil {
			return nil, fmt.Errorf("read invalid clicks again: %w", err)
		}
		clicks = clicks[n:]
	}
	return out, nil
}

func (w *worker) fetchPartition(ctx context.Context, clicks []invalidClick, out []kafkaio.OutRecord) ([]kafkaio.OutRecord, error) {
	reader := w.client.OpenPartition(schemas.TopicClicks, clicks[0].Partition, clicks[0].Offset)
	limits := kafkaio.FetchLimits{MaxWait: refetchWait, MaxBytes: refetchBytes, MaxRecords: refetchRecords}
	for len(clicks) > 0 {
		if clicks[0].Offset > reader.Offset()+refetchGap {
			reader.Rewind(clicks[0].Offset)
		}
		recs, high, err := reader.Fetch(ctx, limits)
		if err != nil {
			return nil, err
		}
		for i := range recs {
			for len(clicks) > 0 && clicks[0].Offset < recs[i].Offset {
				clicks = clicks[1:]
			}
			if len(clicks) > 0 && clicks[0].Offset == recs[i].Offset {
				out = append(out, clicks[0].dlqRecord(&recs[i]))
				clicks = clicks[1:]
			}
		}
		if len(recs) == 0 && reader.Offset() >= high {
			return out, nil
		}
	}
	return out, nil
}
