package archive

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// Notes in the footer of a range's main object.
const (
	NoteRecords     = "clickledger.records"      // records of the range that the log had
	NoteDeadLetters = "clickledger.dead_letters" // rows of the dead letters' object
	NoteUndecodable = "clickledger.undecodable"  // decisions that could not be read
	NotePolicy      = "clickledger.policy"       // hash of the policy that judged
)

// family is how the records of one topic become objects.
type family struct {
	topic, folder string
	hasTails      bool // the headers of its records matter
	encode        func(p *policy.Policy, recs []schemas.Record) (objects, error)
}

// objects are the objects of one range.
type objects struct {
	main, dead []byte // dead is nil where there are no dead letters
	count      Progress
}

var families = map[string]family{
	schemas.TopicClicks:    {topic: schemas.TopicClicks, folder: FolderClicks, encode: encodeClicks},
	schemas.TopicDecisions: {topic: schemas.TopicDecisions, folder: FolderDecisions, encode: encodeDecisions},
	schemas.TopicDLQ:       {topic: schemas.TopicDLQ, folder: FolderDLQ, hasTails: true, encode: encodeDLQ},
}

func encodeClicks(p *policy.Policy, recs []schemas.Record) (objects, error) {
	decoder := schemas.NewDecoder(p)
	clicks := make([]schemas.ArchiveClick, 0, len(recs))
	var dead []schemas.ArchiveDeadLetter
	for _, rec := range recs {
		c, reason := decoder.Decode(rec)
		if reason != "" {
			dead = append(dead, schemas.ArchiveDeadLetter{
				Partition: rec.Partition, Offset: rec.Offset, ReceivedAt: c.ReceivedAtMicros,
				Reason: string(reason), Key: rec.Key, Value: rec.Value,
			})
			continue
		}
		clicks = append(clicks, schemas.ArchiveClick{
			Partition: rec.Partition, Offset: rec.Offset, ReceivedAt: c.ReceivedAtMicros, EventTime: c.EventTimeMillis,
			ClickID: c.ClickID, AdID: c.AdID, AdvertiserID: c.AdvertiserID, CampaignID: c.CampaignID, UserID: c.UserID,
			CostMicros: c.CostMicros, IPAddress: c.IPAddress, UserAgent: c.UserAgent, Referrer: c.Referrer,
			DeviceType: c.DeviceType, CountryCode: c.CountryCode, Timestamp: c.Timestamp, CostPerClick: c.CostPerClick,
		})
	}
	out := objects{count: Progress{
		Records: int64(len(recs)), Clicks: int64(len(clicks)), DeadLetters: int64(len(dead)),
	}}
	var err error
	if len(dead) > 0 {
		if out.dead, err = parquetio.Encode(dead, parquetio.Notes{NotePolicy: p.Hash()}); err != nil {
			return objects{}, err
		}
	}
	out.main, err = parquetio.Encode(clicks, parquetio.Notes{
		NoteRecords: strconv.Itoa(len(recs)), NoteDeadLetters: strconv.Itoa(len(dead)), NotePolicy: p.Hash(),
	})
	return out, err
}

func encodeDecisions(_ *policy.Policy, recs []schemas.Record) (objects, error) {
	rows := make([]schemas.ArchiveDecision, 0, len(recs))
	for _, rec := range recs {
		d, err := schemas.DecodeDecision(rec.Value)
		if err != nil {
			continue // counted below: the topic is the stream's own, and its dead letters have no folder
		}
		rows = append(rows, schemas.ArchiveDecision{
			LogPartition: rec.Partition, LogOffset: rec.Offset, Partition: d.Partition, Offset: d.Offset,
			ClickID: d.ClickID, EventTime: d.EventTimeMillis, Verdict: d.Verdict.String(),
			Rules: strings.Join(d.Rules.Names(), ","), IsLate: d.IsLate,
			WinnerPartition: d.Winner.Partition, WinnerOffset: d.Winner.Offset,
			IsConflict: d.IsConflict, PolicyHash: d.PolicyHash,
		})
	}
	bad := len(recs) - len(rows)
	out := objects{count: Progress{
		Records: int64(len(recs)), Decisions: int64(len(rows)), Undecodable: int64(bad),
	}}
	var err error
	out.main, err = parquetio.Encode(rows, parquetio.Notes{
		NoteRecords: strconv.Itoa(len(recs)), NoteUndecodable: strconv.Itoa(bad),
	})
	return out, err
}

// encodeDLQ keeps every record, whoever has written it.
func encodeDLQ(_ *policy.Policy, recs []schemas.Record) (objects, error) {
	rows := make([]schemas.ArchiveDLQ, 0, len(recs))
	for _, rec := range recs {
		value, headers, err := kafkaio.SplitTail(rec.Value)
		if err != nil {
			return objects{}, fmt.Errorf("offset %d: %w", rec.Offset, err) // the log's checksum held: a defect of ours
		}
		row := schemas.ArchiveDLQ{LogPartition: rec.Partition, LogOffset: rec.Offset, Partition: -1, Offset: -1,
			ReceivedAt: rec.TimestampMicros, Verdict: string(headers["verdict"]), Reason: string(headers["reason"]),
			Key: rec.Key, Value: value}
		partition, perr := strconv.ParseInt(string(headers["source_partition"]), 10, 32)
		offset, oerr := strconv.ParseInt(string(headers["source_offset"]), 10, 64)
		if perr == nil && oerr == nil && partition >= 0 && offset >= 0 {
			row.Partition, row.Offset = int32(partition), offset
		}
		if received, err := strconv.ParseInt(string(headers["received_at_micros"]), 10, 64); err == nil {
			row.ReceivedAt = received
		}
		rows = append(rows, row)
	}
	out := objects{count: Progress{Records: int64(len(recs)), DLQ: int64(len(rows))}}
	var err error
	out.main, err = parquetio.Encode(rows, parquetio.Notes{NoteRecords: strconv.Itoa(len(recs))})
	return out, err
}
