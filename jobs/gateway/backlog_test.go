package gateway

import (
	"encoding/binary"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/wal"
	"github.com/clickledger/clickledger/schemas"
)

const (
	// backlogVariable is the number of clicks of TestBacklog; an hour at the average rate of 11,574/s is 41,666,400.
	backlogVariable = "CLICKLEDGER_TEST_BACKLOG"
	backlogClicks   = 50_000
	backlogWriters  = 256
)

// TestBacklog ships what came while Kafka was away: everything, in the order of the log, once.
func TestBacklog(t *testing.T) {
	t.Parallel()
	clicks := backlogClicks
	if text := os.Getenv(backlogVariable); text != "" {
		var err error
		if clicks, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{DrainTimeout: time.Hour, WAL: wal.Config{Dir: t.TempDir(), SegmentBytes: 16 << 20}}
	if clicks > backlogClicks {
		cfg.WAL = wal.Config{Dir: cfg.WAL.Dir} // as it is by default
	}
	log, _, err := wal.Open(cfg.WAL)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var group sync.WaitGroup
	for w := range backlogWriters {
		group.Go(func() {
			for i := w; i < clicks; i += backlogWriters {
				key := binary.BigEndian.AppendUint32(nil, uint32(i))
				entry := append(appendEntryHead(nil, entryClick, clockTime.UnixMicro(), len(key)), key...)
				if err := log.Append(t.Context(), append(entry, make([]byte, 300)...)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	var order []uint32
	reader := log.NewReader()
	for len(order) < clicks && !t.Failed() {
		records, err := reader.Next(t.Context(), make([]wal.Record, 0, 4096))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			parsed, err := parseEntry(r.Payload)
			if err != nil {
				t.Fatal(err)
			}
			order = append(order, binary.BigEndian.Uint32(parsed.Key))
		}
	}
	size := log.Stats().Bytes
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	written := time.Since(began)

	srv := start(t, embedkafka.Config{Dir: t.TempDir(), Partitions: 1})
	began = time.Now()
	_, stop := running(t, cfg, Deps{Producer: producerOf(t, srv.Addr())})
	if got := stop(); got != (Result{Shipped: int64(clicks)}) {
		t.Errorf("got %+v, want %d shipped", got, clicks)
	}
	t.Logf("%d clicks, %d MiB: appended by %d writers and read in %s, shipped in %s", clicks, size>>20, backlogWriters,
		written.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	n := 0
	eachRecord(t, srv, 1, func(r *schemas.Record) {
		if got := binary.BigEndian.Uint32(r.Key); n >= clicks || got != order[n] {
			t.Fatalf("record %d is click %d, which is not the next one", n, got)
		}
		n++
	})
	if n != clicks {
		t.Fatalf("the log holds %d records, want %d", n, clicks)
	}
}
