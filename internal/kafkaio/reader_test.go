package kafkaio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestFetchReadsWhatWasProduced(t *testing.T) {
	t.Parallel()
	_, brokers := startBroker(t, 3)
	c := connect(t, brokers)
	in := numbered(1, 5000, 300)
	if err := openProducer(t, brokers).ProduceAll(testContext(t), in); err != nil {
		t.Fatal(err)
	}
	for _, limits := range []FetchLimits{
		{}, {MaxRecords: 7}, {MaxBytes: 1}, {MaxBytes: 10_000, MaxRecords: 100},
	} {
		got := readAll(t, c.OpenPartition(schemas.TopicClicks, 1, 0), limits)
		if len(got) != len(in) {
			t.Fatalf("limits %+v: got %d records, want %d", limits, len(got), len(in))
		}
		for i, rec := range got {
			want := in[i]
			if rec.Partition != 1 || rec.Offset != int64(i) || rec.TimestampMicros != want.TimestampMicros ||
				!bytes.Equal(rec.Key, want.Key) || !bytes.Equal(rec.Value, want.Value) {
				t.Fatalf("limits %+v: record %d: got %v %q", limits, i, rec.Position, rec.Value)
			}
		}
	}
	got := readAll(t, c.OpenPartition(schemas.TopicClicks, 1, 4321), FetchLimits{})
	if len(got) != 679 || got[0].Offset != 4321 {
		t.Fatalf("from the middle of a batch: got %d records from %d", len(got), got[0].Offset)
	}
	if got := readAll(t, c.OpenPartition(schemas.TopicClicks, 0, 0), FetchLimits{}); len(got) != 0 {
		t.Fatalf("empty partition: got %d records", len(got))
	}
}

func TestFetchKeepsNilAndEmptyApart(t *testing.T) {
	t.Parallel()
	_, brokers := startBroker(t, 1)
	if err := openProducer(t, brokers).ProduceAll(testContext(t), []OutRecord{
		{Topic: schemas.TopicClicks, Key: nil, Value: nil},
		{Topic: schemas.TopicClicks, Key: []byte{}, Value: []byte{}, Headers: []Header{{"a", []byte("b")}}},
		{Topic: schemas.TopicClicks, Key: []byte("k"), Value: []byte("v")},
	}); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, connect(t, brokers).OpenPartition(schemas.TopicClicks, 0, 0), FetchLimits{})
	if len(got) != 3 || got[0].Key != nil || got[0].Value != nil || got[1].Key == nil || got[1].Value == nil ||
		string(got[2].Value) != "v" {
		t.Fatalf("got %+v", got)
	}
}

func TestFetchDecompresses(t *testing.T) {
	t.Parallel()
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, brokers := startBroker(t, 1)
			cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerBatchCompression(codec))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			var recs []*kgo.Record
			for i := range 2000 {
				recs = append(recs, &kgo.Record{Topic: schemas.TopicClicks, Value: fmt.Appendf(nil, "%0300d", i)})
			}
			if err := cl.ProduceSync(testContext(t), recs...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			got := readAll(t, connect(t, brokers).OpenPartition(schemas.TopicClicks, 0, 0), FetchLimits{})
			if len(got) != len(recs) {
				t.Fatalf("got %d records, want %d", len(got), len(recs))
			}
			for i := range got {
				if !bytes.Equal(got[i].Value, recs[i].Value) {
					t.Fatalf("record %d: got %q", i, got[i].Value)
				}
			}
		})
	}
}

func TestFetchWaitsForRecords(t *testing.T) {
	t.Parallel()
	_, brokers := startBroker(t, 1)
	r := connect(t, brokers).OpenPartition(schemas.TopicClicks, 0, 0)
	start := time.Now()
	recs, high, err := r.Fetch(testContext(t), FetchLimits{MaxWait: 50 * time.Millisecond})
	if err != nil || len(recs) != 0 || high != 0 {
		t.Fatalf("got %d records, high %d, %v", len(recs), high, err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Fatalf("an empty fetch took %s", d)
	}
	p := openProducer(t, brokers)
	errs := make(chan error, 1)
	go func() { errs <- p.ProduceAll(context.Background(), numbered(0, 1, 100)) }()
	recs, high, err = r.Fetch(testContext(t), FetchLimits{MaxWait: 10 * time.Second})
	if err != nil || len(recs) != 1 || high != 1 || r.Offset() != 1 {
		t.Fatalf("got %d records, high %d, %v", len(recs), high, err)
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, _, err := r.Fetch(ctx, FetchLimits{MaxWait: time.Minute}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
}

func TestFetchOutOfRange(t *testing.T) {
	t.Parallel()
	cluster, brokers := startBroker(t, 1)
	c := connect(t, brokers)
	if err := openProducer(t, brokers).ProduceAll(testContext(t), numbered(0, 10, 100)); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.OpenPartition(schemas.TopicClicks, 0, 11).Fetch(testContext(t), FetchLimits{})
	if !errors.Is(err, ErrOffsetOutOfRange) || !strings.Contains(err.Error(), "kafka://"+brokers[0]) {
		t.Fatalf("beyond the end: got %v", err)
	}
	if err := cluster.DeleteRecords(schemas.TopicClicks, 0, 4); err != nil {
		t.Fatal(err)
	}
	if _, _, err = c.OpenPartition(schemas.TopicClicks, 0, 3).Fetch(testContext(t), FetchLimits{}); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("before the beginning: got %v", err)
	}
	if first, end, err := c.Offsets(testContext(t), schemas.TopicClicks, 0); err != nil || first != 4 || end != 10 {
		t.Fatalf("got offsets %d-%d, %v", first, end, err)
	}
	if got := readAll(t, c.OpenPartition(schemas.TopicClicks, 0, 4), FetchLimits{}); len(got) != 6 {
		t.Fatalf("got %d records, want 6", len(got))
	}
}

func TestFetchSkipsCompactedRecords(t *testing.T) {
	t.Parallel()
	cluster, brokers := startBroker(t, 1)
	if err := cluster.CreateTopic("compacted", 1, map[string]string{
		"cleanup.policy": "compact", "segment.bytes": "14",
	}); err != nil {
		t.Fatal(err)
	}
	p, keys := openProducer(t, brokers), []string{"kept", "a", "b", "c", "d"}
	for i := range 40 {
		if err := p.ProduceAll(testContext(t), []OutRecord{
			{Topic: "compacted", Key: []byte(keys[min(i, 1+i%4)]), Value: fmt.Appendf(nil, "%d", i)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	cluster.Compact()
	r := connect(t, brokers).OpenPartition("compacted", 0, 0)
	got := readAll(t, r, FetchLimits{})
	if len(got) == 0 || len(got) >= 40 || r.Offset() != 40 {
		t.Fatalf("got %d records up to offset %d, want a compacted log up to 40", len(got), r.Offset())
	}
	if last := got[len(got)-1]; last.Offset != 39 || string(last.Value) != "39" {
		t.Fatalf("got %v %q last", last.Position, last.Value)
	}
}

func TestFetchSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "log")
	cluster, brokers := startBroker(t, 1, kfake.DataDir(dir))
	p := openProducer(t, brokers)
	if err := p.ProduceAll(testContext(t), numbered(0, 100, 100)); err != nil {
		t.Fatal(err)
	}
	r := connect(t, brokers).OpenPartition(schemas.TopicClicks, 0, 0)
	if got := readAll(t, r, FetchLimits{}); len(got) != 100 {
		t.Fatalf("got %d records", len(got))
	}
	_, port, _ := net.SplitHostPort(brokers[0])
	n, _ := strconv.Atoi(port)
	cluster.Close()
	type result struct {
		recs int
		err  error
	}
	results := make(chan result, 1)
	go func() { // reads while the broker is away
		var res result
		for res.recs == 0 && res.err == nil {
			var recs []schemas.Record
			recs, _, res.err = r.Fetch(context.Background(), FetchLimits{MaxWait: 100 * time.Millisecond})
			res.recs = len(recs)
		}
		results <- res
	}()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(n), kfake.DataDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	if err := p.ProduceAll(testContext(t), numbered(0, 1, 100)); err != nil {
		t.Fatal(err)
	}
	if res := <-results; res.err != nil || res.recs != 1 || r.Offset() != 101 {
		t.Fatalf("got %d records, offset %d, %v", res.recs, r.Offset(), res.err)
	}
}

func TestUnreachableIsOneLine(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, addr := range []string{addr, silent.Addr().String()} {
		start := time.Now()
		_, rerr := Connect(testContext(t), []string{addr}, Options{ConnectTimeout: 500 * time.Millisecond})
		_, perr := OpenProducer(testContext(t), []string{addr}, ProducerOptions{ConnectTimeout: 500 * time.Millisecond})
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("it took %s", d)
		}
		for _, err := range []error{rerr, perr} {
			if err == nil || !strings.Contains(err.Error(), "kafka://"+addr) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line that names the url", err)
			}
			t.Log(err)
		}
	}
}

func TestOffsetForTimeAndPartitions(t *testing.T) {
	t.Parallel()
	_, brokers := startBroker(t, 3)
	c := connect(t, brokers)
	in := numbered(2, 100, 100)
	if err := openProducer(t, brokers).ProduceAll(testContext(t), in); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		micros, want int64
	}{
		{0, 0}, {in[0].TimestampMicros, 0}, {in[37].TimestampMicros, 37}, {in[37].TimestampMicros + 1, 38},
		{in[99].TimestampMicros, 99}, {in[99].TimestampMicros + 1, 100},
	} {
		got, err := c.OffsetForTime(testContext(t), schemas.TopicClicks, 2, time.UnixMicro(tc.micros))
		if err != nil || got != tc.want {
			t.Errorf("time %d: got %d, %v, want %d", tc.micros, got, err, tc.want)
		}
	}
	ids, err := c.Partitions(testContext(t), schemas.TopicClicks)
	if err != nil || fmt.Sprint(ids) != "[0 1 2]" {
		t.Fatalf("got %v, %v", ids, err)
	}
	short, err := Connect(testContext(t), brokers, Options{ConnectTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer short.Close()
	if _, err := short.Partitions(testContext(t), "absent"); !errors.Is(err, ErrUnknownTopic) {
		t.Fatalf("got %v, want ErrUnknownTopic", err)
	}
}

func TestProduceByKeyAndOversize(t *testing.T) {
	t.Parallel()
	_, brokers := startBroker(t, 4)
	c, p := connect(t, brokers), openProducer(t, brokers)
	in := numbered(-1, 1000, 100)
	if err := p.ProduceAll(testContext(t), append(in, in...)); err != nil { // copies meet in one partition
		t.Fatal(err)
	}
	where, total := map[string]int32{}, 0
	for part := range int32(4) {
		recs := readAll(t, c.OpenPartition(schemas.TopicClicks, part, 0), FetchLimits{})
		total += len(recs)
		for _, r := range recs {
			if q, ok := where[string(r.Key)]; ok && q != part {
				t.Fatalf("key %s is in partitions %d and %d", r.Key, q, part)
			}
			where[string(r.Key)] = part
		}
	}
	if total != 2000 || len(where) != 1000 {
		t.Fatalf("got %d records of %d keys", total, len(where))
	}
	big := bytes.Repeat([]byte("x"), 7<<20)
	for _, topic := range []string{schemas.TopicClicks, schemas.TopicDLQ} {
		if err := p.ProduceAll(testContext(t), []OutRecord{{Topic: topic, Partition: 3, Key: []byte("k"), Value: big}}); err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
	}
	_, end, err := c.Offsets(testContext(t), schemas.TopicClicks, 3)
	if err != nil {
		t.Fatal(err)
	}
	got := readAll(t, c.OpenPartition(schemas.TopicClicks, 3, end-1), FetchLimits{})
	if len(got) != 1 || !bytes.Equal(got[0].Value, big) {
		t.Fatalf("got %d records", len(got))
	}
	huge := bytes.Repeat([]byte("x"), 9<<20)
	err = p.ProduceAll(testContext(t), []OutRecord{{Topic: schemas.TopicClicks, Value: huge}})
	if err == nil || !strings.Contains(err.Error(), "kafka://") {
		t.Fatalf("got %v, want an error", err)
	}
}

// FuzzDecodeBatches: any bytes end as records or as an error, never as a panic.
func FuzzDecodeBatches(f *testing.F) {
	f.Add([]byte{}, int64(0))
	f.Add(bytes.Repeat([]byte{0}, 100), int64(3))
	f.Fuzz(func(_ *testing.T, b []byte, next int64) {
		if len(b) > 61 { // let the fuzzer past the checksum
			b[16] = 2
			fixChecksum(b)
		}
		recs, _, _ := decodeBatches(nil, b, 0, next)
		for _, r := range recs {
			_ = append(r.Key, r.Value...)
		}
	})
}
