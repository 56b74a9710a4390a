// Package aggregate is the first stage of the two-stage sums. Judged clicks come in shards by
// identity, so the clicks of one ad, however popular it is, lie in many shards: the identity is
// the ad's salt. Here each shard sums its clicks by row; the second stage (package windowing)
// adds up the few partial rows of an ad, sharded by the ad itself.
package aggregate

import (
	"github.com/zeebo/xxh3"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/rowindex"
)

// AdShard is the shard of the second stage that owns the rows of an ad.
func AdShard(rowKey []byte, shards int) int {
	return int(xxh3.Hash(schemas.RowKeyAd(rowKey)) % uint64(shards))
}

// Partial sums blocks of judged clicks into partial rows. It keeps memory, not state.
type Partial struct {
	blocks []*schemas.RowBlock
	index  []rowindex.Index // by shard
}

// NewPartial returns a summer towards that many shards of the second stage.
func NewPartial(shards int32) *Partial {
	p := &Partial{blocks: make([]*schemas.RowBlock, shards), index: make([]rowindex.Index, shards)}
	for i := range p.blocks {
		p.blocks[i] = schemas.NewRowBlock()
	}
	return p
}

// Sum adds up one block of judged clicks and calls emit once for each shard of the second stage,
// with rows in order of first appearance and the header of the block. Late clicks and clicks
// that are history only count nowhere. Whoever an emitted block goes to owns it.
func (p *Partial) Sum(b *schemas.Block, emit func(shard int32, rows *schemas.RowBlock)) {
	for i := range b.Len() {
		if b.Verdict[i] == schemas.Late || b.Flags[i]&schemas.FlagContext != 0 {
			continue
		}
		key := b.RowKey.At(i)
		shard := AdShard(key, len(p.blocks))
		rows := p.blocks[shard]
		row := p.index[shard].Row(rows, schemas.MinuteStart(b.EventMillis[i]), key)
		rows.Raw[row]++
		rows.Version[row]++
		switch b.Verdict[i] {
		case schemas.Duplicate:
			rows.Duplicates[row]++
		case schemas.Invalid:
			rows.Invalid[row]++
		default:
			rows.Unique[row]++
			rows.SpendMicros[row] += b.CostMicros[i]
		}
	}
	for shard, rows := range p.blocks {
		rows.Header = b.Header
		p.blocks[shard] = schemas.NewRowBlock()
		p.index[shard].Reset()
		emit(int32(shard), rows)
	}
}
