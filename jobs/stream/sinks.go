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
// explain can be published. Spec is configuration.
type decisionsFn struct {
	Spec Spec

	decider
}

// decider collects the decisions of a bundle.
type decider struct {
	worker  *worker
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
	f.worker, err = workerOf(f.Spec)
	return err
}

func (f *decisionsFn) StartBundle(_ context.Context, _ func(int64)) { f.reset() }

func (f *decisionsFn) ProcessElement(_ int64, data []byte, _ func(int64)) error {
	in, err := handover.Block(data)
	if err != nil {
		return f.worker.fail(err)
	}
	defer in.Free()
	_, err = f.take(in)
	return f.worker.fail(err)
}

func (f *decisionsFn) FinishBundle(ctx context.Context, _ func(int64)) error {
	return f.worker.fail(f.flush(ctx))
}

// judgedCounts are the clicks of a block by what became of them.
type judgedCounts struct {
	clicks, spend int64
	byVerdict     [5]int64
	byRule        [len(schemas.RuleNames)]int64
}

func (t *tally) add(c *judgedCounts) {
	for v, n := range c.byVerdict {
		t.byVerdict[v].Add(n)
	}
	for r, n := range c.byRule {
		if n > 0 {
			t.byRule[r].Add(n)
		}
	}
	t.spend.Add(c.spend)
	t.judged.Add(c.clicks)
}

func (d *decider) reset() { d.out, d.invalid = d.out[:0], d.invalid[:0] }

// take decides on the clicks of a block, and counts them.
func (d *decider) take(in *schemas.Block) (counts judgedCounts, err error) {
	for i := range in.Len() {
		counts.byVerdict[in.Verdict[i]]++
		if in.Verdict[i] == schemas.Billable {
			counts.spend += in.CostMicros[i]
		}
		if in.Verdict[i] == schemas.Billable && in.Flags[i]&schemas.FlagLate == 0 {
			continue
		}
		if in.Verdict[i] == schemas.Invalid {
			for rule := range schemas.RuleNames {
				if in.Rules[i]&(1<<rule) != 0 {
					counts.byRule[rule]++
				}
			}
		}
		if !d.worker.keepsDecisions() || d.worker.wasDecided(in, i) {
			continue // nothing to keep, or read again only to rebuild state
		}
		if err := d.decide(in, i); err != nil {
			return counts, err
		}
	}
	counts.clicks = int64(in.Len())
	d.worker.add(&counts)
	return counts, nil
}

func (d *decider) decide(b *schemas.Block, i int) error {
	decision := schemas.Decision{Position: b.Position(i), ClickID: string(b.ClickID.At(i)), EventTimeMillis: b.EventMillis[i],
		Verdict: b.Verdict[i], IsLate: b.Flags[i]&schemas.FlagLate != 0, IsConflict: b.Flags[i]&schemas.FlagConflict != 0,
		Winner:     schemas.Position{Partition: b.WinnerPartition[i], Offset: b.WinnerOffset[i]},
		PolicyHash: d.worker.policy.Hash()}
	if decision.Verdict == schemas.Invalid {
		decision.Rules = b.Rules[i]
		click := invalidClick{decision.Position, decision.Rules}
		if len(b.Records) > 0 {
			d.out = append(d.out, click.dlqRecord(b.Records[i]))
		} else {
			d.invalid = append(d.invalid, click)
		}
	}
	value, err := schemas.EncodeDecision(decision)
	if err != nil {
		return err
	}
	d.out = append(d.out, kafkaio.OutRecord{Topic: schemas.TopicDecisions, Partition: -1,
		Key: []byte(decision.Position.String()), Value: value})
	return nil
}

// flush writes what was decided and returns when all of it is acknowledged.
func (d *decider) flush(ctx context.Context) error {
	if len(d.invalid) > 0 {
		records, err := d.worker.fetchInvalid(ctx, d.invalid)
		if err != nil {
			return err
		}
		d.out = append(d.out, records...)
	}
	if len(d.out) == 0 {
		return nil
	}
	return d.worker.producer.ProduceAll(ctx, d.out)
}

// deadLettersFn writes dead letters, acknowledged before the bundle ends. Spec is configuration.
type deadLettersFn struct {
	Spec Spec

	worker *worker
	out    []kafkaio.OutRecord
}

func (f *deadLettersFn) Setup() (err error) {
	f.worker, err = workerOf(f.Spec)
	return err
}

func (f *deadLettersFn) StartBundle(_ context.Context, _ func(int64)) { f.out = f.out[:0] }

func (f *deadLettersFn) ProcessElement(d schemas.DeadLetter, _ func(int64)) error {
	f.worker.dead.Add(1)
	if f.worker.keepsDecisions() {
		f.out = append(f.out, deadLetterRecord(&d))
	}
	return nil
}

func (f *deadLettersFn) FinishBundle(ctx context.Context, _ func(int64)) error {
	if len(f.out) == 0 {
		return nil
	}
	return f.worker.fail(f.worker.producer.ProduceAll(ctx, f.out))
}

func deadLetterRecord(d *schemas.DeadLetter) kafkaio.OutRecord {
	return dlqRecord(d.Position, d.Key, d.Value, d.ReceivedAtMicros, "dead_letter", string(d.Reason))
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
