package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// loadRecords are produced at a time.
const loadRecords = 50_000

// load writes the log to the broker.
func load(ctx context.Context, s *settings) (_ result, err error) {
	brokers, err := kafkaio.ParseURL(s.URL)
	if err != nil {
		return result{}, err
	}
	p, err := kafkaio.OpenProducer(ctx, brokers, kafkaio.ProducerOptions{})
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	var r result
	var out []kafkaio.OutRecord
	flush := func() error {
		err := p.ProduceAll(ctx, out)
		out = out[:0]
		return err
	}
	err = s.records(func(pos schemas.Position, timeMicros int64, key, value []byte) error {
		out = append(out, kafkaio.OutRecord{Topic: schemas.TopicClicks, Partition: pos.Partition, Key: bytes.Clone(key),
			Value: bytes.Clone(value), TimestampMicros: timeMicros})
		r.Totals.Records++
		r.Bytes += float64(len(value))
		if len(out) < loadRecords {
			return nil
		}
		return flush()
	})
	if err != nil {
		return r, err
	}
	return r, flush()
}

func (s *settings) archive() string { return filepath.Join(s.Dir, "archive") }

// writeArchive writes the log as Parquet in the archive's layout, as many records to a file as the
// archive job does by default.
func writeArchive(_ context.Context, s *settings) (result, error) {
	decoder := schemas.NewDecoder(policy.Default())
	var r result
	lanes := make([]lane, s.Partitions)
	err := s.records(func(pos schemas.Position, timeMicros int64, key, value []byte) error {
		r.Totals.Records++
		r.Bytes += float64(len(value))
		l := &lanes[pos.Partition]
		l.add(decoder, schemas.Record{Position: pos, TimestampMicros: timeMicros, Key: key, Value: value})
		if l.n < archive.DefaultMaxRecords {
			return nil
		}
		return l.flush(s.archive())
	})
	for i := range lanes {
		if err == nil && lanes[i].n > 0 {
			err = lanes[i].flush(s.archive())
		}
	}
	return r, err
}

// lane is the open file of one partition.
type lane struct {
	file   archive.File
	n      int
	clicks []schemas.ArchiveClick
	dead   []schemas.ArchiveDeadLetter
}

func (l *lane) add(decoder *schemas.Decoder, rec schemas.Record) {
	if l.n == 0 {
		l.file = archive.File{Range: archive.Range{Partition: rec.Partition, From: rec.Offset}}
	}
	l.file.To, l.file.Hour = rec.Offset, archive.Hour(rec.TimestampMicros/3_600_000_000)
	l.n++
	c, reason := decoder.Decode(rec)
	if reason != "" {
		l.dead = append(l.dead, schemas.ArchiveDeadLetter{Partition: rec.Partition, Offset: rec.Offset, ReceivedAt: c.ReceivedAtMicros,
			Reason: string(reason), Key: bytes.Clone(rec.Key), Value: bytes.Clone(rec.Value)})
		return
	}
	l.clicks = append(l.clicks, schemas.ArchiveClick{Partition: rec.Partition, Offset: rec.Offset, ReceivedAt: c.ReceivedAtMicros,
		EventTime: c.EventTimeMillis, ClickID: c.ClickID, AdID: c.AdID, AdvertiserID: c.AdvertiserID, CampaignID: c.CampaignID,
		UserID: c.UserID, CostMicros: c.CostMicros, IPAddress: c.IPAddress, UserAgent: c.UserAgent, Referrer: c.Referrer,
		DeviceType: c.DeviceType, CountryCode: c.CountryCode, Timestamp: c.Timestamp, CostPerClick: c.CostPerClick})
}

func (l *lane) flush(dir string) error {
	data, err := parquetio.Encode(l.clicks, nil)
	if err == nil {
		err = put(filepath.Join(dir, l.file.Key(archive.FolderClicks)), data)
	}
	if err == nil && len(l.dead) > 0 {
		if data, err = parquetio.Encode(l.dead, nil); err == nil {
			err = put(filepath.Join(dir, l.file.Key(archive.FolderDeadLetters)), data)
		}
	}
	if err != nil {
		return fmt.Errorf("archive %s: %w", l.file.Range, err)
	}
	l.n, l.clicks, l.dead = 0, l.clicks[:0], l.dead[:0]
	return nil
}

func put(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
