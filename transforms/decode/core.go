// Package decode turns records into blocks of clicks: it parses and validates, puts money and time
// into their units, computes the identities, tests the bot and network lists, and decides by the
// watermark whether a click is late. What is no click becomes a dead letter.
package decode

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/zeebo/xxh3"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/invalidtraffic"
)

// Batch is a run of records of one partition in offset order.
type Batch struct {
	// Header is passed on to the blocks; its LogMillis and WatermarkMillis hold after the batch.
	schemas.Header
	// LogBefore is the partition's highest record timestamp before the batch, Unix milliseconds;
	// MinWatermark where there was none.
	LogBefore int64
	// FrontierBefore is the log time that the channel announced before the batch: that of its last
	// record, or later after an idle time. No click of the batch has an earlier one.
	FrontierBefore int64
	// WatermarkBefore is the watermark that the channel announced before the batch.
	WatermarkBefore int64
	Records         []schemas.Record
}

// Core splits batches into blocks by shard of the click key. It keeps memory, not state.
type Core struct {
	// Identity is the hash of the velocity identities. Default: the first half of SHA-256, which
	// is the same in every process.
	Identity func([]byte) schemas.Key128

	// KeepsRecords makes the clicks of a batch point to their records.
	KeepsRecords bool

	policy  *policy.Policy
	decoder *schemas.Decoder
	lists   *invalidtraffic.Lists
	blocks  []*schemas.Block
	scratch []byte
}

// NewCore returns a core towards that many shards.
func NewCore(p *policy.Policy, shards int32) (*Core, error) {
	lists, err := invalidtraffic.NewLists(p)
	if err != nil {
		return nil, err
	}
	c := &Core{policy: p, decoder: schemas.NewDecoder(p), lists: lists, Identity: identity, blocks: make([]*schemas.Block, shards)}
	for i := range c.blocks {
		c.blocks[i] = schemas.NewBlock()
	}
	return c, nil
}

// Split decodes a batch. It calls dead for every record that is no click, in offset order, and then
// emit once for each shard; whoever the block goes to owns it.
func (c *Core) Split(batch *Batch, dead func(schemas.DeadLetter), emit func(shard int32, b *schemas.Block)) {
	log, frontier, raw := batch.LogBefore, batch.FrontierBefore, schemas.RawClick{}
	if frontier == schemas.NoWatermark {
		frontier = schemas.MinWatermark
	}
	for i := range batch.Records {
		rec := &batch.Records[i]
		watermark := batch.WatermarkBefore
		if watermark == schemas.NoWatermark {
			watermark = schemas.MinWatermark
		}
		if log != schemas.MinWatermark {
			watermark = max(watermark, log-c.policy.At(log).AllowedSkew.Milliseconds())
		}
		log = max(log, rec.TimestampMicros/1000)
		j, reason := c.decoder.DecodeRaw(rec, &raw)
		if reason != "" {
			dead(schemas.DeadLetter{Position: rec.Position, ReceivedAtMicros: j.ReceivedAtMicros, Reason: reason,
				Key: rec.Key, Value: rec.Value})
			continue
		}
		b := c.add(&raw, &j, rec.Position, max(log, frontier), watermark)
		if c.KeepsRecords {
			b.Records = append(b.Records, rec)
		}
	}
	c.flush(batch.Header, emit)
}

// Keys are the identities of a click.
type Keys struct{ Click, IP, User schemas.Key128 }

// add puts one valid click into the block of its shard. logMillis is its log time, and
// watermarkMillis the watermark that it is measured against.
func (c *Core) add(raw *schemas.RawClick, j *schemas.Judged, pos schemas.Position, logMillis, watermarkMillis int64) *schemas.Block {
	keys := Keys{Click: ClickIdentity(raw.ClickID)}
	keys.IP, keys.User = c.Identities(raw, j)
	b := c.blocks[keys.Click.Shard(len(c.blocks))]
	c.AddTo(b, raw, j, pos, keys)
	i := b.Len() - 1
	b.LogMillisColumn[i] = logMillis
	if j.EventTimeMillis < watermarkMillis {
		b.Flags[i], b.JudgeMillis[i] = schemas.FlagLate, watermarkMillis
		if watermarkMillis-j.EventTimeMillis > j.Revision.AllowedLateness.Milliseconds() {
			b.Verdict[i] = schemas.Late
		}
	}
	return b
}

// AddTo appends one valid click to a block, as billable, on time, and with the time of its
// recording as its log time.
func (c *Core) AddTo(b *schemas.Block, raw *schemas.RawClick, j *schemas.Judged, pos schemas.Position, keys Keys) {
	b.ReceivedMicros = append(b.ReceivedMicros, j.ReceivedAtMicros)
	b.LogMillisColumn = append(b.LogMillisColumn, j.ReceivedAtMicros/1000)
	b.JudgeMillis = append(b.JudgeMillis, j.EventTimeMillis)
	b.Verdict = append(b.Verdict, schemas.Billable)
	b.WinnerPartition = append(b.WinnerPartition, pos.Partition)
	b.WinnerOffset = append(b.WinnerOffset, pos.Offset)
	b.ClickKey = append(b.ClickKey, keys.Click)
	b.ContentHash = append(b.ContentHash, xxh3.HashSeed(raw.AdID, uint64(j.CostMicros)))
	c.AddBareTo(b, raw, j, pos, keys)
}

// AddBareTo is AddTo without the columns that deduplication needs, and without those that follow
// from the others for clicks on time; schemas.Block.FillBare adds these by the block.
func (c *Core) AddBareTo(b *schemas.Block, raw *schemas.RawClick, j *schemas.Judged, pos schemas.Position, keys Keys) {
	b.Partition = append(b.Partition, pos.Partition)
	b.Offset = append(b.Offset, pos.Offset)
	b.EventMillis = append(b.EventMillis, j.EventTimeMillis)
	b.CostMicros = append(b.CostMicros, j.CostMicros)
	b.Rules = append(b.Rules, c.lists.Rules(j.Revision, raw.UserAgent, j.Addr))
	b.Flags = append(b.Flags, 0)
	b.IPKey = append(b.IPKey, keys.IP)
	b.UserKey = append(b.UserKey, keys.User)
	b.ClickID.Append(raw.ClickID)
	b.RowKey.Bytes = schemas.AppendRowKey(b.RowKey.Bytes, raw.AdvertiserID, raw.CampaignID, raw.AdID, raw.DeviceType, raw.CountryCode)
	b.RowKey.Close()
}

// flush sends what was added since the last flush, one block for each shard, empty ones included.
func (c *Core) flush(h schemas.Header, emit func(shard int32, b *schemas.Block)) {
	for shard, b := range c.blocks {
		b.Header = h
		c.blocks[shard] = schemas.NewBlock()
		emit(int32(shard), b)
	}
}

// ClickIdentity is the key of a click_id.
func ClickIdentity(clickID []byte) schemas.Key128 { return identity(clickID) }

// Identities are the keys of (ip, ad) and (user, ad); zero where ip or user is empty.
func (c *Core) Identities(raw *schemas.RawClick, j *schemas.Judged) (ip, user schemas.Key128) {
	return c.addrIdentity(raw, j), c.userIdentity(raw)
}

// Decoder is the decoder that the core validates with.
func (c *Core) Decoder() *schemas.Decoder { return c.decoder }

func identity(b []byte) schemas.Key128 {
	sum := sha256.Sum256(b)
	return schemas.Key128(sum[:16])
}

func (c *Core) addrIdentity(raw *schemas.RawClick, j *schemas.Judged) schemas.Key128 {
	if !j.Addr.IsValid() {
		return schemas.Key128{}
	}
	ip := j.Addr.As16()
	c.scratch = append(append(append(c.scratch[:0], 'i'), ip[:]...), raw.AdID...)
	return c.Identity(c.scratch)
}

func (c *Core) userIdentity(raw *schemas.RawClick) schemas.Key128 {
	if len(raw.UserID) == 0 {
		return schemas.Key128{}
	}
	c.scratch = binary.AppendUvarint(append(c.scratch[:0], 'u'), uint64(len(raw.UserID)))
	c.scratch = append(append(c.scratch, raw.UserID...), raw.AdID...)
	return c.Identity(c.scratch)
}
