package batch

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/internal/objectstore"
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
	store objectstore.Store
	db    *duckscan.DB

	clicks, deadLetters []File
	main                []File          // the click files that pass 2 reads
	isRead              map[string]bool // keys of the files that were read
	received, event     instants

	buckets   []*bucket
	inMemory  atomic.Int64 // clicks that went to the buckets
	dayClicks atomic.Int64 // of these, the day's own
	feeds     sync.Map     // slice -> *feed: what the sources of the running pipelines read

	exchange exchange          // on Flink
	shared   objectstore.Store // of the exchange; nil without one

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

// openFeed makes a slice's blocks known to its source, until it is closed.
func (s *session) openFeed(slice string, f *feed) (closeFeed func()) {
	s.feeds.Store(slice, f)
	return func() { s.feeds.Delete(slice) }
}

func (s *session) feedOf(slice string) (*feed, error) {
	f, ok := s.feeds.Load(slice)
	if !ok {
		return nil, fmt.Errorf("batch run %s does not work on slice %s", s.cfg.RunID, slice)
	}
	return f.(*feed), nil
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
