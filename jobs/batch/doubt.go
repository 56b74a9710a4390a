package batch

import (
	"encoding/binary"
	"math/bits"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// doubt finds the clicks that a velocity rule may hit, and sends them through the transforms that
// judge them; all others it sends as settled. An identity can only trip with more unique clicks
// than the rule allows. All clicks of an identity lie in one bucket, so counting them there says
// which may: exactly enough by a hash of the identity, since who shares a counter with others is
// only judged without need.
type doubt struct {
	limit    uint8 // clicks of an identity that never trip any revision's rule
	counters []uint8
}

func newDoubt(p *policy.Policy) *doubt {
	limit := 254
	for i := range p.Revisions {
		limit = min(limit, p.Revisions[i].Velocity.MaxClicks)
	}
	return &doubt{limit: uint8(max(limit, 0))}
}

// count takes in the unique clicks of a bucket of n.
func (d *doubt) count(blocks []*schemas.Block, n int64) {
	size := 1 << bits.Len64(uint64(4*n+1))
	if size > cap(d.counters) {
		d.counters = make([]uint8, size)
	}
	d.counters = d.counters[:size]
	clear(d.counters)
	for _, b := range blocks {
		for i := range b.Verdict {
			if b.Verdict[i] != schemas.Billable {
				continue
			}
			d.raise(&b.IPKey[i])
			d.raise(&b.UserKey[i])
		}
	}
}

func (d *doubt) raise(k *schemas.Key128) {
	if k.IsZero() {
		return
	}
	if c := d.counter(k); *c < 255 {
		*c++
	}
}

func (d *doubt) counter(k *schemas.Key128) *uint8 {
	return &d.counters[binary.LittleEndian.Uint64(k[8:])&uint64(len(d.counters)-1)]
}

func (d *doubt) isOpen(b *schemas.Block, i int) bool {
	return b.Verdict[i] == schemas.Billable &&
		(!b.IPKey[i].IsZero() && *d.counter(&b.IPKey[i]) > d.limit ||
			!b.UserKey[i].IsZero() && *d.counter(&b.UserKey[i]) > d.limit)
}

// take moves the clicks in doubt out of the blocks and into open, by the shard of their (ip, ad)
// identity. What stays behind of them counts nowhere.
func (d *doubt) take(blocks []*schemas.Block, open []*schemas.Block) {
	picks := make([][]schemas.Pick, len(open))
	for source, b := range blocks {
		b.IsSettled = true
		for i := range b.Verdict {
			if d.isOpen(b, i) {
				shard := b.IPKey[i].Shard(len(open))
				picks[shard] = append(picks[shard], schemas.Pick{Source: int32(source), Index: int32(i)})
			}
		}
	}
	for shard := range open {
		open[shard].Gather(blocks, picks[shard], schemas.ForIP|schemas.ForUser)
		for _, p := range picks[shard] {
			blocks[p.Source].Flags[p.Index] |= schemas.FlagContext
		}
	}
}
