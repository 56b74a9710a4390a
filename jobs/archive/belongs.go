package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// ErrOtherLog says that an archive was made of another log than the one that is configured.
var ErrOtherLog = errors.New("this archive belongs to another log, or the log lost records")

// CheckLog reports whether the archive was made of the log: no partition is archived beyond its end,
// and the last click that is archived of each stands in the log at its offset. What the log has
// forgotten is not compared. The error is ErrOtherLog where they do not belong together.
func CheckLog(ctx context.Context, cfg Config) error {
	store, err := objectstore.Open(ctx, cfg.Archive)
	if err != nil {
		return err
	}
	brokers, err := kafkaio.ParseURL(cfg.Log)
	if err != nil {
		return err
	}
	client, err := kafkaio.Connect(ctx, brokers, kafkaio.Options{})
	if err != nil {
		return err
	}
	defer client.Close()
	files, _, err := List(ctx, store, FolderClicks)
	if err != nil {
		return err
	}
	in, err := client.Partitions(ctx, schemas.TopicClicks)
	if err != nil {
		return err
	}
	parts := byPartition(files)
	for _, p := range slices.Sorted(maps.Keys(parts)) {
		if !slices.Contains(in, p) {
			return fmt.Errorf("%s: partition %d is archived, and the log %s has none: %w", cfg.Archive, p, cfg.Log, ErrOtherLog)
		}
		first, end, err := client.Offsets(ctx, schemas.TopicClicks, p)
		if err != nil {
			return err
		}
		if err := belongs(ctx, store, client, parts[p], first, end); err != nil {
			return err
		}
	}
	return nil
}

// belongs compares the last archived click of a partition with the log, whose offsets are [first, end).
func belongs(ctx context.Context, store objectstore.Store, client *kafkaio.Client, files []File, first, end int64) error {
	if last := files[len(files)-1]; last.To >= end {
		return fmt.Errorf("%s: %s/%d ends at offset %d, but the archive holds offset %d already: %w",
			client.URL(), schemas.TopicClicks, last.Partition, end, last.To, ErrOtherLog)
	}
	for _, file := range slices.Backward(files) {
		if file.From < first {
			return nil
		}
		key := file.Key(FolderClicks)
		click, ok, err := lastClick(ctx, store, key)
		if err != nil {
			return fmt.Errorf("%s: %w", store.URL(key), err)
		}
		if !ok {
			continue // it holds dead letters, or none
		}
		recs, _, err := client.OpenPartition(schemas.TopicClicks, file.Partition, click.Offset).Fetch(ctx, kafkaio.FetchLimits{MaxRecords: 1})
		if err != nil {
			return err
		}
		if len(recs) == 0 || recs[0].Offset != click.Offset {
			return fmt.Errorf("%s: %s/%d has no record at offset %d, which the archive holds: %w",
				client.URL(), schemas.TopicClicks, file.Partition, click.Offset, ErrOtherLog)
		}
		// Another policy may make a dead letter of it, which then says nothing.
		got, reason := schemas.NewDecoder(policy.Default()).Decode(recs[0])
		if reason == "" && (got.ClickID != click.ClickID || got.ReceivedAtMicros != click.ReceivedAt) {
			return fmt.Errorf("%s: %s/%d holds another click at offset %d than the archive: %w",
				client.URL(), schemas.TopicClicks, file.Partition, click.Offset, ErrOtherLog)
		}
		return nil
	}
	return nil
}

func lastClick(ctx context.Context, store objectstore.Store, key string) (click schemas.ArchiveClick, ok bool, err error) {
	src, err := store.ReadAt(ctx, key)
	if err != nil {
		return click, false, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	return parquetio.ReadLast[schemas.ArchiveClick](src)
}
