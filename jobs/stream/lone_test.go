package stream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// TestLoneClick sends single clicks to a log that has nothing else: each is visible soon, since idle
// partitions, those that never had a record included, hold nobody back.
func TestLoneClick(t *testing.T) {
	url := startBroker(t)
	store := openServing(t)
	p := policy.Default()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := stream.Run(ctx, stream.Config{Log: url, Policy: p, RunID: t.Name()}, stream.Deps{Serving: store})
		done <- err
	}()
	time.Sleep(2 * time.Second) // all partitions are idle
	for i := range 3 {
		now := time.Now()
		id := fmt.Sprint("clk_", i)
		c := schemas.RawClick{ClickID: []byte(id), AdID: []byte("ad"), AdvertiserID: []byte("adv"), CampaignID: []byte("cmp"),
			CostPerClick: 0.45, Timestamp: now.UnixMilli(), ReceivedAt: now.UnixMicro()}
		produce(t, url, []schemas.Record{{Position: schemas.Position{Partition: int32(i % partitions)}, TimestampMicros: now.UnixMicro(),
			Key: []byte(id), Value: c.AppendTo(nil)}})
		for clicks(t, store) < int64(i+1) {
			if time.Since(now) > 10*time.Second {
				t.Fatalf("click %d is not visible after %s", i, time.Since(now))
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Logf("click %d is visible after %s", i, time.Since(now))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// clicks is how many the store has.
func clicks(t *testing.T, store serving.Store) (n int64) {
	t.Helper()
	for row, err := range store.Rows(t.Context(), serving.Provisional, serving.Range{FromMillis: 0, ToMillis: 1 << 45}) {
		if err != nil {
			t.Fatal(err)
		}
		n += row.RawClicks
	}
	return n
}
