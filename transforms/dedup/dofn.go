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

// Config is the operator's configuration.
type Config struct {
	shardstate.Config
	Mode Mode
	// Store keeps the click_ids outside of this process; the zero value keeps them in state.
	Store StoreConfig
}

// ByClickID marks duplicates.
//
// In: PCollection<KV<shard, schemas.Block>>, sharded by click key. Out: the same type with
// the same clicks, sharded by the (ip, ad) identity.
func ByClickID(s beam.Scope, cfg Config, blocks beam.PCollection) beam.PCollection {
	cfg.Validate()
	if cfg.Store.URL != "" && cfg.Mode != Sliding {
		panic("dedup: a store remembers as the stream does")
	}
	s = s.Scope("dedup.ByClickID")
	fn := &dedupFn{Config: cfg.Config, Mode: cfg.Mode, Store: cfg.Store}
	shardstate.NameCells(fn)
	return beam.ParDo(s, fn, blocks)
}

// dedupFn runs a Core for each shard. Config, Mode and Store are configuration.
type dedupFn struct {
	Config shardstate.Config
	Mode   Mode
	Store  StoreConfig

	Head                                                                   state.Value[[]byte]
	Recent0, Recent1, Recent2, Recent3, Recent4, Recent5, Recent6, Recent7 state.Bag[[]byte]
	Lasting, Inbox                                                         state.Bag[[]byte]
	cells                                                                  shardstate.Cells

	out    handover.Sender
	stores func(shard int32) Store // nil without a store
}

func (f *dedupFn) Setup() (err error) {
	f.out, f.cells = f.Config.Sender(), shardstate.CellsOf(f)
	if f.Store.URL != "" {
		f.stores, err = openStores(f.Store)
	}
	return err
}

func (f *dedupFn) ProcessElement(sp state.Provider, key int64, data []byte, emit func(int64, []byte)) error {
	p, err := f.Config.Policy()
	if err != nil {
		return err
	}
	return shardstate.Step(sp, &f.cells, f.Config, "dedup", key, data,
		func() *Core {
			c := NewCore(p, f.Mode, f.Config.Shard(key), f.Config.Shards)
			c.OwnsBlocks, c.KeepsJournal = true, f.Config.KeepsLog()
			if f.stores != nil {
				c.UseStore(f.stores(f.Config.Shard(key)), f.Store.KeepsState)
			}
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
