package flinkrunner

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/reflectx"
)

// ticksURN is a source of Beam's Flink runner alone.
const ticksURN = "flink:transform:streaming_impulse:v1"

// Ticks is PCollection<[]byte>, an empty element every interval from each parallel instance,
// without end. A source for Flink polls on them: the ticks are keyed by partition, and a stateful
// DoFn holds in a Value cell where its partition goes on. It polls once a bundle and drops further
// ticks: where polls are slower than ticks they pile up, and checkpoints would wait for them.
//
// It is here because a splittable DoFn must not be used for that: each time that it comes back with
// ResumeProcessingIn, the runner (2.70.0; fixed later, beam #27648) keeps the rest in a state of a new name, in RocksDB a new
// column family, and never lets go of it. Checkpoints grow, polls become slower, and a restore takes ever longer.
func Ticks(s beam.Scope, interval time.Duration) beam.PCollection {
	s = s.Scope("flinkrunner.Ticks")
	if interval < time.Millisecond {
		panic(fmt.Sprintf("flinkrunner: an interval of %s between ticks", interval))
	}
	payload, err := json.Marshal(map[string]int64{"interval_ms": interval.Milliseconds(), "message_count": 0})
	if err != nil {
		panic(err)
	}
	return beam.External(s, ticksURN, payload, nil, []beam.FullType{typex.New(reflectx.ByteSlice)}, false)[0]
}
