// Package aggregate is the first stage of the two-stage sums. Judged clicks come in shards by
// identity, so the clicks of one ad, however popular it is, lie in many shards: the identity is
// the ad's salt. Here each shard sums its clicks by row; the second stage (package windowing)
// adds up the few partial rows of an ad, sharded by the ad itself.
package aggregate

import (
	"encoding/binary"

	"github.com/zeebo/xxh3"

	"github.com/clickledger/clickledger/schemas"
)

// AdShard is the shard of the second stage that owns the rows of an ad.
func AdShard(rowKey []byte, shards int) int {
	return int(xxh3.Hash(schemas.RowKeyAd(rowKey)) % uint64(shards))
}

// Partial sums blocks of judged clicks into partial rows. It keeps memory, not state.
type Partial struct {
	blocks []*schemas.RowBlock
	index  map[string]place
	key    []byte
}

type place struct{ shard, row int32 }

// NewPartial returns a summer towards that many shards of the second stage.
func NewPartial(shards int32) *Partial {
	p := &Partial{blocks: make([]*schemas.RowBlock, shards), index: map[string]place{}}
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
		minute := schemas.MinuteStart(b.EventMillis[i])
		p.key = binary.BigEndian.AppendUint64(p.key[:0], uint64(minute))
		p.key = append(p.key, b.RowKey.At(i)...)
		at, ok := p.index[string(p.key)]
		if !ok {
			at = p.add(minute, b.RowKey.At(i))
			p.index[string(p.key)] = at
		}
		rows := p.blocks[at.shard]
		rows.Raw[at.row]++
		rows.Version[at.row]++
		switch b.Verdict[i] {
		case schemas.Duplicate:
			rows.Duplicates[at.row]++
		case schemas.Invalid:
			rows.Invalid[at.row]++
		default:
			rows.Unique[at.row]++
			rows.SpendMicros[at.row] += b.CostMicros[i]
		}
	}
	for shard, rows := range p.blocks {
		rows.Header = b.Header
		p.blocks[shard] = schemas.NewRowBlock()
		emit(int32(shard), rows)
	}
	clear(p.index)
}

func (p *Partial) add(minute int64, rowKey []byte) place {
	shard := AdShard(rowKey, len(p.blocks))
	rows := p.blocks[shard]
	rows.AppendRow(minute, rowKey, schemas.Sums{})
	return place{shard: int32(shard), row: int32(rows.Len() - 1)}
}
