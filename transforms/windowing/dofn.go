package windowing

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/handover"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

func init() {
	register.DoFn4x1[state.Provider, int64, []byte, func([]byte), error](&minutesFn{})
	register.Emitter1[[]byte]()
}

// Minutes is the second stage of the sums: totals by row in one-minute windows, published at most
// once in publishMillis of the source's clock.
//
// In: PCollection<KV<shard, schemas.RowBlock>>, sharded by ad. Out: PCollection<schemas.RowBlock>
// of absolute totals.
func Minutes(s beam.Scope, cfg shardstate.Config, publishMillis int64, partials beam.PCollection) beam.PCollection {
	cfg.Validate()
	fn := &minutesFn{Config: cfg, PublishMillis: publishMillis}
	shardstate.NameCells(fn)
	return beam.ParDo(s.Scope("windowing.Minutes"), fn, partials)
}

// minutesFn runs a Core for each shard. Config and PublishMillis are configuration.
type minutesFn struct {
	Config        shardstate.Config
	PublishMillis int64

	Head                                                                   state.Value[[]byte]
	Recent0, Recent1, Recent2, Recent3, Recent4, Recent5, Recent6, Recent7 state.Bag[[]byte]
	Lasting, Inbox                                                         state.Bag[[]byte]
	cells                                                                  shardstate.Cells

	out handover.Sender
}

func (f *minutesFn) Setup() { f.out, f.cells = f.Config.Sender(), shardstate.CellsOf(f) }

func (f *minutesFn) ProcessElement(sp state.Provider, key int64, data []byte, emit func([]byte)) error {
	p, err := f.Config.Policy()
	if err != nil {
		return err
	}
	return shardstate.Step(sp, &f.cells, f.Config, "minutes", key, data,
		func() *Core {
			c := NewCore(p, f.PublishMillis, f.Config.Shard(key), f.Config.Shards)
			c.OwnsBlocks, c.KeepsJournal = true, f.Config.KeepsLog()
			return c
		},
		func(c *Core, data []byte) error {
			in, err := handover.Rows(data)
			if err != nil {
				return err
			}
			return c.Apply(in, func(b *schemas.RowBlock) {
				emit(f.out.Rows(b))
			})
		})
}
