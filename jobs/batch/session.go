package batch

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/schemas"
)

// sessions are the running jobs of this process by run ID: what the DoFns of a job share and
// what cannot be part of a graph.
var sessions sync.Map

func sessionOf(runID string) (*session, error) {
	s, ok := sessions.Load(runID)
	if !ok {
		return nil, fmt.Errorf("batch run %s is not of this process", runID)
	}
	return s.(*session), nil
}

// session is one running job.
type session struct {
	cfg   Config
	deps  Deps
	times times
	dir   string // of what is spooled
	db    *duckscan.DB

	clicks, deadLetters []File
	main                []File // the click files that pass 2 reads
	received, event     instants

	buckets []*bucket
	feed    atomic.Pointer[feed] // what the source of the running pipeline reads

	out      output
	dead     deadLetters
	verdicts [4]atomic.Int64
	byRule   [len(schemas.RuleNames)]atomic.Int64
	conflict atomic.Int64
	spend    atomic.Int64
}

// feed gives the encoded blocks of one slice, in order, with their shard.
type feed struct {
	next func(emit func(shard int64, data []byte)) error
	take func(b *schemas.Block) error // of what comes out of the first pass
}

// deadLetters collects the day's.
type deadLetters struct {
	mu   sync.Mutex
	list []schemas.DeadLetter
}

func (d *deadLetters) add(l schemas.DeadLetter) {
	d.mu.Lock()
	d.list = append(d.list, l)
	d.mu.Unlock()
}

func (s *session) progress(stage string, done, total int64) {
	if s.deps.Progress != nil {
		s.deps.Progress(stage, done, total)
	}
}
