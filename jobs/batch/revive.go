package batch

import (
	"context"
	"fmt"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/schemas"
)

// createExtra makes the table of clicks that the archive holds as dead letters, but that this
// policy accepts: the archiver judged by the policy of its time.
const createExtra = `create table extra (partition integer, "offset" bigint, received_at timestamptz, event_time timestamptz,
	click_id varchar, ad_id varchar, advertiser_id varchar, campaign_id varchar, user_id varchar, ip_address varchar,
	user_agent varchar, device_type varchar, country_code varchar, "timestamp" bigint, cost_per_click double, cost_micros bigint)`

// reviving are the files with dead letters that may matter to the day.
func (s *session) reviving() []File {
	reach := span{min(s.times.received.from-s.times.lookback, s.times.day.from), s.times.received.to}
	var files []File
	for _, f := range s.deadLetters {
		if f.Rows > 0 && overlaps(f.Received, reach) {
			files = append(files, f)
		}
	}
	return files
}

// revive judges the archive's dead letters again. Those of the day that stay dead are counted;
// those that are clicks by this policy go into the table extra.
func (s *session) revive(ctx context.Context, conn *duckscan.Conn) error {
	if err := conn.Exec(createExtra); err != nil {
		return err
	}
	files := s.reviving()
	if len(files) == 0 {
		return nil
	}
	extra, err := conn.Append("extra", duckscan.Integer, duckscan.BigInt, duckscan.TimestampTZ, duckscan.TimestampTZ,
		duckscan.Varchar, duckscan.Varchar, duckscan.Varchar, duckscan.Varchar, duckscan.Varchar, duckscan.Varchar,
		duckscan.Varchar, duckscan.Varchar, duckscan.Varchar, duckscan.BigInt, duckscan.Double, duckscan.BigInt)
	if err != nil {
		return err
	}
	decoder := schemas.NewDecoder(s.cfg.Policy)
	err = conn.Scan(ctx, `select partition::integer, "offset"::bigint, epoch_us(received_at)::bigint, coalesce(key, ''::blob)::blob,
		coalesce(value, ''::blob)::blob from read_parquet(`+pathList(files)+`, hive_partitioning = false) order by 1, 2`,
		func(c *duckscan.Chunk) error {
			received, keys, values := duckscan.Column[int64](c, 2), c.Text(3), c.Text(4)
			for i := range c.Len() {
				rec := schemas.Record{TimestampMicros: received[i], Key: keys.At(i), Value: values.At(i),
					Position: schemas.Position{Partition: duckscan.Column[int32](c, 0)[i], Offset: duckscan.Column[int64](c, 1)[i]}}
				if err := s.reviveOne(decoder, &rec, extra); err != nil {
					return err
				}
			}
			return nil
		})
	if closeErr := extra.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("judge dead letters again: %w", err)
	}
	return nil
}

func (s *session) reviveOne(decoder *schemas.Decoder, rec *schemas.Record, extra *duckscan.Appender) error {
	var raw schemas.RawClick
	j, reason := decoder.DecodeRaw(rec, &raw)
	if reason != "" {
		if s.times.day.holds(floorDiv(rec.TimestampMicros, 1000)) {
			s.dead.add(schemas.DeadLetter{Position: rec.Position, ReceivedAtMicros: rec.TimestampMicros, Reason: reason})
		}
		return nil
	}
	row, err := extra.Row()
	if err != nil {
		return err
	}
	duckscan.Set(extra, 0, row, rec.Partition)
	duckscan.Set(extra, 1, row, rec.Offset)
	duckscan.Set(extra, 2, row, j.ReceivedAtMicros)
	duckscan.Set(extra, 3, row, j.EventTimeMillis*1000)
	for i, v := range [...][]byte{raw.ClickID, raw.AdID, raw.AdvertiserID, raw.CampaignID, raw.UserID, raw.IPAddress,
		raw.UserAgent, raw.DeviceType, raw.CountryCode} {
		extra.SetText(4+i, row, v)
	}
	duckscan.Set(extra, 13, row, raw.Timestamp)
	duckscan.Set(extra, 14, row, raw.CostPerClick)
	duckscan.Set(extra, 15, row, j.CostMicros)
	return nil
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
