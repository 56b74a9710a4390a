// Package nightly settles every day that got new records since it was last settled: it proves that
// the archive is whole, judges each such day again in batch, reconciles it and posts the difference,
// oldest day first.
//
// What a day was settled by is read from the ledger and from the manifest of the batch's result, so
// nothing of its own is kept that could be lost or go wrong. Every step may be repeated: a run that
// was killed anywhere is completed by the next, which takes up the batch's result where there is one,
// and posts what is not posted. One run works on a ledger at a time.
package nightly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas/serving"
)

const (
	// DefaultDelay is how long after its end a day stays open, so that late clicks are in.
	DefaultDelay = 2 * time.Hour
	// delayMax is beyond every age that a click may have.
	delayMax = 7 * 24 * time.Hour
	// lockName names the job in the ledger's database.
	lockName = "nightly"
)

// Config configures the job.
type Config struct {
	// Batch and Reconcile are the configurations of the steps; date and run are set for each day.
	Batch     batch.Config
	Reconcile reconcile.Config
	// Delay is how long after its end a day stays open. Default 2h; it is never less than 0.
	Delay time.Duration
	// Open settles days that are still open as well, as far as both layers are complete.
	Open bool
	// DryRun lists what would be done and does nothing.
	DryRun bool
	RunID  string
}

// Ledger is what the job needs of the ledger.
type Ledger interface {
	reconcile.Ledger
	SettledResults(ctx context.Context, query ledgerpg.SettledQuery) ([]ledgerpg.SettledResult, error)
	LockJob(ctx context.Context, name string) (unlock func() error, ok bool, err error)
}

// Deps are what the job works with.
type Deps struct {
	Ledger   Ledger
	Serving  serving.Store // not needed by a dry run
	Logger   *slog.Logger
	Progress func(stage string, done, total int64)
	Now      func() time.Time // default time.Now
}

// Validate reports every problem at once, each with its key.
func (c *Config) Validate() error {
	var problems []error
	if c.Delay < 0 || c.Delay > delayMax {
		problems = append(problems, fmt.Errorf("nightly.delay: %v is not between 0s and %v", c.Delay, delayMax))
	}
	if c.RunID == "" {
		problems = append(problems, errors.New("run_id: missing"))
	}
	b, r := c.Batch, c.Reconcile
	day := time.Unix(0, 0).UTC()
	b.Date, b.RunID, r.Date, r.RunID = day, "any", day, "any"
	return errors.Join(append(problems, b.Validate(), r.Validate())...)
}

// State is what became of a day.
type State string

// The states of a day.
const (
	Settled    State = "settled"    // posted and published to its end
	Held       State = "held"       // posted, but for the advertisers who are held
	GateShut   State = "gate_shut"  // nothing was posted
	Incomplete State = "incomplete" // a layer is not complete yet: posted as far as both are
	Failed     State = "failed"     // an error; the next run tries again
	Open       State = "open"       // not over yet, or not for long enough
	Planned    State = "planned"    // a dry run: it would be settled
)

// Day is one day that has something to settle.
type Day struct {
	Date   string `json:"date"`
	State  State  `json:"state"`
	Reason string `json:"reason"` // why it has something to settle
	// NewFiles are objects of the archive that the last settlement did not see and that may matter.
	NewFiles int  `json:"new_files"`
	IsJudged bool `json:"is_judged"` // the batch ran, or would; else its newest result is up to date

	Result          string   `json:"result,omitempty"` // the batch's, in the archive
	BillableClicks  int64    `json:"billable_clicks"`
	SpendMicros     int64    `json:"spend_micros"`
	PostedEntries   int      `json:"posted_entries"`
	PostedMicros    int64    `json:"posted_micros"`
	SuspenseMicros  int64    `json:"suspense_micros"`
	LedgerMicros    int64    `json:"ledger_micros"` // what the ledger holds for the day afterwards
	HeldAdvertisers []string `json:"held_advertisers"`
	FailedChecks    []string `json:"failed_checks"` // conditions of the gate that do not hold
	Error           string   `json:"error,omitempty"`

	date     time.Time
	isClosed bool
}

// Report is the outcome, the document that --json prints and the webhook gets.
type Report struct {
	Text   string `json:"text"` // one line for people; chats show it
	RunID  string `json:"run_id"`
	DryRun bool   `json:"dry_run"`
	// IsRunningAlready: another run works on this ledger, and this one did nothing.
	IsRunningAlready bool `json:"is_running_already"`
	// ArchiveProblems are the first of those that keep every day's gate shut.
	ArchiveProblems []string `json:"archive_problems"`
	Days            []Day    `json:"days"` // with something to settle, oldest first
	SettledDays     int      `json:"settled_days"`
	HeldDays        int      `json:"held_days"`   // held, or with the gate shut
	FailedDays      int      `json:"failed_days"` // failed, or incomplete though over
	OpenDays        int      `json:"open_days"`
	PostedEntries   int      `json:"posted_entries"`
	PostedMicros    int64    `json:"posted_micros"`
	ElapsedMillis   int64    `json:"elapsed_millis"`
	Error           string   `json:"error,omitempty"` // of the job as a whole
}
