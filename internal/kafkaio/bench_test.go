package kafkaio

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	kafka "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

func fixChecksum(b []byte) {
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-batchPrefix))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[crcStart:], castagnoli))
}

// randomClicks are records of about 330 bytes that compress like clicks do.
func randomClicks(n int) []OutRecord {
	rng := rand.New(rand.NewPCG(1, 2))
	recs := numbered(0, n, 200)
	for i := range recs {
		for range 130 {
			recs[i].Value = append(recs[i].Value, byte('a'+rng.IntN(26)))
		}
	}
	return recs
}

// BenchmarkFetch compares this package's reader with kafka-go's two own ones and franz-go's, over the
// same log; the broker runs in the same process, and its work is part of every figure.
func BenchmarkFetch(b *testing.B) {
	const n = 200_000
	_, brokers := startBroker(b, 1)
	if err := openProducer(b, brokers).ProduceAll(testContext(b), randomClicks(n)); err != nil {
		b.Fatal(err)
	}
	perRecord := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
	}
	b.Run("reader", func(b *testing.B) {
		b.ReportAllocs()
		c := connect(b, brokers)
		for range b.N {
			if got := readAllCount(b, c.OpenPartition(schemas.TopicClicks, 0, 0)); got != n {
				b.Fatalf("got %d", got)
			}
		}
		perRecord(b)
	})
	b.Run("kafka-go-conn", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			conn, err := kafka.DialLeader(testContext(b), "tcp", brokers[0], schemas.TopicClicks, 0)
			if err != nil {
				b.Fatal(err)
			}
			for got := 0; got < n; {
				batch := conn.ReadBatch(1, 4<<20)
				for {
					if _, err := batch.ReadMessage(); err != nil {
						break
					}
					got++
				}
				_ = batch.Close()
			}
			_ = conn.Close()
		}
		perRecord(b)
	})
	b.Run("kafka-go-client-fetch", func(b *testing.B) {
		b.ReportAllocs()
		cl := &kafka.Client{Addr: kafka.TCP(brokers...)}
		for range b.N {
			for off := int64(0); off < n; {
				res, err := cl.Fetch(testContext(b), &kafka.FetchRequest{
					Topic: schemas.TopicClicks, Offset: off, MinBytes: 1, MaxBytes: 4 << 20,
				})
				if err != nil {
					b.Fatal(err)
				}
				for {
					rec, err := res.Records.ReadRecord()
					if err != nil {
						break
					}
					if _, err := kafka.ReadAll(rec.Value); err != nil {
						b.Fatal(err)
					}
					off = rec.Offset + 1
				}
			}
		}
		perRecord(b)
	})
	b.Run("franz-go", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumePartitions(
				map[string]map[int32]kgo.Offset{schemas.TopicClicks: {0: kgo.NewOffset().At(0)}}))
			if err != nil {
				b.Fatal(err)
			}
			for got := 0; got < n; {
				got += cl.PollFetches(testContext(b)).NumRecords()
			}
			cl.Close()
		}
		perRecord(b)
	})
}

func readAllCount(b *testing.B, r *Reader) int {
	n := 0
	for {
		recs, high, err := r.Fetch(testContext(b), FetchLimits{})
		if err != nil {
			b.Fatal(err)
		}
		n += len(recs)
		if r.Offset() >= high {
			return n
		}
	}
}
