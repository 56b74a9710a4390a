package devservices

import (
	"context"
	"time"
)

// Part is one entry in the list of services. What runs as one process of our own is a program of
// this package; a part that manages its processes by itself, such as a Flink cluster, is joined to
// the list by an adapter.
type Part interface {
	// Name is short and stable: it is what --only takes.
	Name() string
	// Version is what is pinned, or the least version that is accepted.
	Version() string
	// Address is the URL that clients use, without a secret.
	Address() string
	// Up fetches, starts and waits until the part has answered a real question. Where it runs
	// already, Up only asks. note gets a few words about what is being done.
	Up(ctx context.Context, note func(text string)) error
	// Down ends the part's processes, and nobody else's; it is done where there are none.
	Down(ctx context.Context) error
	// State asks the part, within the time that ctx gives.
	State(ctx context.Context) State
}

// The states of a part.
const (
	StateUp      = "up"      // our process runs, and answers
	StateSilent  = "silent"  // our process runs, but gives no right answer
	StateDown    = "down"    // nothing runs
	StateForeign = "foreign" // it answers, but the process is not ours: Docker's, say
)

// State is how a part is doing.
type State struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Address string `json:"address"`
	Version string `json:"version"`
	// PID is 0 where no process of ours runs.
	PID       int       `json:"pid,omitempty"`
	StartedAt time.Time `json:"started_at,omitzero"`
	// AnswerMillis is how long the answer took; 0 where there was none.
	AnswerMillis float64 `json:"answer_ms,omitempty"`
	Log          string  `json:"log,omitempty"`
	// Error says why the part gave no answer; empty while it is down.
	Error string `json:"error,omitempty"`
}

// Answers says whether clients can use the part.
func (s State) Answers() bool { return s.State == StateUp || s.State == StateForeign }
