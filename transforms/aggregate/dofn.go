package aggregate

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/handover"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

func init() {
	register.DoFn4x1[int64, []byte, func(int64, []byte), func(int64, []byte), error](&partialFn{})
	register.Emitter2[int64, []byte]()
}

// Partials is the first stage of the sums.
//
// In: PCollection<KV<any, schemas.Block>> of judged clicks. Out: PCollection<KV<shard,
// schemas.RowBlock>>, sharded by ad, and the judged clicks again: an element is received once.
func Partials(s beam.Scope, cfg shardstate.Config, judged beam.PCollection) (partials, passed beam.PCollection) {
	cfg.Validate()
	return beam.ParDo2(s.Scope("aggregate.Partials"), &partialFn{Config: cfg}, judged)
}

// partialFn sums blocks. Config is configuration.
type partialFn struct {
	Config shardstate.Config

	partial   *Partial
	out, pass handover.Sender
}

func (f *partialFn) Setup() {
	f.partial = NewPartial(f.Config.Shards)
	f.out, f.pass = f.Config.Sender(), f.Config.Sender()
}

func (f *partialFn) ProcessElement(key int64, data []byte, emit, pass func(int64, []byte)) error {
	in, err := handover.Block(data)
	if err != nil {
		return err
	}
	f.partial.Sum(in, func(shard int32, rows *schemas.RowBlock) {
		emit(f.Config.Key(key, shard), f.out.Rows(rows))
	})
	pass(key, f.pass.Again(in, data))
	return nil
}
