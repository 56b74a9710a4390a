package demo

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// look finds out what the places hold already, and whether log and archive belong together.
func (d *demo) look(ctx context.Context) (err error) {
	for _, place := range []string{d.stack.Log, d.stack.Archive, d.stack.Serving, d.stack.LedgerDSN} {
		d.report.Places = append(d.report.Places, withoutPassword(place))
	}
	if d.report.RecordsBefore, err = d.records(ctx, schemas.TopicClicks); err != nil {
		return err
	}
	if d.impressionsBefore, err = d.records(ctx, schemas.TopicImpressions); err != nil {
		return err
	}
	return archive.CheckLog(ctx, archive.Config{Log: d.stack.Log, Archive: d.stack.Archive})
}

// records is the number of records of the topic.
func (d *demo) records(ctx context.Context, topic string) (n int64, err error) {
	brokers, err := kafkaio.ParseURL(d.stack.Log)
	if err != nil {
		return 0, err
	}
	client, err := kafkaio.Connect(ctx, brokers, kafkaio.Options{})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	partitions, err := client.Partitions(ctx, topic)
	if err != nil {
		return 0, err
	}
	for _, p := range partitions {
		first, end, err := client.Offsets(ctx, topic, p)
		if err != nil {
			return 0, err
		}
		n += end - first
	}
	return n, nil
}

// stream is the speed layer's configuration.
func (d *demo) stream() stream.Config {
	cfg := d.cfg.Stream
	cfg.Policy, cfg.RunID = d.cfg.Policy, d.cfg.RunID+"-stream"
	return cfg
}

// checkArchived holds the archive to the log: every record once, and none missing.
func (d *demo) checkArchived(ctx context.Context) error {
	if s := d.report.Stream; d.report.RecordsBefore == 0 && s.Records != d.report.Archive.Clicks+d.report.Archive.DeadLetters {
		return fmt.Errorf("the stream read %d records, but %d are archived", s.Records, d.report.Archive.Clicks+d.report.Archive.DeadLetters)
	}
	report, err := archive.Verify(ctx, archive.Config{Log: d.stack.Log, Archive: d.stack.Archive}, archive.Deps{Logger: d.deps.Logger})
	if err != nil {
		return err
	}
	for _, p := range report.Partitions {
		if p.Behind > 0 {
			return fmt.Errorf("%s/%d: %d records are not archived: does another program write to this log?", p.Topic, p.Partition, p.Behind)
		}
	}
	return nil
}

// checkImpressions holds the log to what was sent, and what the stream judged to the log. A request that was
// repeated may be in the log twice.
func (d *demo) checkImpressions(ctx context.Context) error {
	logged, err := d.records(ctx, schemas.TopicImpressions)
	if err != nil {
		return err
	}
	logged -= d.impressionsBefore
	if sent := d.report.Generate.Impressions + d.report.Generate.LogImpressions; logged < sent {
		return fmt.Errorf("%d impressions were sent, but %d are in the log", sent, logged)
	}
	if s := d.report.Impressions; d.impressionsBefore == 0 && (s.Records != logged || s.Judged() != logged) {
		return fmt.Errorf("%d impressions are in the log, but the stream read %d and judged %d", logged, s.Records, s.Judged())
	}
	return nil
}

// days are the days that clicks of this run may have fallen into. Earlier ones, of earlier runs, are
// settled already, or are for whoever ran them.
func (d *demo) days(ctx context.Context) ([]time.Time, error) {
	days, err := batch.Days(ctx, d.stack.Archive)
	if err != nil {
		return nil, err
	}
	age := policy.Max(d.cfg.Policy, func(r *policy.Revision) time.Duration { return r.MaxEventAge })
	oldest := d.begun.Add(-age).UTC().Truncate(24 * time.Hour)
	days = slices.DeleteFunc(days, func(day time.Time) bool { return day.Before(oldest) })
	return days, nil
}

// withoutPassword is a place as it can be shown.
func withoutPassword(place string) string {
	u, err := url.Parse(place)
	if err != nil {
		return place // kafka://a:1,b:2, which has no password
	}
	return cmp.Or(u.Redacted(), place)
}
