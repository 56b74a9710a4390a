package reconcile

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// run is one reconciliation.
type run struct {
	cfg   Config
	deps  Deps
	store objectstore.Store
	dir   string

	batch    *batch.Loaded
	progress serving.Progress
	clicks   []batch.File // those that the batch judged by, near the day
	dead     []batch.File
	decided  []batch.File
	tail     []schemas.ArchiveDecision
	revived  []string // files of clicks that the archive holds as dead letters

	dayStart, dayEnd, cut int64
}

// hasStream reports whether a stream has ever published into the serving store.
func (r *run) hasStream() bool { return r.progress.PolicyHash != "" }

// load reads everything that the comparison needs.
func (r *run) load(ctx context.Context) (err error) {
	date := r.cfg.Date.Format(time.DateOnly)
	if r.batch, err = batch.Load(ctx, r.store, date, r.dir); err != nil {
		return err
	}
	if want := r.cfg.Policy.Hash(); r.batch.Result.PolicyHash != want {
		return fmt.Errorf("the batch of %s judged by policy %s, not by %s: run the batch again", date, r.batch.Result.PolicyHash, want)
	}
	if r.progress, err = r.deps.Serving.LoadProgress(ctx); err != nil {
		return err
	}
	if err := r.loadFiles(ctx); err != nil {
		return err
	}
	if err := r.revive(ctx); err != nil {
		return err
	}
	if err := r.loadTail(ctx); err != nil {
		return err
	}
	r.cut = r.cutMillis()
	return nil
}

// loadFiles lists the files that the batch saw; newer ones belong to the next run.
func (r *run) loadFiles(ctx context.Context) error {
	seen := map[string]bool{}
	for _, in := range r.batch.Inputs {
		seen[in.Key] = true
	}
	reach := r.cfg.Policy
	back := policy.Max(reach, func(v *policy.Revision) time.Duration {
		return v.Dedup.Lookback + v.Velocity.Cooling + v.Velocity.Window + v.MaxEventAhead
	})
	ahead := policy.Max(reach, func(v *policy.Revision) time.Duration { return v.MaxEventAge })
	from, to := r.cfg.Date.Add(-back).UnixMicro(), r.cfg.Date.Add(24*time.Hour+ahead).UnixMicro()
	near := func(f batch.File) bool {
		return seen[f.Key] && f.Rows > 0 && (f.Received == nil || (f.Received.Max >= from && f.Received.Min <= to))
	}
	for folder, list := range map[string]*[]batch.File{"clicks/": &r.clicks, "dead_letters/": &r.dead} {
		all, err := batch.Inputs(ctx, r.store, folder, r.dir)
		if err != nil {
			return err
		}
		for _, f := range all {
			if near(f) {
				*list = append(*list, f)
			}
		}
		if err := batch.Localize(ctx, r.store, *list); err != nil {
			return err
		}
	}
	all, err := batch.Inputs(ctx, r.store, "decisions/", r.dir)
	if err != nil {
		return err
	}
	r.decided = slices.DeleteFunc(all, func(f batch.File) bool { return f.Rows == 0 })
	return batch.Localize(ctx, r.store, r.decided)
}

// loadTail reads the decisions that are in the log and not in the archive.
func (r *run) loadTail(ctx context.Context) error {
	if r.cfg.Log == "" {
		return nil
	}
	brokers, err := kafkaio.ParseURL(r.cfg.Log)
	if err != nil {
		return err
	}
	client, err := kafkaio.Connect(ctx, brokers, kafkaio.Options{})
	if err != nil {
		return err
	}
	defer client.Close()
	files, _, err := archive.List(ctx, r.store, archive.FolderDecisions)
	if err != nil {
		return err
	}
	archived := map[int32]int64{}
	for _, f := range files {
		archived[f.Partition] = max(archived[f.Partition], f.To+1)
	}
	partitions, err := client.Partitions(ctx, schemas.TopicDecisions)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		if err := r.readTail(ctx, client, p, archived[p]); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) readTail(ctx context.Context, client *kafkaio.Client, partition int32, from int64) error {
	first, end, err := client.Offsets(ctx, schemas.TopicDecisions, partition)
	if err != nil {
		return err
	}
	reader := client.OpenPartition(schemas.TopicDecisions, partition, max(from, first))
	for reader.Offset() < end {
		recs, _, err := reader.Fetch(ctx, kafkaio.FetchLimits{MaxWait: time.Second})
		if err != nil {
			return err
		}
		for i := range recs {
			d, err := schemas.DecodeDecision(recs[i].Value)
			if err != nil {
				continue // not ours; the archive counts it
			}
			r.tail = append(r.tail, schemas.ArchiveDecision{LogPartition: partition, LogOffset: recs[i].Offset,
				Partition: d.Partition, Offset: d.Offset, ClickID: d.ClickID, EventTime: d.EventTimeMillis,
				Verdict: d.Verdict.String(), IsLate: d.IsLate, PolicyHash: d.PolicyHash})
		}
	}
	return nil
}

// cutMillis is the minute up to which both layers are complete, at most the end of the day: the
// published watermark, and where the archive is behind the stream, its own. A stream that has ended is
// complete as far as it has read; while the day lasts, more can follow after the minute of its last record.
func (r *run) cutMillis() int64 {
	cut := r.dayEnd
	if r.hasStream() && !r.progress.IsDrained {
		cut = min(cut, r.progress.WatermarkMillis)
	}
	inProgress := !r.hasStream() && r.deps.Now().UnixMilli() < r.dayEnd
	ends := r.archivedEnds()
	if r.progress.IsDrained && r.deps.Now().UnixMilli() < r.dayEnd {
		newest := int64(math.MinInt64)
		for _, end := range ends {
			newest = max(newest, end.millis)
		}
		cut = min(cut, max(newest, r.dayStart-schemas.MinuteMillis)+schemas.MinuteMillis)
	}
	for p, end := range ends {
		if next := r.progress.NextOffsets[p]; next > end.offset || inProgress {
			cut = min(cut, end.millis-r.cfg.Policy.At(end.millis).AllowedSkew.Milliseconds())
		}
	}
	for p, next := range r.progress.NextOffsets {
		if _, ok := ends[p]; !ok && next > 0 {
			cut = min(cut, r.dayStart) // nothing of the partition is archived yet
		}
	}
	return max(schemas.MinuteStart(cut), r.dayStart)
}

// archivedEnd is how far a partition's archive goes.
type archivedEnd struct{ offset, millis int64 }

func (r *run) archivedEnds() map[int32]archivedEnd {
	ends := map[int32]archivedEnd{}
	for _, in := range r.batch.Inputs {
		folder, f, ok := archive.ParseKey(in.Key)
		if !ok || folder != archive.FolderClicks {
			continue
		}
		e, known := ends[f.Partition]
		if !known {
			e.millis = math.MinInt64
		}
		e.offset = max(e.offset, f.To+1)
		ends[f.Partition] = e
	}
	for _, f := range append(slices.Clone(r.clicks), r.dead...) {
		if _, key, ok := archive.ParseKey(f.Key); ok && f.Received != nil {
			e := ends[key.Partition]
			e.millis = max(e.millis, f.Received.Max/1000)
			ends[key.Partition] = e
		}
	}
	return ends
}

func paths(files []batch.File) []string {
	list := make([]string, len(files))
	for i, f := range files {
		list[i] = f.Path
	}
	return list
}

// clickPaths are the files of all clicks, those that were dead letters once included.
func (r *run) clickPaths() []string { return append(paths(r.clicks), r.revived...) }

func (r *run) temp(name string) string { return filepath.Join(r.dir, name) }
