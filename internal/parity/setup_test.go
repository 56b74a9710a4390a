package parity

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/clickhousetest"
	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/flinkrunner"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

const (
	testTimeout = 4 * time.Minute
	second      = int64(1000)
	minute      = 60 * second
)

// day is the billing day of the small logs, and noon the time at which they play.
var (
	day  = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	noon = day.Add(12 * time.Hour).UnixMilli()
)

func TestMain(m *testing.M) {
	if flinkrunner.IsWorker() {
		flinkrunner.Work() // a TaskManager has started this test binary, to run the DoFns
	}
	clickhousetest.RecordIfAsked()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if args := os.Getenv(childVariable); args != "" {
		return runChild(args)
	}
	defer stopPostgres()
	defer func() {
		if err := clickhousetest.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	return m.Run()
}

// event is a click to write; a field that is not given gets a good value, so that a case names
// only what it is about.
type event struct {
	id, ad, adv, user, ip, agent, country string
	cost                                  float64 // default 0.25
	at                                    int64   // event time, Unix milliseconds
	received                              int64   // default at
	record                                int64   // the record's timestamp; default received
}

func (e event) withDefaults() event {
	e.ad, e.adv, e.ip = cmp.Or(e.ad, "ad-1"), cmp.Or(e.adv, "adv-1"), cmp.Or(e.ip, "192.0.2.1")
	e.user, e.agent, e.country = cmp.Or(e.user, "user-of-"+e.id), cmp.Or(e.agent, "Mozilla/5.0"), cmp.Or(e.country, "DE")
	e.cost = cmp.Or(e.cost, 0.25)
	e.received = cmp.Or(e.received, e.at)
	e.record = cmp.Or(e.record, e.received)
	return e
}

func (e event) value() []byte {
	c := schemas.RawClick{ClickID: []byte(e.id), AdID: []byte(e.ad), AdvertiserID: []byte(e.adv), CampaignID: []byte("camp"),
		UserID: []byte(e.user), IPAddress: []byte(e.ip), UserAgent: []byte(e.agent), CountryCode: []byte(e.country),
		DeviceType: []byte("mobile"), CostPerClick: e.cost, Timestamp: e.at, ReceivedAt: e.received * 1000}
	return c.AppendTo(nil)
}

// clickLog is a log being written; offsets follow from the order of writing.
type clickLog struct {
	recs []schemas.Record
	next map[int32]int64
}

func (l *clickLog) put(partition int32, rec schemas.Record) {
	if l.next == nil {
		l.next = map[int32]int64{}
	}
	rec.Position = schemas.Position{Partition: partition, Offset: l.next[partition]}
	l.next[partition]++
	l.recs = append(l.recs, rec)
}

// add writes events to partition 0.
func (l *clickLog) add(events ...event) {
	for _, e := range events {
		l.addTo(0, e)
	}
}

func (l *clickLog) addTo(partition int32, e event) {
	e = e.withDefaults()
	l.put(partition, schemas.Record{TimestampMicros: e.record * 1000, Key: []byte(e.id), Value: e.value()})
}

// burst is n unique clicks of one identity from at on, step apart.
func burst(n int, at, step int64, e event) []event {
	list := make([]event, n)
	for i := range list {
		list[i] = e
		list[i].id = fmt.Sprintf("%s-%03d", e.id, i)
		list[i].user = cmp.Or(e.user, "user-of-"+e.id)
		list[i].at = at + int64(i)*step
	}
	return list
}

// bed is what a test works on: a broker, a serving store, an archive.
type bed struct {
	t       testing.TB
	ctx     context.Context
	policy  *policy.Policy
	url     string // of the broker
	archive string // URL
	serving string // URL
	store   *servingduck.Store
	client  *kafkaio.Client
	dedup   stream.Dedup
	sent    int // records of the log that were produced
	runs    int
}

func newBed(t testing.TB, partitions int, p *policy.Policy) *bed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	server, err := embedkafka.Start(ctx, embedkafka.Config{Dir: t.TempDir(), Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	b := &bed{t: t, ctx: ctx, policy: p, url: server.URL(), archive: "file://" + t.TempDir(),
		serving: "duckdb://" + filepath.Join(t.TempDir(), "serving.duckdb")}
	if b.client, err = kafkaio.Connect(ctx, []string{server.Addr()}, kafkaio.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	return b
}

// produce writes what the log has grown by.
func (b *bed) produce(l *clickLog) {
	b.t.Helper()
	recs := l.recs[b.sent:]
	b.sent = len(l.recs)
	brokers, err := kafkaio.ParseURL(b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := kafkaio.OpenProducer(b.ctx, brokers, kafkaio.ProducerOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	out := make([]kafkaio.OutRecord, 0, len(recs))
	for i := range recs {
		out = append(out, kafkaio.OutRecord{Topic: schemas.TopicClicks, Partition: recs[i].Partition, Key: recs[i].Key,
			Value: recs[i].Value, TimestampMicros: recs[i].TimestampMicros})
	}
	if err := p.ProduceAll(b.ctx, out); err != nil {
		b.t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// open returns the serving store, which this process owns until closeStore.
func (b *bed) open() *servingduck.Store {
	b.t.Helper()
	if b.store == nil {
		store, err := servingduck.Open(b.ctx, b.serving, servingduck.Options{MustOwn: true})
		if err != nil {
			b.t.Fatal(err)
		}
		b.store = store
		b.t.Cleanup(b.closeStore)
	}
	return b.store
}

func (b *bed) closeStore() {
	if b.store != nil {
		_ = b.store.Close()
		b.store = nil
	}
}

func (b *bed) runID(what string) string {
	b.runs++
	return fmt.Sprintf("%s/%s/%d", b.t.Name(), what, b.runs)
}

// stream judges and publishes what the log holds.
func (b *bed) stream() stream.Stats {
	b.t.Helper()
	st, err := stream.Run(b.ctx, stream.Config{Log: b.url, Policy: b.policy, RunID: b.runID("stream"), UntilEnd: true,
		Dedup: b.dedup, PollWait: 20 * time.Millisecond}, stream.Deps{Serving: b.open()})
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

// keep archives what the log holds.
func (b *bed) keep(topics ...string) {
	b.t.Helper()
	if _, err := archive.Run(b.ctx, archive.Config{Log: b.url, Archive: b.archive, Policy: b.policy, RunUntilEnd: true,
		Topics: topics}, archive.Deps{}); err != nil {
		b.t.Fatal(err)
	}
}

// batch judges a day into the archive.
func (b *bed) batch(date time.Time) batch.Result {
	b.t.Helper()
	r, err := batch.Run(b.ctx, batch.Config{Archive: b.archive, Date: date, Policy: b.policy, RunID: b.runID("batch")}, batch.Deps{})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// reconcile compares a day; with a ledger it posts and publishes too.
func (b *bed) reconcile(date time.Time, ledger reconcile.Ledger) *reconcile.Report {
	b.t.Helper()
	cfg := reconcile.Config{Archive: b.archive, Log: b.url, Date: date, Policy: b.policy, RunID: b.runID("reconcile"), Post: ledger != nil,
		List: reconcile.List{Limit: 1 << 20}}
	r, err := reconcile.Run(b.ctx, cfg, reconcile.Deps{Serving: b.open(), Ledger: ledger, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// settle archives everything, judges the day and compares it.
func (b *bed) settle(ledger reconcile.Ledger) *reconcile.Report {
	b.t.Helper()
	b.keep()
	b.batch(day)
	return b.reconcile(day, ledger)
}

// decisions reads the last decision on every position from the log.
func (b *bed) decisions() map[schemas.Position]schemas.Decision {
	b.t.Helper()
	return b.decisionsFrom(nil)
}

// decisionsFrom reads those written after the offsets given by partition. All copies of one policy's must be alike.
func (b *bed) decisionsFrom(from map[int32]int64) map[schemas.Position]schemas.Decision {
	b.t.Helper()
	last := map[schemas.Position]schemas.Decision{}
	for p, end := range b.decisionEnds() {
		reader := b.client.OpenPartition(schemas.TopicDecisions, p, from[p])
		for reader.Offset() < end {
			recs, _, err := reader.Fetch(b.ctx, kafkaio.FetchLimits{MaxWait: time.Second})
			if err != nil {
				b.t.Fatal(err)
			}
			for i := range recs {
				d, err := schemas.DecodeDecision(recs[i].Value)
				if err != nil {
					b.t.Fatal(err)
				}
				if old, ok := last[d.Position]; ok && old != d && old.PolicyHash == d.PolicyHash {
					b.t.Errorf("a copy of the decision on %s is %+v, after %+v", d.Position, d, old)
				}
				last[d.Position] = d
			}
		}
	}
	return last
}

func (b *bed) decisionEnds() map[int32]int64 {
	b.t.Helper()
	ids, err := b.client.Partitions(b.ctx, schemas.TopicDecisions)
	if err != nil {
		b.t.Fatal(err)
	}
	ends := map[int32]int64{}
	for _, p := range ids {
		_, end, err := b.client.Offsets(b.ctx, schemas.TopicDecisions, p)
		if err != nil {
			b.t.Fatal(err)
		}
		ends[p] = end
	}
	return ends
}

var always = serving.Range{FromMillis: 0, ToMillis: 1 << 45}

// rows reads a layer's rows of a range.
func rows(t testing.TB, s serving.Store, layer serving.Layer, r serving.Range) []schemas.MinuteRow {
	t.Helper()
	var list []schemas.MinuteRow
	for row, err := range s.Rows(t.Context(), layer, r) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, row)
	}
	return list
}

// bare takes off what depends on who published the rows, in place.
func bare(list []schemas.MinuteRow) []schemas.MinuteRow {
	for i := range list {
		list[i].Version, list[i].IsFinal = 0, false
	}
	return list
}

// sameRows reports the first difference between two lists of rows in key order.
func sameRows(t testing.TB, label string, got, want []schemas.MinuteRow) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	t.Errorf("%s: got %d rows, want %d; row %d:\n got %+v\nwant %+v", label, len(got), len(want), n,
		got[min(n, len(got)):min(n+1, len(got))], want[min(n, len(want)):min(n+1, len(want))])
}
