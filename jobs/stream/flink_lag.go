package stream

import (
	"context"
	"fmt"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// UnknownLag stands for the number of records that are not judged yet, where nobody could be asked.
const UnknownLag = -1

// Lag asks the log for its ends, and returns how many records lie beyond what the progress covers: not read, or not
// judged, or not published yet.
func Lag(ctx context.Context, log string, progress serving.Progress) (int64, error) {
	brokers, err := kafkaio.ParseURL(log)
	if err != nil {
		return UnknownLag, err
	}
	client, err := kafkaio.Connect(ctx, brokers, kafkaio.Options{})
	if err != nil {
		return UnknownLag, err
	}
	defer client.Close()
	return lagOf(ctx, client, progress)
}

func lagOf(ctx context.Context, client *kafkaio.Client, progress serving.Progress) (int64, error) {
	ids, err := client.Partitions(ctx, schemas.TopicClicks)
	if err != nil {
		return UnknownLag, fmt.Errorf("lag: %w", err)
	}
	lag := int64(0)
	for _, id := range ids {
		start, end, err := client.Offsets(ctx, schemas.TopicClicks, id)
		if err != nil {
			return UnknownLag, fmt.Errorf("lag: %w", err)
		}
		lag += max(0, end-max(start, progress.NextOffsets[id]))
	}
	return lag, nil
}
