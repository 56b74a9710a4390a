package batch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/pipelines/clicks"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/dedup"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

// Folders of the exchange: what goes into the two passes, and what comes out of them.
const (
	candidatesFolder = "candidates"
	copiesFolder     = "copies"
	uniqueFolder     = "unique"
	decisionsFolder  = "decisions"
	rowsFolder       = "rows"
)

// sliceWriter puts the blocks of slices into the exchange. Several slices may be written at once.
type sliceWriter struct {
	mu      sync.Mutex
	out     *records
	objects *int64
	shards  int64
}

func (s *session) newSliceWriter(folder string) *sliceWriter {
	out, objects := s.exchange.inputs(s.shared, folder)
	return &sliceWriter{out: out, objects: objects, shards: int64(s.cfg.Shards)}
}

// write takes all blocks of a slice; each emits them.
func (w *sliceWriter) write(ctx context.Context, slice int64, each func(emit func(shard int64, data []byte)) error) error {
	var failure error
	err := each(func(shard int64, data []byte) {
		if failure != nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		failure = w.out.add(ctx, slice*w.shards+shard, data)
	})
	if err == nil {
		err = failure
	}
	return err
}

// copiesOnFlink is pass 1 with all slices in one job.
func (s *session) copiesOnFlink(ctx context.Context, conn *duckscan.Conn, graph clicks.Config, reach span, slices int64) error {
	w := s.newSliceWriter(candidatesFolder)
	for i := range slices {
		blocks, err := s.readCandidates(ctx, conn, graph, reach, i, slices)
		if err == nil {
			err = w.write(ctx, i, blocks.emit)
		}
		if err != nil {
			return fmt.Errorf("write dedup slice %d of %d: %w", i+1, slices, err)
		}
	}
	if err := w.out.flush(ctx); err != nil {
		return err
	}
	graph.RunID = s.cfg.RunID + "/copies"
	defer shardstate.Forget(graph.RunID)
	p, root := beam.NewPipelineWithRoot()
	unique := clicks.Unique(root, graph, dedup.FromWinner, read(root, s.exchange, candidatesFolder, *w.objects))
	beam.ParDo0(root.Scope("batch.Copies"), &decidedFn{Exchange: s.exchange, Folder: copiesFolder,
		FromMillis: s.times.judged.from, ToMillis: s.times.judged.to}, unique)
	if err := s.onFlink(ctx, p); err != nil {
		return fmt.Errorf("find copies: %w", err)
	}
	return s.exchange.collect(ctx, s.shared, copiesFolder, func(data []byte) error {
		b, err := schemas.DecodeBlock(data)
		if err != nil {
			return err
		}
		return s.takeCopies(b)
	})
}

// billOnFlink is the second half of pass 2 with all slices, which the writer has, in one job.
func (s *session) billOnFlink(ctx context.Context, graph clicks.Config, w *sliceWriter) error {
	if err := w.out.flush(ctx); err != nil || *w.objects == 0 {
		return err
	}
	graph.RunID = s.cfg.RunID + "/bill"
	defer shardstate.Forget(graph.RunID)
	p, root := beam.NewPipelineWithRoot()
	out := clicks.Bill(root, graph, read(root, s.exchange, uniqueFolder, *w.objects))
	scope := root.Scope("batch.Write")
	beam.ParDo0(scope, &decidedFn{Exchange: s.exchange, Folder: decisionsFolder,
		FromMillis: s.times.day.from, ToMillis: s.times.day.to}, out.Judged)
	beam.ParDo0(scope, &totalsFn{Exchange: s.exchange, Folder: rowsFolder}, out.Rows)
	if err := s.onFlink(ctx, p); err != nil {
		return fmt.Errorf("bill: %w", err)
	}
	if err := s.collectBilled(ctx); err != nil {
		return err
	}
	return s.settle(ctx)
}

// collectBilled fills the output from what the workers have written.
func (s *session) collectBilled(ctx context.Context) error {
	err := s.exchange.collect(ctx, s.shared, decisionsFolder, func(data []byte) error {
		b, err := schemas.DecodeBlock(data)
		for i := 0; err == nil && i < b.Len(); i++ {
			err = s.out.decision(b, i)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = s.exchange.collect(ctx, s.shared, rowsFolder, func(data []byte) error {
		b := schemas.NewRowBlock()
		defer b.Free()
		if err := b.Decode(data); err != nil {
			return err
		}
		return s.out.rows(b)
	})
	if err != nil {
		return err
	}
	return s.out.closeAppenders()
}

// settle drops what came twice because a bundle ran again, and counts the verdicts. A row is a total
// and a decision belongs to a position, so what came twice is equal; were it not, the sums would be too high.
func (s *session) settle(ctx context.Context) error {
	for isAgain := false; ; isAgain = true {
		missing, err := s.out.conn.Int64(ctx, fmt.Sprintf(`select ((select coalesce(sum(raw_clicks), 0) from minutes) - %d)::bigint`, s.dayClicks.Load()))
		if err != nil {
			return err
		}
		undecided, err := s.out.conn.Int64(ctx, `select ((select coalesce(sum(raw_clicks - unique_clicks), 0) from minutes)
			- (select count(*) from decisions))::bigint`)
		switch {
		case err != nil:
			return err
		case missing == 0 && undecided == 0:
			return s.count(ctx)
		case isAgain:
			return fmt.Errorf("conservation: the rows hold %+d clicks more than were read, and %+d more without a bill than there are decisions",
				missing, undecided)
		}
		for _, table := range []string{"minutes", "decisions"} {
			if err := s.out.conn.Exec("create or replace table " + table + " as select distinct * from " + table); err != nil {
				return err
			}
		}
	}
}

// count fills the counts of the session from the tables.
func (s *session) count(ctx context.Context) error {
	const decided = "select count(*)::bigint from decisions where "
	type figure struct {
		to    *atomic.Int64
		query string
	}
	figures := []figure{
		{&s.verdicts[schemas.Billable], "select coalesce(sum(unique_clicks), 0)::bigint from minutes"},
		{&s.verdicts[schemas.Duplicate], decided + "verdict = '" + schemas.Duplicate.String() + "'"},
		{&s.verdicts[schemas.Invalid], decided + "verdict = '" + schemas.Invalid.String() + "'"},
		{&s.conflict, decided + "is_conflict and verdict = '" + schemas.Duplicate.String() + "'"},
		{&s.spend, "select coalesce(sum(spend_micros), 0)::bigint from minutes"},
	}
	for rule := range schemas.RuleNames {
		figures = append(figures, figure{&s.byRule[rule], decided + fmt.Sprintf("rules & %d != 0 and verdict = '%s'", 1<<rule, schemas.Invalid)})
	}
	for _, f := range figures {
		n, err := s.out.conn.Int64(ctx, f.query)
		if err != nil {
			return err
		}
		f.to.Store(n)
	}
	n, err := s.out.conn.Int64(ctx, "select count(*)::bigint from minutes")
	s.out.rowCount = n
	return err
}
