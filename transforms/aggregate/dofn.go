package aggregate

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/schemas"
)

func init() {
	register.DoFn3x1[int64, []byte, func(int64, []byte), error](&partialFn{})
	register.Emitter2[int64, []byte]()
}

// Partials is the first stage of the sums.
//
// In: PCollection<KV<any, encoded schemas.Block>> of judged clicks. Out: PCollection<KV<shard,
// encoded schemas.RowBlock>>, sharded by ad.
func Partials(s beam.Scope, shards int32, judged beam.PCollection) beam.PCollection {
	return beam.ParDo(s.Scope("aggregate.Partials"), &partialFn{Shards: shards}, judged)
}

// partialFn sums blocks. Shards is configuration.
type partialFn struct {
	Shards int32

	partial *Partial
	in      schemas.Block
	out     []byte // an emitted block is valid until the next one
}

func (f *partialFn) Setup() { f.partial = NewPartial(f.Shards) }

func (f *partialFn) ProcessElement(_ int64, data []byte, emit func(int64, []byte)) error {
	if err := f.in.Decode(data); err != nil {
		return err
	}
	f.partial.Sum(&f.in, func(shard int32, rows *schemas.RowBlock) {
		f.out = rows.Append(f.out[:0])
		emit(int64(shard), f.out)
	})
	return nil
}
