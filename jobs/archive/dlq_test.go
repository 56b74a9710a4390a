package archive

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
)

// TestDLQIsArchived: every record of clicks.dlq is kept whole and once, with its position in clicks,
// through faults; so is one that another program has written without any header.
func TestDLQIsArchived(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	var recs []kafkaio.OutRecord
	header := func(k, v string) kafkaio.Header { return kafkaio.Header{Key: k, Value: []byte(v)} }
	for i := range 60 {
		rec := kafkaio.OutRecord{Topic: schemas.TopicDLQ, Partition: int32(i % 2), Key: fmt.Append(nil, "k", i),
			Value: bytes.Repeat([]byte{byte(i), 0xff}, i*3), TimestampMicros: startMicros + int64(i)*60_000_000}
		if i != 33 {
			rec.Headers = []kafkaio.Header{header("source_topic", "clicks"), header("source_partition", "3"), header("source_offset", fmt.Sprint(1000+i)),
				header("received_at_micros", fmt.Sprint(startMicros+7)), header("verdict", "invalid"), header("reason", "listed_ip")}
		}
		recs = append(recs, rec)
	}
	r.produce(recs)
	r.cfg.MaxRecords, r.cfg.Topics = 7, []string{schemas.TopicDLQ}
	var total int64
	for runs := 0; ; runs++ {
		deps := r.deps()
		deps.Store = &failing{Store: r.store, left: 3 + runs%5, after: runs%2 == 0}
		p, err := Run(r.ctx, r.cfg, deps)
		total += p.DLQ
		if err == nil {
			break
		}
		if !errors.Is(err, errInjected) || runs > 100 {
			t.Fatal(err)
		}
	}
	got := map[string]schemas.ArchiveDLQ{}
	for _, f := range r.list(FolderDLQ) {
		each(r, f.Key(FolderDLQ), func(d schemas.ArchiveDLQ) {
			d.Value = bytes.Clone(d.Value)
			got[string(d.Key)] = d
		})
	}
	for i, rec := range recs {
		d, ok := got[string(rec.Key)]
		want := schemas.ArchiveDLQ{Partition: 3, Offset: int64(1000 + i), ReceivedAt: startMicros + 7, Verdict: "invalid", Reason: "listed_ip"}
		if i == 33 {
			want = schemas.ArchiveDLQ{Partition: -1, Offset: -1, ReceivedAt: rec.TimestampMicros}
		}
		if !ok || !bytes.Equal(d.Value, rec.Value) || d.Partition != want.Partition || d.Offset != want.Offset ||
			d.ReceivedAt != want.ReceivedAt || d.Verdict != want.Verdict || d.Reason != want.Reason ||
			d.LogPartition != rec.Partition || d.LogOffset != int64(i/2) {
			t.Errorf("record %d: got %+v", i, d)
		}
	}
	if len(got) != len(recs) || total > int64(len(recs)) {
		t.Errorf("%d rows, %d counted, want %d", len(got), total, len(recs))
	}
	for _, p := range r.verify().Partitions {
		if p.Topic == schemas.TopicDLQ && (p.Rows != 30 || p.Records != 30 || p.LogGaps != 0) {
			t.Errorf("verified %+v", p)
		}
	}
}
