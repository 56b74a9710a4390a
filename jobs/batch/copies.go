package batch

import (
	"context"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/clickledger/clickledger/internal/beamrunner"
	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/pipelines/clicks"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/decode"
	"github.com/clickledger/clickledger/transforms/dedup"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

// The most clicks of one block. On Flink blocks are encoded, and have to fit into its buffers.
const (
	blockClicks      = 16_384
	flinkBlockClicks = 2048
)

func (s *session) blockClicks() int {
	if s.cfg.Runner == Flink {
		return flinkBlockClicks
	}
	return blockClicks
}

// findCopies is pass 1: it leaves the day's duplicates in their buckets.
func (s *session) findCopies(ctx context.Context, conn *duckscan.Conn, graph clicks.Config) error {
	reach, n, err := s.findCandidates(ctx, conn)
	if err != nil || n == 0 {
		return err
	}
	slices := 1 + (n-1)/int64(s.cfg.SliceClicks)
	if s.cfg.Runner == Flink {
		return s.copiesOnFlink(ctx, conn, graph, reach, slices)
	}
	for i := range slices {
		if err := s.dedupSlice(ctx, conn, graph, reach, i, slices); err != nil {
			return fmt.Errorf("dedup slice %d of %d: %w", i+1, slices, err)
		}
		s.progress("dedup", (i+1)*n/slices, n)
	}
	return nil
}

// source is the clicks of the files that may hold times of received_at in the span.
func (s *session) source(received span) string {
	files := s.within(received)
	const columns = `partition, "offset", received_at, event_time, click_id, ad_id, advertiser_id, campaign_id, user_id, ip_address,
		user_agent, device_type, country_code, "timestamp", cost_per_click, cost_micros`
	if len(files) == 0 {
		return "(select " + columns + " from extra)"
	}
	return "(select " + columns + " from " + readParquet(files) + " union all select " + columns + " from extra)"
}

// findCandidates makes the table candidates of the click_ids (by hash) that occur more than once
// among what is judged and the look-back before it, and returns how far back their copies go: a
// copy's verdict hangs on its winner, whose own verdict may hang on a copy before that one.
func (s *session) findCandidates(ctx context.Context, conn *duckscan.Conn) (span, int64, error) {
	reach := span{s.times.received.from - s.times.lookback, s.times.received.to}
	if err := s.need(ctx, reach); err != nil {
		return reach, 0, err
	}
	err := conn.Exec(fmt.Sprintf(`create or replace table candidates as select hash(click_id) as h from %s
		where %s group by 1 having count(*) > 1 and bool_or(%s)`,
		s.source(reach), s.received.within("received_at", reach), s.event.within("event_time", s.times.judged)))
	if err != nil {
		return reach, 0, err
	}
	for {
		earlier := span{reach.from - s.times.lookback - 1, reach.from}
		if err := s.need(ctx, earlier); err != nil {
			return reach, 0, err
		}
		n, err := conn.Int64(ctx, fmt.Sprintf("select count(*)::bigint from %s where %s and hash(click_id) in (select h from candidates)",
			s.source(earlier), s.received.within("received_at", earlier)))
		if err != nil {
			return reach, 0, err
		}
		if n == 0 {
			break
		}
		reach.from = earlier.from
	}
	n, err := conn.Int64(ctx, fmt.Sprintf("select count(*)::bigint from %s where %s and hash(click_id) in (select h from candidates)",
		s.source(reach), s.received.within("received_at", reach)))
	return reach, n, err
}

// readCandidates reads the candidates of one slice, in order of their recording.
func (s *session) readCandidates(ctx context.Context, conn *duckscan.Conn, graph clicks.Config, reach span, part, of int64) (*shardBlocks, error) {
	core, err := decode.NewCore(s.cfg.Policy, graph.Shards)
	if err != nil {
		return nil, err
	}
	blocks := newShardBlocks(int(graph.Shards), s.blockClicks())
	query := fmt.Sprintf(`select %s from %s where %s and hash(click_id) in (select h from candidates) and hash(click_id) %% %d = %d
		order by received_at, partition, "offset"`, clickColumns, s.source(reach), s.received.within("received_at", reach), of, part)
	err = conn.Scan(ctx, query, func(c *duckscan.Chunk) error {
		chunk := newClickChunk(c)
		var raw schemas.RawClick
		for i := range c.Len() {
			pos := chunk.read(i, &raw)
			j, reason := core.Decoder().Validate(&raw, raw.ReceivedAt)
			if reason != "" {
				continue // it does not use up its click_id; pass 2 counts it
			}
			keys := decode.Keys{Click: decode.ClickIdentity(raw.ClickID)}
			shard := keys.Click.Shard(int(graph.Shards))
			core.AddTo(blocks.of(shard), &raw, &j, pos, keys)
			blocks.sealIfFull(shard)
		}
		return nil
	})
	return blocks, err
}

// dedupSlice runs the candidates of one slice through dedup.
func (s *session) dedupSlice(ctx context.Context, conn *duckscan.Conn, graph clicks.Config, reach span, part, of int64) error {
	blocks, err := s.readCandidates(ctx, conn, graph, reach, part, of)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("copies/%d", part)
	graph.RunID = s.cfg.RunID + "/" + name
	defer shardstate.Forget(graph.RunID)
	defer s.openFeed(name, &feed{next: blocks.emit, take: s.takeCopies})()
	p, root := beam.NewPipelineWithRoot()
	unique := clicks.Unique(root, graph, dedup.FromWinner, slice(root, s.cfg.RunID, name))
	beamrunner.Sink(root, &copiesFn{RunID: s.cfg.RunID, Slice: name}, unique)
	_, err = beamrunner.Run(ctx, "clickledger-batch-copies", p)
	return err
}

// takeCopies keeps the duplicates among what is judged, in the bucket of their ad.
func (s *session) takeCopies(b *schemas.Block) error {
	for i := range b.Len() {
		if b.Verdict[i] != schemas.Duplicate || !s.times.judged.holds(b.EventMillis[i]) {
			continue
		}
		c := copyOf{pos: b.Position(i), conflict: b.Flags[i]&schemas.FlagConflict != 0,
			winner: schemas.Position{Partition: b.WinnerPartition[i], Offset: b.WinnerOffset[i]}}
		if err := s.bucketOf(schemas.RowKeyAd(b.RowKey.At(i))).addCopy(c); err != nil {
			return err
		}
	}
	return nil
}

// shardBlocks collects the blocks of one ordered channel, by shard.
type shardBlocks struct {
	limit  int // clicks of one block
	open   []schemas.Block
	sealed [][][]byte
}

func newShardBlocks(shards, limit int) *shardBlocks {
	return &shardBlocks{limit: limit, open: make([]schemas.Block, shards), sealed: make([][][]byte, shards)}
}

func (s *shardBlocks) of(shard int64) *schemas.Block { return &s.open[shard] }

func (s *shardBlocks) sealIfFull(shard int64) {
	if s.open[shard].Len() >= s.limit {
		s.seal(int(shard), schemas.MinWatermark)
	}
}

// seal encodes a shard's open block as the next of its channel.
func (s *shardBlocks) seal(shard int, watermark int64) {
	b, n := &s.open[shard], int64(len(s.sealed[shard]))
	b.Header = schemas.Header{Channels: 1, Prev: n, Next: n + 1, WatermarkMillis: watermark, LogMillis: watermark}
	s.sealed[shard] = append(s.sealed[shard], b.Append(nil))
	b.Reset()
}

// emit ends the channel in every shard and sends all blocks.
func (s *shardBlocks) emit(emit func(shard int64, data []byte)) error {
	for shard := range s.sealed {
		s.seal(shard, schemas.MaxWatermark)
		for _, data := range s.sealed[shard] {
			emit(int64(shard), data)
		}
		s.sealed[shard] = nil
	}
	return nil
}
