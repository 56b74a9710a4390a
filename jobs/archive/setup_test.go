package archive

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/clickpb"
	"github.com/clickledger/clickledger/schemas/policy"
	"google.golang.org/protobuf/proto"
)

const (
	testTimeout = time.Minute
	// startMicros is five minutes before an hour's change.
	startMicros = int64(1_760_000_100_000_000)/3_600_000_000*3_600_000_000 + 55*60*1_000_000
)

// rig is a broker, an archive and a configuration for both.
type rig struct {
	t        testing.TB
	ctx      context.Context
	url      string
	client   *kafkaio.Client
	producer *kafkaio.Producer
	store    objectstore.Store
	cfg      Config
}

func newRig(t testing.TB, partitions int) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	server, err := embedkafka.Start(ctx, embedkafka.Config{Dir: t.TempDir(), Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, ctx: ctx, url: server.URL(), cfg: Config{
		Log: server.URL(), Archive: "file://" + t.TempDir(), Policy: policy.Default(), RunUntilEnd: true,
	}}
	brokers := []string{server.Addr()}
	if r.client, err = kafkaio.Connect(ctx, brokers, kafkaio.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	if r.producer, err = kafkaio.OpenProducer(ctx, brokers, kafkaio.ProducerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.producer.Close() })
	if r.store, err = objectstore.Open(ctx, r.cfg.Archive); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) deps() Deps {
	return Deps{Store: r.store, Client: r.client, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))}
}

func (r *rig) run() Progress {
	r.t.Helper()
	p, err := Run(r.ctx, r.cfg, r.deps())
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// verify wants a sound archive that holds the whole log.
func (r *rig) verify() *Report {
	r.t.Helper()
	cfg := r.cfg
	cfg.Bytes = true
	report, err := Verify(r.ctx, cfg, r.deps())
	if err != nil {
		r.t.Fatalf("%v\n%+v", err, report)
	}
	for _, p := range report.Partitions {
		if p.Behind != 0 {
			r.t.Fatalf("%s/%d is %d behind", p.Topic, p.Partition, p.Behind)
		}
	}
	return report
}

// click is the value of a valid click.
func click(i int, atMicros int64) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&clickpb.ClickEvent{
		ClickId: fmt.Sprintf("click-%08d", i), AdId: fmt.Sprintf("ad-%d", i%7), AdvertiserId: fmt.Sprintf("adv-%d", i%3),
		CampaignId: "camp", UserId: fmt.Sprintf("user-%d", i%50), CostPerClick: 0.25, IpAddress: "192.0.2.1",
		UserAgent: "test", Timestamp: atMicros / 1000, Referrer: "https://example.com", ReceivedAt: atMicros,
		CountryCode: "DE", DeviceType: "mobile",
	})
	if err != nil {
		panic(err)
	}
	return b
}

// clicks makes n records on each partition, a step apart; every tenth one is broken.
func clicks(partitions, from, n int, start, step int64) []kafkaio.OutRecord {
	var recs []kafkaio.OutRecord
	for i := from; i < from+n; i++ {
		for p := range partitions {
			at := start + int64(i-from)*step
			value := click(i*partitions+p, at)
			if i%10 == 9 {
				value = binary.BigEndian.AppendUint64([]byte{0xff, 0xff}, uint64(i))
			}
			recs = append(recs, kafkaio.OutRecord{
				Topic: schemas.TopicClicks, Partition: int32(p), Key: fmt.Appendf(nil, "k%d", i), Value: value, TimestampMicros: at,
			})
		}
	}
	return recs
}

func (r *rig) produce(recs []kafkaio.OutRecord) {
	r.t.Helper()
	if err := r.producer.ProduceAll(r.ctx, recs); err != nil {
		r.t.Fatal(err)
	}
}

// archived reads every row of the archive: position to what it is.
func (r *rig) archived() map[string]string {
	r.t.Helper()
	got := map[string]string{}
	put := func(p schemas.Position, what string) {
		if before, ok := got[p.String()]; ok {
			r.t.Fatalf("position %s is there twice: %s and %s", p, before, what)
		}
		got[p.String()] = what
	}
	for _, f := range r.list(FolderClicks) {
		each(r, f.Key(FolderClicks), func(c schemas.ArchiveClick) {
			put(schemas.Position{Partition: c.Partition, Offset: c.Offset}, c.ClickID)
		})
	}
	for _, f := range r.list(FolderDeadLetters) {
		each(r, f.Key(FolderDeadLetters), func(d schemas.ArchiveDeadLetter) {
			put(schemas.Position{Partition: d.Partition, Offset: d.Offset}, d.Reason+" "+string(d.Key)+" "+string(d.Value))
		})
	}
	return got
}

func (r *rig) list(folder string) []File {
	r.t.Helper()
	files, strays, err := List(r.ctx, r.store, folder)
	if err != nil || len(strays) > 0 {
		r.t.Fatal(strays, err)
	}
	return files
}

func each[T parquetio.Row](r *rig, key string, f func(T)) {
	r.t.Helper()
	src, err := r.store.ReadAt(r.ctx, key)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	if err := parquetio.ReadRows(src, func(rows []T) error {
		for _, row := range rows {
			f(row)
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
}

// logged reads what the log holds, as archived should.
func (r *rig) logged(partitions int) map[string]string {
	r.t.Helper()
	want, decoder := map[string]string{}, schemas.NewDecoder(r.cfg.Policy)
	for p := range int32(partitions) {
		first, end, err := r.client.Offsets(r.ctx, schemas.TopicClicks, p)
		if err != nil {
			r.t.Fatal(err)
		}
		reader := r.client.OpenPartition(schemas.TopicClicks, p, first)
		for reader.Offset() < end {
			recs, _, err := reader.Fetch(r.ctx, kafkaio.FetchLimits{})
			if err != nil {
				r.t.Fatal(err)
			}
			for _, rec := range recs {
				c, reason := decoder.Decode(rec)
				what := c.ClickID
				if reason != "" {
					what = string(reason) + " " + string(rec.Key) + " " + string(rec.Value)
				}
				want[rec.String()] = what
			}
		}
	}
	return want
}

// same wants the archive to hold the log, each record once.
func (r *rig) same(partitions int) {
	r.t.Helper()
	got, want := r.archived(), r.logged(partitions)
	if len(got) != len(want) {
		r.t.Fatalf("the archive holds %d records, the log %d", len(got), len(want))
	}
	for _, p := range sorted(want) {
		if got[p] != want[p] {
			r.t.Fatalf("position %s: got %q, want %q", p, got[p], want[p])
		}
	}
}

func sorted(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// failing is a store whose puts fail after so many, each time before or after taking effect.
type failing struct {
	objectstore.Store
	mu    sync.Mutex
	left  int
	after bool
}

var errInjected = fmt.Errorf("injected fault")

func (f *failing) Put(ctx context.Context, key string, data []byte, opts objectstore.PutOptions) (bool, error) {
	f.mu.Lock()
	f.left--
	fail, first := f.left < 0, f.left == -1
	f.mu.Unlock()
	if !fail {
		return f.Store.Put(ctx, key, data, opts)
	}
	if f.after && first {
		if _, err := f.Store.Put(ctx, key, data, opts); err != nil {
			return false, err
		}
	}
	return false, errInjected
}
