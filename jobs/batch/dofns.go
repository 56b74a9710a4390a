package batch

import (
	"context"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/handover"
)

func init() {
	register.DoFn2x1[[]byte, func(int64, []byte), error](&sliceFn{})
	register.DoFn3x1[int64, []byte, func(int64), error](&copiesFn{})
	register.DoFn3x1[int64, []byte, func(int64), error](&judgedFn{})
	register.DoFn2x1[[]byte, func(int64), error](&rowsFn{})
	register.DoFn2x0[[]byte, func(int64)](&numbersFn{})
	register.DoFn3x1[context.Context, int64, func(int64, []byte), error](&readFn{})
	register.DoFn3x1[context.Context, int64, []byte, error](&decidedFn{})
	register.DoFn2x1[context.Context, []byte, error](&totalsFn{})
	register.Emitter1[int64]()
	register.Emitter2[int64, []byte]()
}

// slice is the source. Out: PCollection<KV<shard, schemas.Block>> of a feed of the session.
func slice(s beam.Scope, runID, name string) beam.PCollection {
	return beam.ParDo(s.Scope("batch.Slice"), &sliceFn{RunID: runID, Slice: name}, beam.Impulse(s))
}

// sliceFn reads a slice. RunID and Slice are configuration, as in the functions below.
type sliceFn struct {
	RunID, Slice string

	session *session
}

func (f *sliceFn) Setup() (err error) {
	f.session, err = sessionOf(f.RunID)
	return err
}

func (f *sliceFn) ProcessElement(_ []byte, emit func(int64, []byte)) error {
	feed, err := f.session.feedOf(f.Slice)
	if err != nil {
		return err
	}
	return feed.next(emit)
}

// copiesFn takes what dedup marked.
type copiesFn struct {
	RunID, Slice string

	session *session
}

func (f *copiesFn) Setup() (err error) {
	f.session, err = sessionOf(f.RunID)
	return err
}

func (f *copiesFn) ProcessElement(_ int64, data []byte, _ func(int64)) error {
	in, err := handover.Block(data)
	if err != nil {
		return err
	}
	defer in.Free()
	feed, err := f.session.feedOf(f.Slice)
	if err != nil {
		return err
	}
	return feed.take(in)
}

// judgedFn takes final verdicts.
type judgedFn struct {
	RunID string

	session *session
}

func (f *judgedFn) Setup() (err error) {
	f.session, err = sessionOf(f.RunID)
	return err
}

func (f *judgedFn) ProcessElement(_ int64, data []byte, _ func(int64)) error {
	in, err := handover.Block(data)
	if err != nil {
		return err
	}
	defer in.Free()
	return f.session.judged(in)
}

// judged counts the day's clicks and keeps a decision on each that is not billed.
func (s *session) judged(b *schemas.Block) error {
	var counts [len(s.verdicts)]int64
	var micros int64
	for i := range b.Len() {
		if b.Flags[i]&schemas.FlagContext != 0 {
			continue
		}
		counts[b.Verdict[i]]++
		switch b.Verdict[i] {
		case schemas.Billable:
			micros += b.CostMicros[i]
			continue
		case schemas.Duplicate:
			if b.Flags[i]&schemas.FlagConflict != 0 {
				s.conflict.Add(1)
			}
		default:
			for rule := range schemas.RuleNames {
				if b.Rules[i]&(1<<rule) != 0 {
					s.byRule[rule].Add(1)
				}
			}
		}
		if err := s.out.decision(b, i); err != nil {
			return err
		}
	}
	for v, n := range counts {
		s.verdicts[v].Add(n)
	}
	s.spend.Add(micros)
	return nil
}

// rowsFn takes totals.
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
		return err
	}
	defer in.Free()
	return f.session.out.rows(in)
}
