// Package clicks assembles the one graph that both layers run. The speed layer runs it whole, from
// records off Kafka to rows; the batch layer runs its two halves over bounded slices of the
// archive: first Unique, by click_id, then Bill, by ad. Sources, sinks and the time for which a
// click_id is remembered are all that differs.
package clicks

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/clickledger/clickledger/transforms/aggregate"
	"github.com/clickledger/clickledger/transforms/decode"
	"github.com/clickledger/clickledger/transforms/dedup"
	"github.com/clickledger/clickledger/transforms/invalidtraffic"
	"github.com/clickledger/clickledger/transforms/shardstate"
	"github.com/clickledger/clickledger/transforms/windowing"
)

// Config is the graph's configuration.
type Config struct {
	shardstate.Config
	// Dedup is where the stream keeps the click_ids that it has seen; the zero value is its state.
	Dedup dedup.StoreConfig
	// PublishMillis is the least time between two publications of totals, by the source's clock.
	PublishMillis int64
}

// Output is what the graph gives.
type Output struct {
	// Judged is PCollection<KV<any, schemas.Block>>: every click with its final verdict. It must
	// have one consumer, like Rows: see package handover.
	Judged beam.PCollection
	// Rows is PCollection<schemas.RowBlock>: absolute totals by row.
	Rows beam.PCollection
	// DeadLetters is PCollection<schemas.DeadLetter>; only Stream has it.
	DeadLetters beam.PCollection
}

// Stream is the whole graph, from PCollection<decode.Batch>.
func Stream(s beam.Scope, cfg Config, batches beam.PCollection) Output {
	blocks, deadLetters := decode.Records(s, cfg.Config, batches)
	out := Bill(s, cfg, Unique(s, cfg, dedup.Sliding, blocks))
	out.DeadLetters = deadLetters
	return out
}

// Unique marks duplicates in PCollection<KV<shard, schemas.Block>> sharded by click key.
func Unique(s beam.Scope, cfg Config, mode dedup.Mode, blocks beam.PCollection) beam.PCollection {
	return dedup.ByClickID(s, dedup.Config{Config: cfg.Config, Mode: mode, Store: cfg.Dedup}, blocks)
}

// Bill judges invalid traffic and sums up, from blocks sharded by the (ip, ad) identity.
func Bill(s beam.Scope, cfg Config, unique beam.PCollection) Output {
	judged := invalidtraffic.ByVelocity(s, cfg.Config, unique)
	partials, judged := aggregate.Partials(s, cfg.Config, judged)
	return Output{Judged: judged, Rows: windowing.Minutes(s, cfg.Config, cfg.PublishMillis, partials)}
}
