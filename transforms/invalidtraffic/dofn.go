package invalidtraffic

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/handover"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

func init() {
	register.DoFn4x1[state.Provider, int64, []byte, func(int64, []byte), error](&velocityFn{})
	register.Emitter2[int64, []byte]()
}

// ByVelocity judges unique clicks by both velocity rules and turns those that hit any rule, the
// list rules included, into invalid ones.
//
// In: PCollection<KV<shard, schemas.Block>>, sharded by the (ip, ad) identity. Out: the
// same type with the same clicks in order of turn, one channel for each shard by (user, ad).
func ByVelocity(s beam.Scope, cfg shardstate.Config, blocks beam.PCollection) beam.PCollection {
	cfg.Validate()
	s = s.Scope("invalidtraffic.ByVelocity")
	judge := func(s beam.Scope, identity Identity, nextShards int32, in beam.PCollection) beam.PCollection {
		fn := &velocityFn{Config: cfg, Identity: identity, NextShards: nextShards}
		shardstate.NameCells(fn)
		return beam.ParDo(s, fn, in)
	}
	byIP := judge(s.Scope("ip"), ByIP, cfg.Shards, blocks)
	return judge(s.Scope("user"), ByUser, 1, byIP)
}

// velocityFn runs a Core for each shard. Config, Identity and NextShards are configuration.
type velocityFn struct {
	Config     shardstate.Config
	Identity   Identity
	NextShards int32

	Head                                                                   state.Value[[]byte]
	Recent0, Recent1, Recent2, Recent3, Recent4, Recent5, Recent6, Recent7 state.Bag[[]byte]
	Lasting, Inbox                                                         state.Bag[[]byte]
	cells                                                                  shardstate.Cells

	out handover.Sender
}

func (f *velocityFn) Setup() { f.out, f.cells = f.Config.Sender(), shardstate.CellsOf(f) }

func (f *velocityFn) ProcessElement(sp state.Provider, key int64, data []byte, emit func(int64, []byte)) error {
	p, err := f.Config.Policy()
	if err != nil {
		return err
	}
	return shardstate.Step(sp, &f.cells, f.Config, shardstate.Operator("velocity", int(f.Identity)), key, data,
		func() *Core {
			c := NewCore(p, f.Identity, f.Config.Shard(key), f.Config.Shards, f.NextShards)
			c.OwnsBlocks, c.KeepsJournal = true, f.Config.KeepsLog()
			return c
		},
		func(c *Core, data []byte) error {
			in, err := handover.Block(data)
			if err != nil {
				return err
			}
			return c.Apply(in, func(to int32, b *schemas.Block) {
				emit(f.Config.Key(key, to), f.out.Block(b))
			})
		})
}
