package dedup

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/handover"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

func init() {
	register.DoFn4x1[state.Provider, int64, []byte, func(int64, []byte), error](&dedupFn{})
	register.Emitter2[int64, []byte]()
}

// ByClickID marks duplicates.
//
// In: PCollection<KV<shard, encoded schemas.Block>>, sharded by click key. Out: the same type with
// the same clicks, sharded by the (ip, ad) identity.
func ByClickID(s beam.Scope, cfg shardstate.Config, mode Mode, blocks beam.PCollection) beam.PCollection {
	cfg.Validate()
	s = s.Scope("dedup.ByClickID")
	return beam.ParDo(s, &dedupFn{Config: cfg, Mode: mode,
		Token: state.MakeValueState[[]byte]("token"), Log: state.MakeBagState[[]byte]("log")}, blocks)
}

// dedupFn runs a Core for each shard. Config and Mode are configuration.
type dedupFn struct {
	Config shardstate.Config
	Mode   Mode

	Token state.Value[[]byte]
	Log   state.Bag[[]byte]

	out handover.Sender
}

func (f *dedupFn) Setup() { f.out = f.Config.Sender() }

func (f *dedupFn) ProcessElement(sp state.Provider, shard int64, data []byte, emit func(int64, []byte)) error {
	p, err := f.Config.Policy()
	if err != nil {
		return err
	}
	return shardstate.Step(sp, f.Token, f.Log, f.Config, "dedup", shard, data,
		func() *Core {
			c := NewCore(p, f.Mode, int32(shard), f.Config.Shards)
			c.OwnsBlocks = true
			return c
		},
		func(c *Core, data []byte, live bool) error {
			in, err := handover.Block(data)
			if err != nil {
				return err
			}
			return c.Apply(in, func(to int32, b *schemas.Block) {
				if live {
					emit(int64(to), f.out.Block(b))
				}
			})
		})
}
