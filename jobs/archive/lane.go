package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/schemas"
)

// recordOverhead is what a buffered record takes beside its key and value, bytes.
const recordOverhead = 96

// lane archives one partition of one topic. It is for one goroutine.
type lane struct {
	job       *job
	family    family
	partition int32
	reader    *kafkaio.Reader
	bytesMax  int

	next   int64  // first offset that is not archived
	later  []File // files beyond a gap in the listing, in offset order
	hour   Hour   // of the highest record time so far
	recs   []schemas.Record
	bytes  int
	since  time.Time // when the first of recs came
	target *claim    // another archiver's, of the range at next: it ends where that says
}

// openLane finds where the listing says that the partition continues.
func (j *job) openLane(ctx context.Context, f family, partition int32, files []File) (*lane, error) {
	l := &lane{job: j, family: f, partition: partition, bytesMax: j.bytesMax}
	first, end, err := j.client.Offsets(ctx, f.topic, partition)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		if l.next, err = putFirst(ctx, j.store, f.folder, partition, first); err != nil {
			return nil, err
		}
	} else {
		l.next, l.later = files[0].From, files
		if err := l.skipArchived(); err != nil {
			return nil, err
		}
	}
	if l.next < first {
		return nil, fmt.Errorf("%s: %s/%d begins at offset %d now, but the archive needs %d: records were deleted unarchived",
			j.client.URL(), f.topic, partition, first, l.next)
	}
	if len(files) > 0 && files[len(files)-1].To >= end {
		return nil, fmt.Errorf("%s: %s/%d ends at offset %d, but the archive holds offset %d already: %w",
			j.client.URL(), f.topic, partition, end, files[len(files)-1].To, ErrOtherLog)
	}
	if len(files) > 0 && f.topic == schemas.TopicClicks {
		if err := belongs(ctx, j.store, j.client, files, first, end); err != nil {
			return nil, err
		}
	}
	open := j.client.OpenPartition
	if f.hasTails {
		open = j.client.OpenPartitionTails
	}
	l.reader = open(f.topic, partition, l.next)
	return l, nil
}

// skipArchived moves next over the files that begin there. Files that overlap are an error: nothing
// could be added to them that counts every record once.
func (l *lane) skipArchived() error {
	for len(l.later) > 0 && l.later[0].From <= l.next {
		f := l.later[0]
		if f.From < l.next {
			return fmt.Errorf("archive: %s overlaps offset %d that is archived already",
				l.job.store.URL(f.Key(l.family.folder)), l.next-1)
		}
		l.next, l.hour, l.later = f.To+1, max(l.hour, f.Hour), l.later[1:]
	}
	return nil
}

// limit is the last offset of the gap before the files that are there already.
func (l *lane) limit() int64 {
	if len(l.later) > 0 {
		return l.later[0].From - 1
	}
	return math.MaxInt64
}

// run archives until the offset end, or until ctx ends where end is negative.
func (l *lane) run(ctx context.Context, end int64) error {
	for end < 0 || l.next < end {
		err := l.step(ctx, end)
		if ctx.Err() != nil {
			return l.finish(ctx) // whatever went wrong after that is what ctx's end did
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// step fetches once and writes what that completes.
func (l *lane) step(ctx context.Context, end int64) error {
	recs, high, err := l.reader.Fetch(ctx, kafkaio.FetchLimits{
		MaxWait: l.wait(end), MaxBytes: min(kafkaio.DefaultFetchBytes, l.bytesMax),
	})
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if err := l.add(ctx, rec); err != nil {
			return err
		}
	}
	if err := l.tick(ctx, end); err != nil {
		return err
	}
	if end >= 0 && l.target != nil && len(recs) == 0 && l.reader.Offset() >= high {
		return fmt.Errorf("archive: range %s of %s is claimed, but the log %s ends at offset %d",
			l.target.Range, l.family.topic, l.job.client.URL(), high)
	}
	return nil
}

// finish writes what is buffered when the job is told to stop.
func (l *lane) finish(ctx context.Context) error {
	if len(l.recs) == 0 || l.target != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalFlushTimeout)
	defer cancel()
	return l.flush(ctx, l.recs[len(l.recs)-1].Offset)
}

// wait is how long the broker may keep the next fetch waiting.
func (l *lane) wait(end int64) time.Duration {
	if end >= 0 {
		return fetchWait / 10
	}
	if len(l.recs) == 0 {
		return fetchWait
	}
	left := l.job.cfg.FlushInterval - l.job.deps.Now().Sub(l.since)
	return min(max(left, time.Millisecond), fetchWait)
}

// add buffers one record and writes what it completes.
func (l *lane) add(ctx context.Context, rec schemas.Record) error {
	if rec.Offset < l.next {
		return nil // read again after a gap was closed
	}
	hour := max(l.hour, hourOf(rec.TimestampMicros))
	switch {
	case rec.Offset > l.limit():
		if err := l.flush(ctx, l.limit()); err != nil {
			return err
		}
		if err := l.skipArchived(); err != nil {
			return err
		}
		if rec.Offset < l.next {
			l.hour = max(l.hour, hour)
			return nil
		}
	case l.target != nil && rec.Offset > l.target.To, l.target == nil && hour > l.hour && len(l.recs) > 0:
		if err := l.flush(ctx, rec.Offset-1); err != nil {
			return err
		}
	}
	if len(l.recs) == 0 {
		l.since = l.job.deps.Now()
	}
	l.hour = max(l.hour, hour)
	l.recs = append(l.recs, rec)
	l.bytes += recordOverhead + len(rec.Key) + len(rec.Value)
	full := len(l.recs) >= l.job.cfg.MaxRecords || l.bytes >= l.bytesMax
	if l.target != nil && rec.Offset >= l.target.To || l.target == nil && full {
		return l.flush(ctx, rec.Offset)
	}
	return nil
}

// tick writes what is due although no record completed it.
func (l *lane) tick(ctx context.Context, end int64) error {
	read := l.reader.Offset()
	switch {
	case l.target != nil && read > l.target.To:
		return l.flush(ctx, l.target.To)
	case l.target != nil:
		return nil
	case end >= 0 && read >= end && l.next < read:
		// The log's own gaps at the end belong to the last range, or make one without records.
		return l.flush(ctx, min(read-1, l.limit()))
	case len(l.recs) > 0 && l.job.deps.Now().Sub(l.since) >= l.job.cfg.FlushInterval:
		return l.flush(ctx, min(read-1, l.limit()))
	}
	return nil
}

// flush writes the range that begins at next, and those after it that begin by the offset to. It
// stops before a range of which another archiver has claimed more than is read yet.
func (l *lane) flush(ctx context.Context, to int64) error {
	for l.next <= to {
		c := claim{
			Range: Range{Partition: l.partition, From: l.next, To: to}, Hour: l.hour, Policy: l.job.cfg.Policy.Hash(),
		}
		if l.target != nil {
			c = *l.target
		} else {
			got, ours, err := putClaim(ctx, l.job.store, l.family.folder, c)
			if err != nil {
				return err
			}
			if !ours && got.To > l.limit() {
				return fmt.Errorf("archive: claim of %s reaches into offset %d that is archived already", got.Range, l.limit()+1)
			}
			if !ours {
				l.target = &got
			}
			c = got
		}
		if c.To > to {
			return nil // l.target says how far to read
		}
		if err := l.write(ctx, c); err != nil {
			return fmt.Errorf("archive %s of %s: %w", l.family.topic, c.Range, err)
		}
		l.drop(c.To)
		l.next, l.target = c.To+1, nil
		if err := l.skipArchived(); err != nil {
			return err
		}
	}
	return nil
}

// upTo is how many of the buffered records are at or before the offset.
func (l *lane) upTo(to int64) int {
	n, _ := slices.BinarySearchFunc(l.recs, to+1, func(r schemas.Record, off int64) int {
		return cmp.Compare(r.Offset, off)
	})
	return n
}

// drop forgets the buffered records up to an offset.
func (l *lane) drop(to int64) {
	rest := l.recs[l.upTo(to):]
	l.recs, l.bytes = nil, 0 // a new buffer, so that the old records' bytes are let go
	for _, r := range rest {
		l.recs = append(l.recs, r)
		l.bytes += recordOverhead + len(r.Key) + len(r.Value)
	}
}

// write puts the objects of a claimed range, the click object last.
func (l *lane) write(ctx context.Context, c claim) error {
	file := File{Range: c.Range, Hour: c.Hour}
	mainKey, deadKey := file.Key(l.family.folder), file.Key(FolderDeadLetters)
	if l.target != nil {
		r, err := l.job.store.ReadAt(ctx, mainKey)
		if err == nil {
			l.job.count(Progress{TakenOver: 1})
			return r.Close()
		}
		if !errors.Is(err, objectstore.ErrNotFound) {
			return err
		}
	}
	out, err := l.job.encode(ctx, l.family, l.recs[:l.upTo(c.To)])
	if err != nil {
		return err
	}
	if err := l.putDead(ctx, c, deadKey, out.dead); err != nil {
		return err
	}
	created, err := l.job.store.Put(ctx, mainKey, out.main, objectstore.PutOptions{IfAbsent: true})
	if err != nil {
		return err
	}
	if !created {
		l.job.count(Progress{TakenOver: 1})
		return nil
	}
	out.count.Files, out.count.Bytes = 1, int64(len(out.main)+len(out.dead))
	if l.target != nil {
		out.count.TakenOver = 1
	}
	l.job.count(out.count)
	return nil
}

// putDead puts the dead letters of a range whose click object is not there. What an earlier life put
// under another policy does not fit to the clicks of this one, and goes.
func (l *lane) putDead(ctx context.Context, c claim, key string, data []byte) error {
	if l.family.folder != FolderClicks {
		return nil
	}
	changed := c.Policy != l.job.cfg.Policy.Hash()
	if changed {
		l.job.deps.Logger.Warn("range was claimed under another policy; its dead letters are judged again",
			"topic", l.family.topic, "partition", c.Partition, "offset", c.From)
	}
	if data == nil {
		if changed {
			return l.job.store.Delete(ctx, key)
		}
		return nil
	}
	_, err := l.job.store.Put(ctx, key, data, objectstore.PutOptions{IfAbsent: !changed})
	return err
}
