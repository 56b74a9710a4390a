package main

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

const archivedPartitions = 2

// generateRecords is a seeded log with every kind of record, around midnight before 2026-03-02.
func generateRecords(t *testing.T, seed uint64, clicks int64) []schemas.Record {
	t.Helper()
	start := time.Date(2026, 3, 1, 23, 55, 0, 0, time.UTC).UnixMilli()
	g, err := loadgen.New(loadgen.DefaultConfig(seed, clicks, start, 20))
	if err != nil {
		t.Fatal(err)
	}
	var records []schemas.Record
	next := [archivedPartitions]int64{}
	var item loadgen.Item
	for g.Next(&item) {
		key := item.AppendKey(nil, schemas.KeyClickID, 0)
		h := fnv.New32a()
		_, _ = h.Write(key)
		p := int32(h.Sum32() % archivedPartitions)
		records = append(records, schemas.Record{
			Position:        schemas.Position{Partition: p, Offset: next[p]},
			TimestampMicros: item.ReceivedAtMicros, Key: key, Value: item.AppendValue(nil),
		})
		next[p]++
	}
	return records
}

// writeArchive writes records in the archive's layout, one file a partition, and returns its folder.
func writeArchive(t *testing.T, records []schemas.Record) string {
	t.Helper()
	dir := t.TempDir()
	decoder := schemas.NewDecoder(policy.Default())
	for p := range int32(archivedPartitions) {
		var clicks []schemas.ArchiveClick
		var dead []schemas.ArchiveDeadLetter
		last := int64(-1)
		for _, r := range records {
			if r.Partition != p {
				continue
			}
			last = r.Offset
			c, reason := decoder.Decode(r)
			if reason != "" {
				dead = append(dead, schemas.ArchiveDeadLetter{
					Partition: p, Offset: r.Offset, ReceivedAt: c.ReceivedAtMicros, Reason: string(reason), Key: r.Key, Value: r.Value,
				})
				continue
			}
			clicks = append(clicks, schemas.ArchiveClick{
				Partition: p, Offset: r.Offset, ReceivedAt: c.ReceivedAtMicros, EventTime: c.EventTimeMillis, ClickID: c.ClickID,
				AdID: c.AdID, AdvertiserID: c.AdvertiserID, CampaignID: c.CampaignID, UserID: c.UserID, CostMicros: c.CostMicros,
				IPAddress: c.IPAddress, UserAgent: c.UserAgent, Referrer: c.Referrer, DeviceType: c.DeviceType,
				CountryCode: c.CountryCode, Timestamp: c.Timestamp, CostPerClick: c.CostPerClick,
			})
		}
		path := fmt.Sprintf("dt=2026-03-01/hr=23/p=%03d/%020d-%020d.parquet", p, 0, last)
		writeRows(t, filepath.Join(dir, "clicks", path), clicks)
		writeRows(t, filepath.Join(dir, "dead_letters", path), dead)
	}
	return dir
}

func writeRows[T parquetio.Row](t *testing.T, path string, rows []T) {
	t.Helper()
	data, err := parquetio.Encode(rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
