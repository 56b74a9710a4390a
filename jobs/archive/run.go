package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/schemas"
	"golang.org/x/sync/errgroup"
)

// job is one run.
type job struct {
	cfg      Config
	deps     Deps
	store    objectstore.Store
	client   *kafkaio.Client
	bytesMax int
	encoders chan struct{}

	mu    sync.Mutex
	total Progress
}

// Run archives the log until ctx ends, or up to the end that the log has at the start. The end of ctx
// is no error: what is buffered is written first. After an error, and after a kill, the next run
// continues where the listing ends; nothing is lost or written twice. The totals are those of this
// run.
func Run(ctx context.Context, cfg Config, deps Deps) (Progress, error) {
	if err := cfg.Validate(); err != nil {
		return Progress{}, err
	}
	j := &job{cfg: cfg.withDefaults(), deps: deps.withDefaults(), store: deps.Store, client: deps.Client}
	j.encoders = make(chan struct{}, encodersMax)
	var err error
	if j.store == nil {
		if j.store, err = objectstore.Open(ctx, cfg.Archive); err != nil {
			return Progress{}, err
		}
	}
	if j.client == nil {
		brokers, err := kafkaio.ParseURL(cfg.Log)
		if err != nil {
			return Progress{}, err
		}
		if j.client, err = kafkaio.Connect(ctx, brokers, kafkaio.Options{}); err != nil {
			return Progress{}, err
		}
		defer j.client.Close()
	}
	err = j.run(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.total, err
}

func (j *job) run(ctx context.Context) error {
	lanes, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(lanes)
	started := map[string]int{} // partitions by topic, which are numbered without gaps
	if err := j.startLanes(gctx, g, started); err != nil {
		stopped := ctx.Err() != nil
		cancel()
		if werr := g.Wait(); stopped || (werr != nil && !errors.Is(werr, context.Canceled)) {
			return werr // a lane's error is why, where there is one
		}
		return err
	}
	if !j.cfg.RunUntilEnd {
		g.Go(func() error { return j.watchPartitions(gctx, g, started) })
	}
	return g.Wait()
}

// startLanes starts a lane for every partition that has none yet.
func (j *job) startLanes(ctx context.Context, g *errgroup.Group, started map[string]int) error {
	partitions, lanes := map[string][]int32{}, 0
	for _, topic := range j.cfg.Topics {
		ids, err := j.client.Partitions(ctx, topic)
		if err != nil {
			return err
		}
		slices.Sort(ids)
		partitions[topic] = ids
		lanes += len(ids)
	}
	j.bytesMax = max(j.cfg.MaxBufferedBytes/max(lanes, 1), bufferedBytesMin/4)
	for _, topic := range j.cfg.Topics {
		if started[topic] >= len(partitions[topic]) {
			continue
		}
		f := families[topic]
		files, strays, err := List(ctx, j.store, f.folder)
		if err != nil {
			return err
		}
		if len(strays) > 0 {
			return fmt.Errorf("archive: %s is no file of the archive's layout", j.store.URL(strays[0]))
		}
		have := byPartition(files)
		for _, p := range partitions[topic][started[topic]:] {
			if err := j.startLane(ctx, g, f, p, have[p]); err != nil {
				return err
			}
		}
		started[topic] = len(partitions[topic])
	}
	return nil
}

func (j *job) startLane(ctx context.Context, g *errgroup.Group, f family, partition int32, files []File) error {
	l, err := j.openLane(ctx, f, partition, files)
	if err != nil {
		return err
	}
	end := int64(-1)
	if j.cfg.RunUntilEnd {
		if _, end, err = j.client.Offsets(ctx, f.topic, partition); err != nil {
			return err
		}
	}
	g.Go(func() error { return l.run(ctx, end) })
	return nil
}

// watchPartitions starts lanes for partitions that are added while the job runs.
func (j *job) watchPartitions(ctx context.Context, g *errgroup.Group, started map[string]int) error {
	t := time.NewTicker(partitionsInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := j.startLanes(ctx, g, started); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// encode makes a range's objects, a few ranges at a time.
func (j *job) encode(ctx context.Context, f family, recs []schemas.Record) (objects, error) {
	select {
	case j.encoders <- struct{}{}:
		defer func() { <-j.encoders }()
		return f.encode(j.cfg.Policy, recs)
	case <-ctx.Done():
		return objects{}, ctx.Err()
	}
}

func (j *job) count(p Progress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := &j.total
	t.Records += p.Records
	t.Clicks += p.Clicks
	t.DeadLetters += p.DeadLetters
	t.Decisions += p.Decisions
	t.DLQ += p.DLQ
	t.Undecodable += p.Undecodable
	t.Files += p.Files
	t.Bytes += p.Bytes
	t.TakenOver += p.TakenOver
	j.deps.Progress(*t)
}
