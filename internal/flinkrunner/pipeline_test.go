package flinkrunner

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
)

func init() {
	beam.RegisterType(beamType[place]())
	register.DoFn4x2[context.Context, *sdf.LockRTracker, int64, func(int64, []byte), sdf.ProcessContinuation, error](&sourceFn{})
	register.DoFn2x0[[]byte, func(int64, int64)](&tickFn{})
	register.DoFn4x1[state.Provider, int64, int64, func(int64, []byte), error](&pollFn{})
	register.DoFn5x1[context.Context, state.Provider, int64, []byte, func([]byte), error](&sumFn{})
	register.Emitter2[int64, int64]()
	register.DoFn1x1[[]byte, error](&rowFn{})
	register.Emitter2[int64, []byte]()
	register.Emitter1[[]byte]()
}

// job is the test's pipeline: partitions of a numbered log, blocks by shard, sums kept in state as
// the product keeps its own, absolute rows in files.
type job struct {
	Run        string
	Dir        string
	Partitions int64
	Records    int64 // of each partition
	Block      int64 // records of a poll
	PauseMs    int64 // between polls
	// IsSplittable takes a splittable DoFn as source, as prism has one; see Ticks.
	IsSplittable bool
}

const shards = 4

func (j job) pipeline() *beam.Pipeline {
	p, s := beam.NewPipelineWithRoot()
	var blocks beam.PCollection
	if j.IsSplittable {
		ids := make([]int64, j.Partitions)
		for i := range ids {
			ids[i] = int64(i)
		}
		blocks = beam.ParDo(s, &sourceFn{Job: j}, beam.Reshuffle(s, beam.CreateList(s, ids)))
	} else {
		polls := beam.ParDo(s, &tickFn{Job: j}, Ticks(s, time.Duration(j.PauseMs)*time.Millisecond))
		blocks = beam.ParDo(s, &pollFn{Job: j, Place: state.MakeValueState[[]byte]("place")}, polls)
	}
	rows := beam.ParDo(s, &sumFn{Job: j, Token: state.MakeValueState[[]byte]("token"), Log: state.MakeBagState[[]byte]("log")}, blocks)
	beam.ParDo0(s, &rowFn{Job: j}, rows)
	return p
}

// value is the content of a record, and shardOf where it belongs.
func value(partition, offset int64) int64 {
	h := uint64(partition)<<48 ^ uint64(offset)*0x9E3779B97F4A7C15
	h ^= h >> 29
	h *= 0xBF58476D1CE4E5B9
	return int64(h >> 40)
}

func shardOf(partition, offset int64) int64 { return value(partition, offset) % shards }

// want is what the rows of a finished job must say, worked out without a pipeline.
func (j job) want() []row {
	rows := make([]row, shards)
	for s := range rows {
		rows[s].Shard = int64(s)
	}
	for p := range j.Partitions {
		for o := range j.Records {
			r := &rows[shardOf(p, o)]
			r.Count++
			r.Sum += value(p, o)
		}
	}
	return rows
}

// place is a restriction that holds more than offsets: what the source knows of its partition goes
// with it through checkpoints.
type place struct {
	Next, End int64
	// LogMillis stands for the partition's log time and watermark; here, the sum of all offsets.
	LogMillis int64
}

// placeTracker claims whole polls.
type placeTracker struct {
	rest   place
	isDone bool
	err    error
}

func (t *placeTracker) TryClaim(pos any) bool {
	claimed, ok := pos.(place)
	if !ok || t.isDone || claimed.Next < t.rest.Next {
		t.err = fmt.Errorf("claim of %+v in %+v", pos, t.rest)
		return false
	}
	t.rest.Next, t.rest.LogMillis = claimed.Next, claimed.LogMillis
	return true
}
func (t *placeTracker) GetError() error { return t.err }
func (t *placeTracker) TrySplit(fraction float64) (primary, residual any, err error) {
	if fraction > 0 || t.isDone {
		return t.rest, nil, nil // one partition is one ordered channel
	}
	rest := t.rest
	t.rest.End, t.isDone = t.rest.Next, true
	return t.rest, rest, nil
}
func (t *placeTracker) GetProgress() (done, remaining float64) { return float64(t.rest.Next), 1 }
func (t *placeTracker) IsDone() bool                           { return t.isDone || t.rest.Next >= t.rest.End }
func (t *placeTracker) GetRestriction() any                    { return t.rest }
func (t *placeTracker) IsBounded() bool                        { return false }

// sourceFn reads a partition. Job is configuration.
type sourceFn struct{ Job job }

func (*sourceFn) CreateInitialRestriction(int64) place { return place{End: math.MaxInt64} }
func (*sourceFn) SplitRestriction(_ int64, r place) []place {
	return []place{r}
}
func (*sourceFn) RestrictionSize(int64, place) float64 { return 1 }
func (*sourceFn) CreateTracker(r place) *sdf.LockRTracker {
	return sdf.NewLockRTracker(&placeTracker{rest: r})
}

func (*sourceFn) TruncateRestriction(rt *sdf.LockRTracker, _ int64) place {
	r := rt.GetRestriction().(place)
	r.End = r.Next
	return r
}

func (f *sourceFn) ProcessElement(_ context.Context, rt *sdf.LockRTracker, partition int64, emit func(int64, []byte)) (sdf.ProcessContinuation, error) {
	r := rt.GetRestriction().(place)
	if r.LogMillis != r.Next*(r.Next-1)/2 {
		return sdf.StopProcessing(), fmt.Errorf("partition %d came back as %+v", partition, r)
	}
	next, blocks := f.Job.poll(partition, r)
	if !rt.TryClaim(next) {
		return sdf.StopProcessing(), nil
	}
	for s, b := range blocks {
		emit(int64(s), b)
	}
	return sdf.ResumeProcessingIn(time.Duration(f.Job.PauseMs) * time.Millisecond), nil
}

// poll reads a partition from a place on, and returns the next place and a block for each shard.
func (j job) poll(partition int64, from place) (place, [][]byte) {
	next := place{Next: min(from.Next+j.Block, j.Records), End: from.End, LogMillis: from.LogMillis}
	blocks := make([][]byte, shards)
	for s := range blocks {
		blocks[s] = binary.BigEndian.AppendUint64(blocks[s], uint64(partition))
		blocks[s] = binary.BigEndian.AppendUint64(blocks[s], uint64(from.Next))
		blocks[s] = binary.BigEndian.AppendUint64(blocks[s], uint64(next.Next))
	}
	for o := from.Next; o < next.Next; o++ {
		s := shardOf(partition, o)
		blocks[s] = binary.BigEndian.AppendUint64(blocks[s], uint64(value(partition, o)))
		next.LogMillis += o
	}
	return next, blocks
}

// tickFn makes of each tick a poll of every partition. Job is configuration.
type tickFn struct{ Job job }

func (f *tickFn) ProcessElement(_ []byte, emit func(int64, int64)) {
	for p := range f.Job.Partitions {
		emit(p, 0)
	}
}

// pollFn is the source on Flink: where a partition goes on is keyed state. Job is configuration.
type pollFn struct {
	Job   job
	Place state.Value[[]byte]

	polled map[int64]bool
}

func (f *pollFn) StartBundle(func(int64, []byte)) { f.polled = map[int64]bool{} }

func (f *pollFn) ProcessElement(sp state.Provider, partition, _ int64, emit func(int64, []byte)) error {
	if f.polled[partition] {
		return nil // of ticks that have piled up, one a bundle counts
	}
	f.polled[partition] = true
	text, exists, err := f.Place.Read(sp)
	if err != nil {
		return err
	}
	from := place{End: math.MaxInt64}
	if exists {
		if err := json.Unmarshal(text, &from); err != nil {
			return err
		}
	}
	next, blocks := f.Job.poll(partition, from)
	if text, err = json.Marshal(next); err != nil {
		return err
	}
	if err := f.Place.Write(sp, text); err != nil {
		return err
	}
	for s, b := range blocks {
		emit(int64(s), b)
	}
	return nil
}

// row is a shard's absolute total.
type row struct {
	Shard, Count, Sum int64
	// Gaps is how often a block did not follow the one before it: a record lost or seen twice.
	Gaps int64
	// Rebuilds is how often the core was read back from state; not part of the result.
	Rebuilds int64
	PID      int
}

// core is what a shard has come to.
type core struct {
	mu    sync.Mutex
	token []byte
	row   row
	next  map[int64]int64 // by partition
	log   int             // segments of it
}

// cores are those of this process; see transforms/shardstate, which does the same in earnest.
var cores sync.Map

var blockCount = beam.NewCounter("flinkrunner", "blocks")

// sumFn sums up by shard. Job is configuration.
type sumFn struct {
	Job   job
	Token state.Value[[]byte]
	Log   state.Bag[[]byte]
}

func (f *sumFn) ProcessElement(ctx context.Context, sp state.Provider, shard int64, block []byte, emit func([]byte)) error {
	token, _, err := f.Token.Read(sp)
	if err != nil {
		return err
	}
	found, _ := cores.LoadOrStore(fmt.Sprint(f.Job.Run, "/", shard), &core{})
	c := found.(*core)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil || !bytes.Equal(token, c.token) {
		segments, _, err := f.Log.Read(sp)
		if err != nil {
			return err
		}
		c.rebuild(shard, segments)
	}
	c.apply(block)
	blockCount.Inc(ctx, 1)
	if c.log++; c.log > 50 {
		if err := f.Log.Clear(sp); err != nil {
			return err
		}
		saved, err := json.Marshal(saved{c.row, c.next})
		if err != nil {
			return err
		}
		block, c.log = append([]byte{'{'}, saved...), 0
	}
	if err := f.Log.Add(sp, block); err != nil {
		return err
	}
	c.token = make([]byte, 16)
	_, _ = rand.Read(c.token)
	if err := f.Token.Write(sp, c.token); err != nil {
		return err
	}
	c.row.PID = os.Getpid()
	text, err := json.Marshal(c.row)
	if err != nil {
		return err
	}
	emit(text)
	return nil
}

type saved struct {
	Row  row
	Next map[int64]int64
}

func (c *core) rebuild(shard int64, segments [][]byte) {
	c.row = row{Shard: shard, Rebuilds: c.row.Rebuilds + 1}
	c.next, c.log = map[int64]int64{}, len(segments)
	for _, s := range segments {
		if s[0] == '{' {
			var was saved
			if err := json.Unmarshal(s[1:], &was); err != nil {
				panic(err)
			}
			was.Row.Rebuilds = c.row.Rebuilds
			c.row, c.next = was.Row, was.Next
		}
	}
	for _, s := range segments {
		if s[0] != '{' {
			c.apply(s)
		}
	}
}

func (c *core) apply(block []byte) {
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(block[8*i:])) }
	if at(1) != c.next[at(0)] {
		c.row.Gaps++
	}
	c.next[at(0)] = at(2)
	for i := 3; 8*i < len(block); i++ {
		c.row.Count++
		c.row.Sum += at(i)
	}
}

// rowFn writes rows to files, the newest version of each: a replay writes old ones again. Job is
// configuration.
type rowFn struct{ Job job }

func (f *rowFn) ProcessElement(text []byte) error {
	var r row
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	if old, err := readRow(f.Job.Dir, r.Shard); err == nil && old.Count > r.Count {
		return nil
	}
	name := filepath.Join(f.Job.Dir, fmt.Sprintf("row-%d.json", r.Shard))
	if err := os.WriteFile(fmt.Sprintf("%s.%d", name, os.Getpid()), text, 0o600); err != nil {
		return err
	}
	return os.Rename(fmt.Sprintf("%s.%d", name, os.Getpid()), name)
}

func readRow(dir string, shard int64) (row, error) {
	var r row
	text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("row-%d.json", shard)))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// rows reads all rows; those that are not there yet are zero.
func (j job) rows() ([]row, error) {
	rows := make([]row, shards)
	for s := range rows {
		r, err := readRow(j.Dir, int64(s))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		rows[s] = r
	}
	return rows, nil
}

// count is how many records the rows hold.
func count(rows []row) (n int64) {
	for _, r := range rows {
		n += r.Count
	}
	return n
}

// results are rows without what is not part of the result.
func results(rows []row) []row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Rebuilds, rows[i].PID = 0, 0
	}
	return rows
}
