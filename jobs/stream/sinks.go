package stream

import (
	"context"
	"strconv"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/handover"
)

func init() {
	register.DoFn3x1[int64, []byte, func(int64), error](&decisionsFn{})
	register.DoFn2x1[schemas.DeadLetter, func(int64), error](&deadLettersFn{})
	register.DoFn2x1[[]byte, func(int64), error](&rowsFn{})
}

// decisionsFn writes the decisions on clicks that were not billed, or late, and the whole records
// of invalid clicks. They are acknowledged before the bundle ends, so before any row that they
// explain can be published. RunID is configuration.
type decisionsFn struct {
	RunID string

	session *session
	out     []kafkaio.OutRecord
	invalid []invalidClick // those whose records are to be read from the log again
}

// invalidClick is a click whose record goes to the dead-letter topic.
type invalidClick struct {
	schemas.Position
	rules schemas.Rules
}

func (c *invalidClick) dlqRecord(r *schemas.Record) kafkaio.OutRecord {
	return dlqRecord(r.Position, r.Key, r.Value, r.TimestampMicros, schemas.Invalid.String(), ruleText(c.rules))
}

func (f *decisionsFn) Setup() (err error) {
	f.session, err = sessionOf(f.RunID)
	return err
}

func (f *decisionsFn) StartBundle(_ context.Context, _ func(int64)) {
	f.out, f.invalid = f.out[:0], f.invalid[:0]
}

func (f *decisionsFn) ProcessElement(_ int64, data []byte, _ func(int64)) error {
	in, err := handover.Block(data)
	if err != nil {
		return f.session.fail(err)
	}
	defer in.Free()
	s := f.session
	var counts [len(s.byVerdict)]int64
	var spend int64
	defer func() {
		for v, n := range counts {
			s.byVerdict[v].Add(n)
		}
		s.spend.Add(spend)
	}()
	for i := range in.Len() {
		counts[in.Verdict[i]]++
		if in.Verdict[i] == schemas.Billable {
			spend += in.CostMicros[i]
		}
		if in.Verdict[i] == schemas.Billable && in.Flags[i]&schemas.FlagLate == 0 {
			continue
		}
		if in.Verdict[i] == schemas.Invalid {
			for rule := range schemas.RuleNames {
				if in.Rules[i]&(1<<rule) != 0 {
					s.byRule[rule].Add(1)
				}
			}
		}
		if s.wasDecided(in, i) {
			continue // read again only to rebuild state
		}
		if err := f.decide(in, i); err != nil {
			return s.fail(err)
		}
	}
	s.judged.Add(int64(in.Len()))
	return nil
}

// wasDecided reports whether a click was decided before the restart: its turn came before the
// published watermark, and its record was among those judged by then. The turn alone does not say
// so: an idle time may have moved that watermark beyond where the log alone moves it now.
func (s *session) wasDecided(b *schemas.Block, i int) bool {
	return b.JudgeMillis[i] < s.start.WatermarkMillis && b.Offset[i] < s.start.NextOffsets[b.Partition[i]]
}

func (f *decisionsFn) decide(b *schemas.Block, i int) error {
	d := schemas.Decision{Position: b.Position(i), ClickID: string(b.ClickID.At(i)), EventTimeMillis: b.EventMillis[i],
		Verdict: b.Verdict[i], IsLate: b.Flags[i]&schemas.FlagLate != 0, IsConflict: b.Flags[i]&schemas.FlagConflict != 0,
		Winner:     schemas.Position{Partition: b.WinnerPartition[i], Offset: b.WinnerOffset[i]},
		PolicyHash: f.session.cfg.Policy.Hash()}
	if d.Verdict == schemas.Invalid {
		d.Rules = b.Rules[i]
		click := invalidClick{d.Position, d.Rules}
		if len(b.Records) > 0 {
			f.out = append(f.out, click.dlqRecord(b.Records[i]))
		} else {
			f.invalid = append(f.invalid, click)
		}
	}
	value, err := schemas.EncodeDecision(d)
	if err != nil {
		return err
	}
	f.out = append(f.out, kafkaio.OutRecord{Topic: schemas.TopicDecisions, Partition: -1,
		Key: []byte(d.Position.String()), Value: value})
	return nil
}

func (f *decisionsFn) FinishBundle(ctx context.Context, _ func(int64)) error {
	s := f.session
	if len(f.invalid) > 0 {
		records, err := s.fetchInvalid(ctx, f.invalid)
		if err != nil {
			return s.fail(err)
		}
		f.out = append(f.out, records...)
	}
	if len(f.out) == 0 {
		return nil
	}
	return s.fail(s.producer.ProduceAll(ctx, f.out))
}

// deadLettersFn writes dead letters, acknowledged before the bundle ends. RunID is configuration.
type deadLettersFn struct {
	RunID string

	session *session
	out     []kafkaio.OutRecord
}

func (f *deadLettersFn) Setup() (err error) {
	f.session, err = sessionOf(f.RunID)
	return err
}

func (f *deadLettersFn) StartBundle(_ context.Context, _ func(int64)) { f.out = f.out[:0] }

func (f *deadLettersFn) ProcessElement(d schemas.DeadLetter, _ func(int64)) error {
	f.session.dead.Add(1)
	f.out = append(f.out, dlqRecord(d.Position, d.Key, d.Value, d.ReceivedAtMicros, "dead_letter", string(d.Reason)))
	return nil
}

func (f *deadLettersFn) FinishBundle(ctx context.Context, _ func(int64)) error {
	if len(f.out) == 0 {
		return nil
	}
	return f.session.fail(f.session.producer.ProduceAll(ctx, f.out))
}

// dlqRecord is a whole record on its way to the dead-letter topic: key and value as they came,
// and where from and why in headers.
func dlqRecord(pos schemas.Position, key, value []byte, receivedMicros int64, verdict, reason string) kafkaio.OutRecord {
	text := func(k, v string) kafkaio.Header { return kafkaio.Header{Key: k, Value: []byte(v)} }
	return kafkaio.OutRecord{Topic: schemas.TopicDLQ, Partition: -1, Key: key, Value: value, Headers: []kafkaio.Header{
		text("source_topic", schemas.TopicClicks),
		text("source_partition", strconv.Itoa(int(pos.Partition))),
		text("source_offset", strconv.FormatInt(pos.Offset, 10)),
		text("received_at_micros", strconv.FormatInt(receivedMicros, 10)),
		text("verdict", verdict),
		text("reason", reason),
	}}
}

func ruleText(r schemas.Rules) string { return strings.Join(r.Names(), ",") }

// rowsFn hands totals to the session's publisher. RunID is configuration.
type rowsFn struct {
	RunID string

	session *session
}

func (f *rowsFn) Setup() (err error) {
	f.session, err = sessionOf(f.RunID)
	return err
}

func (f *rowsFn) ProcessElement(data []byte, _ func(int64)) error {
	in, err := handover.Rows(data)
	if err != nil {
		return f.session.fail(err)
	}
	defer in.Free()
	return f.session.fail(f.session.publisher.take(in))
}

func (f *rowsFn) FinishBundle(ctx context.Context, _ func(int64)) error {
	return f.session.fail(f.session.publisher.flushIfDue(ctx))
}
