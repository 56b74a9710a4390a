package explain

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/schemas"
)

// logTimeout bounds how long the log is asked: an answer without the record's bytes is better than
// none.
const logTimeout = time.Second

// Log is where records are read again, by position.
type Log interface {
	// Record returns the record, false where the log does not have it any more.
	Record(ctx context.Context, at schemas.Position) (schemas.Record, bool, error)
}

// kafkaLog is the topic clicks.
type kafkaLog struct{ client *kafkaio.Client }

// OpenLog opens the log, or says within a second that it does not answer. The caller ends it.
func OpenLog(ctx context.Context, url string) (Log, func(), error) {
	brokers, err := kafkaio.ParseURL(url)
	if err != nil {
		return nil, nil, err
	}
	client, err := kafkaio.Connect(ctx, brokers, kafkaio.Options{ConnectTimeout: logTimeout, RetryTimeout: logTimeout})
	if err != nil {
		return nil, nil, err
	}
	return kafkaLog{client}, client.Close, nil
}

func (l kafkaLog) Record(ctx context.Context, at schemas.Position) (schemas.Record, bool, error) {
	first, end, err := l.client.Offsets(ctx, schemas.TopicClicks, at.Partition)
	if errors.Is(err, kafkaio.ErrUnknownTopic) || err == nil && (at.Offset < first || at.Offset >= end) {
		return schemas.Record{}, false, nil
	}
	if err != nil {
		return schemas.Record{}, false, err
	}
	reader := l.client.OpenPartition(schemas.TopicClicks, at.Partition, at.Offset)
	records, _, err := reader.Fetch(ctx, kafkaio.FetchLimits{MaxRecords: 1, MaxWait: logTimeout})
	if err != nil || len(records) == 0 || records[0].Offset != at.Offset {
		return schemas.Record{}, false, err
	}
	record := records[0]
	record.Key, record.Value = slices.Clone(record.Key), slices.Clone(record.Value)
	return record, true, nil
}

// addRecords finds the bytes of each copy: in the log, or else in the archive, which keeps those of
// dead letters and of the topic clicks.dlq.
func (e *explainer) addRecords(ctx context.Context, r *Report) error {
	for i := range r.Copies {
		c := &r.Copies[i]
		record, source, note, err := e.record(ctx, c)
		if err != nil {
			return fmt.Errorf("read the record at %s: %w", c.position(), err)
		}
		c.Record = Record{Source: source, Note: note}
		if source == "" {
			continue
		}
		sum := sha256.Sum256(record.Value)
		c.Record.Key, c.Record.ValueHex = string(record.Key), hex.EncodeToString(record.Value)
		c.Record.Bytes, c.Record.SHA256 = len(record.Value), hex.EncodeToString(sum[:])
		if source == "log" {
			at := time.UnixMicro(record.TimestampMicros).UTC()
			c.Record.LogTime = &at
		}
		same := e.isAsArchived(c, record)
		c.Record.IsAsArchived = &same
	}
	return nil
}

func (e *explainer) record(ctx context.Context, c *Copy) (record schemas.Record, source, note string, err error) {
	note = "no log was asked"
	if e.deps.LogProblem != "" {
		note = e.deps.LogProblem
	}
	if e.deps.Log != nil {
		var found bool
		record, found, err = e.deps.Log.Record(ctx, c.position())
		switch {
		case ctx.Err() != nil:
			return record, "", "", ctx.Err()
		case err != nil:
			note = err.Error()
		case found:
			return record, "log", "", nil
		default:
			note = "the log does not have it any more"
		}
	}
	if c.DeadLetter != "" {
		return schemas.Record{Position: c.position(), TimestampMicros: c.ReceivedAt.UnixMicro(), Key: c.key, Value: c.value},
			archive.FolderDeadLetters, note, nil
	}
	record = schemas.Record{Position: c.position(), TimestampMicros: c.ReceivedAt.UnixMicro()}
	found := false
	err = e.query(ctx, "explain_whole_record", func(rows *sql.Rows) error {
		found = true
		return rows.Scan(&record.Key, &record.Value)
	}, c.Partition, c.Offset)
	if err != nil || !found {
		return record, "", note + "; the archive keeps the fields of clicks, and whole records only of what was not billed", err
	}
	return record, archive.FolderDLQ, note, nil
}

// isAsArchived decodes a record and compares it with what the archive holds at its position.
func (e *explainer) isAsArchived(c *Copy, record schemas.Record) bool {
	if c.DeadLetter != "" {
		return string(record.Value) == string(c.value) && string(record.Key) == string(c.key)
	}
	var raw schemas.RawClick
	if err := raw.Unmarshal(record.Value); err != nil {
		return false
	}
	received := raw.ReceivedAt
	if received == 0 {
		received = record.TimestampMicros
	}
	sent := Fields{AdID: string(raw.AdID), AdvertiserID: string(raw.AdvertiserID), CampaignID: string(raw.CampaignID),
		UserID: string(raw.UserID), IPAddress: string(raw.IPAddress), UserAgent: string(raw.UserAgent), Referrer: string(raw.Referrer),
		DeviceType: string(raw.DeviceType), CountryCode: string(raw.CountryCode), Timestamp: raw.Timestamp,
		CostMicros: c.Fields.CostMicros}
	sent.derive(raw.CostPerClick, e.cfg.Policy)
	sent.RevisionFrom = c.Fields.RevisionFrom
	cost, ok := schemas.CostMicros(raw.CostPerClick, c.Fields.CostMicros)
	return ok && cost == c.Fields.CostMicros && string(raw.ClickID) == e.cfg.ClickID && sent == *c.Fields &&
		received == c.ReceivedAt.UnixMicro() && schemas.EventTimeMillis(raw.Timestamp) == c.EventTime.UnixMilli()
}
