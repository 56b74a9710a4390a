package batch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/schemas/policy"
)

// span is a half-open range of time in Unix milliseconds UTC.
type span struct{ from, to int64 }

func (s span) holds(millis int64) bool { return millis >= s.from && millis < s.to }

// times are the ranges that a day's verdicts depend on.
type times struct {
	day      span // event time of what is billed
	judged   span // event time of what is judged: the day, and the history of its identities
	received span // received_at of whatever may be judged
	lookback int64
}

func timesOf(date time.Time, p *policy.Policy) times {
	longest := func(f func(*policy.Revision) time.Duration) int64 { return policy.Max(p, f).Milliseconds() }
	history := longest(func(r *policy.Revision) time.Duration { return r.Velocity.Cooling + r.Velocity.Window })
	ahead := longest(func(r *policy.Revision) time.Duration { return r.MaxEventAhead })
	age := longest(func(r *policy.Revision) time.Duration { return r.MaxEventAge })
	day := span{date.UnixMilli(), date.Add(24 * time.Hour).UnixMilli()}
	return times{day: day, judged: span{day.from - history, day.to},
		received: span{day.from - history - ahead, day.to + age + 1},
		lookback: longest(func(r *policy.Revision) time.Duration { return r.Dedup.Lookback })}
}

// File is one Parquet object of the archive.
type File struct {
	Key  string
	Path string // in the file system, or what DuckDB reads it by
	Size int64  // bytes
	Rows int64
	ETag string // as listed; empty where the store has none
	// Received and Event are the bounds of received_at and event_time, Unix microseconds; nil where
	// the footer does not say.
	Received, Event *parquetio.Bounds

	partition, offset *parquetio.Bounds // nil where the footer does not say

	isRemote bool // DuckDB reads it where it is
}

// filesAtOnce bounds the objects that are read or copied at a time.
const filesAtOnce = 12

// Inputs lists the archive's files below a prefix, with what their footers say. Of objects that are
// not in the file system only the footers are read: Path is in dir, where Localize brings them.
func Inputs(ctx context.Context, store objectstore.Store, prefix, dir string) ([]File, error) {
	objects, err := store.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, o := range objects {
		if !strings.HasSuffix(o.Key, ".parquet") {
			continue
		}
		path, ok := store.LocalPath(o.Key)
		if !ok {
			path = copyPath(dir, o.Key)
		}
		files = append(files, File{Key: o.Key, Path: path, Size: o.Size, ETag: o.ETag})
	}
	return files, eachFile(ctx, files, func(ctx context.Context, f *File) error {
		if err := f.readFooter(ctx, store); err != nil {
			return fmt.Errorf("%s: %w", store.URL(f.Key), err)
		}
		return nil
	})
}

// Localize brings the files to their paths, where they are not in the file system. What is there
// stays.
func Localize(ctx context.Context, store objectstore.Store, files []File) error {
	return eachFile(ctx, files, func(ctx context.Context, f *File) error {
		if _, ok := store.LocalPath(f.Key); ok || f.isRemote {
			return nil
		}
		if _, err := os.Stat(f.Path); err == nil {
			return nil
		}
		return store.Copy(ctx, objectstore.Object{Key: f.Key, Size: f.Size, ETag: f.ETag}, f.Path)
	})
}

// eachFile runs f for the files, some at a time.
func eachFile(ctx context.Context, files []File, f func(context.Context, *File) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(filesAtOnce)
	for i := range files {
		group.Go(func() error { return f(ctx, &files[i]) })
	}
	return group.Wait()
}

func copyPath(dir, key string) string { return filepath.Join(dir, "objects", filepath.FromSlash(key)) }

// copyObject copies what is there now.
func copyObject(ctx context.Context, store objectstore.Store, key, dir string) (string, error) {
	path := copyPath(dir, key)
	return path, store.Copy(ctx, objectstore.Object{Key: key}, path)
}

func (f *File) readFooter(ctx context.Context, store objectstore.Store) error {
	src, err := store.ReadAt(ctx, f.Key)
	if err != nil {
		return err
	}
	defer src.Close()
	footer, err := parquetio.ReadFooter(src)
	if err != nil {
		return err
	}
	f.Rows = footer.Rows
	f.Received, f.Event = boundsMicros(footer, "received_at"), boundsMicros(footer, "event_time")
	f.partition, f.offset = bounds(footer, "partition"), bounds(footer, "offset")
	return nil
}

// open opens what DuckDB reads of a file: the object, or its copy.
func (f *File) open(ctx context.Context, store objectstore.Store) (objectstore.ReaderAt, error) {
	if _, ok := store.LocalPath(f.Key); ok || f.isRemote {
		return store.ReadAt(ctx, f.Key)
	}
	return objectstore.OpenFile(f.Path)
}

// bounds are a column's, nil where the footer does not say.
func bounds(footer parquetio.Footer, column string) *parquetio.Bounds {
	b, err := footer.Bounds(column)
	if err != nil {
		return nil
	}
	return &b
}

// boundsMicros reads a column's bounds as Unix microseconds. Other programs' files may hold other
// units than the contract's; the size of a time tells its unit.
func boundsMicros(footer parquetio.Footer, column string) *parquetio.Bounds {
	b, err := footer.Bounds(column)
	if err != nil {
		return nil
	}
	for _, v := range []*int64{&b.Min, &b.Max} {
		switch {
		case *v < 1e11:
			return nil // seconds, or times so old that they say nothing
		case *v < 1e14:
			*v *= 1000
		case *v >= 1e17:
			*v /= 1000
		}
	}
	b.Max++ // a unit that was cut down
	return &b
}

// overlaps reports whether a file may hold times of the span.
func overlaps(b *parquetio.Bounds, s span) bool {
	return b == nil || (b.Max >= s.from*1000 && b.Min < s.to*1000)
}

// pathList is the files' paths as DuckDB takes them.
func pathList(files []File) string {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.Path
	}
	return duckscan.Quote(paths...)
}

// clickColumns are what a click is judged by, in the order of readClick. The derived columns of
// the archive stand in where the columns as sent are missing.
const clickColumns = `partition::integer, "offset"::bigint, epoch_us(received_at)::bigint,
	coalesce(click_id, ''), coalesce(ad_id, ''), coalesce(advertiser_id, ''), coalesce(campaign_id, ''),
	coalesce(user_id, ''), coalesce(ip_address, ''), coalesce(user_agent, ''),
	coalesce(device_type, ''), coalesce(country_code, ''),
	coalesce("timestamp", epoch_ms(event_time))::bigint, coalesce(cost_per_click, cost_micros / 1e6)::double`

// readParquet is the table function over files.
func readParquet(files []File) string {
	return "read_parquet(" + pathList(files) + ", hive_partitioning = false, binary_as_string = true)"
}

// instants writes times in the type of a column, so that DuckDB can leave out whole row groups.
type instants struct{ function string }

func instantsOf(ctx context.Context, conn *duckscan.Conn, files []File, column string) (instants, error) {
	in := instants{"make_timestamp"}
	err := conn.Scan(ctx, "select typeof("+column+") from "+readParquet(files[:1])+" limit 1", func(c *duckscan.Chunk) error {
		if strings.Contains(string(c.Text(0).At(0)), "TIME ZONE") {
			in.function = "make_timestamptz"
		}
		return nil
	})
	return in, err
}

// within is the condition that the column lies in a span.
func (in instants) within(column string, s span) string {
	return fmt.Sprintf("(%s >= %s(%d::bigint) and %s < %s(%d::bigint))",
		column, in.function, s.from*1000, column, in.function, s.to*1000)
}
