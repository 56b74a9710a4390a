package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/clickledger/clickledger/internal/objectstore"
)

// Plan is what a run would read.
type Plan struct {
	DryRun bool   `json:"dry_run"` // always true
	Date   string `json:"date"`
	// Clicks are the files whose clicks would be judged: those that may hold clicks of the day or
	// of the history of its identities.
	Clicks []PlanFile `json:"clicks"`
	// DeadLetters are the files whose dead letters would be judged again.
	DeadLetters []PlanFile `json:"dead_letters"`
	// OtherFiles are click files that would be searched for earlier copies at most.
	OtherFiles int    `json:"other_files"`
	Rows       int64  `json:"rows"` // of Clicks
	SizeBytes  int64  `json:"size_bytes"`
	Slices     int    `json:"slices"`
	PolicyHash string `json:"policy_hash"`
	Out        string `json:"out"` // where the result would go
}

// PlanFile is one object of the archive.
type PlanFile struct {
	Key       string `json:"key"`
	Rows      int64  `json:"rows"`
	SizeBytes int64  `json:"size_bytes"`
}

// Explore says what Run would read and where it would write; it writes nothing.
func Explore(ctx context.Context, cfg Config) (_ Plan, err error) {
	if err := cfg.Validate(); err != nil {
		return Plan{}, err
	}
	cfg = cfg.withDefaults()
	store, err := objectstore.Open(ctx, cfg.Archive)
	if err != nil {
		return Plan{}, err
	}
	dir, err := os.MkdirTemp(cfg.TempDir, "clickledger-batch-")
	if err != nil {
		return Plan{}, fmt.Errorf("batch: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &session{cfg: cfg, deps: Deps{Logger: slog.New(slog.DiscardHandler)}, dir: dir, times: timesOf(cfg.Date, cfg.Policy), isRead: map[string]bool{}}
	if err := s.list(ctx, store); err != nil {
		return Plan{}, err
	}
	plan := Plan{DryRun: true, Date: cfg.Date.Format("2006-01-02"), Clicks: []PlanFile{}, DeadLetters: []PlanFile{},
		OtherFiles: len(s.clicks) - len(s.main), Slices: s.plannedSlices(), PolicyHash: cfg.Policy.Hash()}
	for _, f := range s.main {
		plan.Clicks = append(plan.Clicks, PlanFile{f.Key, f.Rows, f.Size})
		plan.Rows, plan.SizeBytes = plan.Rows+f.Rows, plan.SizeBytes+f.Size
	}
	for _, f := range s.reviving() {
		plan.DeadLetters = append(plan.DeadLetters, PlanFile{f.Key, f.Rows, f.Size})
	}
	plan.Out, err = s.planned(ctx, store)
	return plan, err
}

// planned is where the result would go.
func (s *session) planned(ctx context.Context, store objectstore.Store) (string, error) {
	if s.cfg.Out != "" {
		return s.cfg.Out, nil
	}
	prefix, err := NextRevision(ctx, store, s.cfg.Date.Format("2006-01-02"))
	return store.URL(prefix), err
}

// plannedSlices is how many slices the clicks make at least.
func (s *session) plannedSlices() int {
	var rows int64
	for _, f := range s.main {
		rows += f.Rows
	}
	return 1 + int(rows/int64(s.cfg.SliceClicks))
}
