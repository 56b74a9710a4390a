package decode

import (
	"encoding/json"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/handover"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

func init() {
	beam.RegisterCoder(reflect.TypeFor[Batch](), encodeBatch, decodeBatch)
	beam.RegisterCoder(reflect.TypeFor[schemas.DeadLetter](), encodeDeadLetter, decodeDeadLetter)
	register.DoFn3x1[Batch, func(int64, []byte), func(schemas.DeadLetter), error](&decodeFn{})
	register.Emitter2[int64, []byte]()
	register.Emitter1[schemas.DeadLetter]()
}

// A source and decodeFn run fused, so these coders only matter where a runner parts them.
func encodeBatch(b Batch) ([]byte, error)    { return json.Marshal(b) }
func decodeBatch(data []byte) (Batch, error) { var b Batch; return b, json.Unmarshal(data, &b) }

func encodeDeadLetter(d schemas.DeadLetter) ([]byte, error) { return json.Marshal(d) }
func decodeDeadLetter(data []byte) (schemas.DeadLetter, error) {
	var d schemas.DeadLetter
	return d, json.Unmarshal(data, &d)
}

// Records decodes and validates.
//
// In: PCollection<Batch>. Out: PCollection<KV<shard, schemas.Block>>, sharded by click
// key, and PCollection<schemas.DeadLetter>.
func Records(s beam.Scope, cfg shardstate.Config, batches beam.PCollection) (blocks, deadLetters beam.PCollection) {
	cfg.Validate()
	return beam.ParDo2(s.Scope("decode.Records"), &decodeFn{Config: cfg}, batches)
}

// decodeFn runs a Core. Config is configuration.
type decodeFn struct {
	Config shardstate.Config

	core *Core
	out  handover.Sender
}

func (f *decodeFn) Setup() error {
	p, err := f.Config.Policy()
	if err != nil {
		return err
	}
	f.out = f.Config.Sender()
	if f.core, err = NewCore(p, f.Config.Shards); err == nil {
		f.core.KeepsRecords = f.Config.InMemory
	}
	return err
}

func (f *decodeFn) ProcessElement(batch Batch, emit func(int64, []byte), dead func(schemas.DeadLetter)) error {
	f.core.Split(&batch, dead, func(shard int32, b *schemas.Block) {
		emit(f.Config.Key(0, shard), f.out.Block(b))
	})
	return nil
}
