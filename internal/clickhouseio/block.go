package clickhouseio

import (
	"context"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// block holds the columns of one insert, in the order of the insert statements; it is used again.
type block struct {
	seconds                                  []int64
	advertiser, campaign, ad, device, region []string
	raw, duplicate, invalid, unique          []uint32
	spendMicros                              []int64
	version                                  []uint64
}

func (b *block) reset() {
	*b = block{
		seconds: b.seconds[:0], advertiser: b.advertiser[:0], campaign: b.campaign[:0], ad: b.ad[:0],
		device: b.device[:0], region: b.region[:0], raw: b.raw[:0], duplicate: b.duplicate[:0],
		invalid: b.invalid[:0], unique: b.unique[:0], spendMicros: b.spendMicros[:0], version: b.version[:0],
	}
}

// add appends a row with raise added to its version.
func (b *block) add(r *schemas.MinuteRow, raise uint64) error {
	counts, err := serving.CountsOf(r)
	if err != nil {
		return err
	}
	b.seconds = append(b.seconds, r.MinuteMillis/1000)
	b.advertiser = append(b.advertiser, r.AdvertiserID)
	b.campaign = append(b.campaign, r.CampaignID)
	b.ad = append(b.ad, r.AdID)
	b.device = append(b.device, r.DeviceType)
	b.region = append(b.region, r.CountryCode)
	b.raw = append(b.raw, counts.Raw)
	b.duplicate = append(b.duplicate, counts.Duplicate)
	b.invalid = append(b.invalid, counts.Invalid)
	b.unique = append(b.unique, counts.Unique)
	b.spendMicros = append(b.spendMicros, r.SpendMicros)
	b.version = append(b.version, r.Version+raise)
	return nil
}

// insertRows writes the rows, which are in key order, by blocks of a fixed size. The content and
// the order of the blocks depend on the rows alone.
func (s *Store) insertRows(ctx context.Context, statement string, rows []*schemas.MinuteRow, raise uint64) error {
	for len(rows) > 0 {
		n := min(len(rows), s.opts.BlockRows)
		s.block.reset()
		for _, r := range rows[:n] {
			if err := s.block.add(r, raise); err != nil {
				return err
			}
		}
		if err := s.retry(ctx, statement, func() error { return s.send(ctx, statement, &s.block) }); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func (s *Store) send(ctx context.Context, statement string, b *block) error {
	return s.insert(ctx, statement, func(batch driver.Batch) error {
		for i, column := range []any{
			b.seconds, b.advertiser, b.campaign, b.ad, b.device, b.region,
			b.raw, b.duplicate, b.invalid, b.unique, b.spendMicros, b.version,
		} {
			if err := batch.Column(i).Append(column); err != nil {
				return err
			}
		}
		return nil
	})
}

// insert runs one insert. What fill has put in arrives whole or, by its partition, not at all.
func (s *Store) insert(ctx context.Context, statement string, fill func(driver.Batch) error) error {
	batch, err := s.conn.PrepareBatch(ctx, s.sql(statement))
	if err != nil {
		return err
	}
	defer batch.Close() // Send has told of every error; without it the insert is given up
	if err := fill(batch); err != nil {
		return err
	}
	return batch.Send()
}
