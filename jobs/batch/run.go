package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/pipelines/clicks"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/shardstate"
	"github.com/clickledger/clickledger/transforms/windowing"
)

// Files of a result, in the order in which they are put: the manifest last, so that its presence
// means that the result is whole.
const (
	MinutesFile     = "minutes.parquet"
	DecisionsFile   = "decisions.parquet"
	DeadLettersFile = "dead_letters.parquet"
	ManifestFile    = "run.json"
)

// Run judges one day. The result is written whole or not at all.
func Run(ctx context.Context, cfg Config, deps Deps) (_ Result, err error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	cfg = cfg.withDefaults()
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	store, err := objectstore.Open(ctx, cfg.Archive)
	if err != nil {
		return Result{}, err
	}
	dir, err := os.MkdirTemp(cfg.TempDir, "clickledger-batch-")
	if err != nil {
		return Result{}, fmt.Errorf("batch: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &session{cfg: cfg, deps: deps, dir: dir, times: timesOf(cfg.Date, cfg.Policy), isRead: map[string]bool{}}
	if err := s.openExchange(ctx); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.closeExchange()) }()
	if err := s.list(ctx, store); err != nil {
		return Result{}, err
	}
	if s.db, err = duckscan.Open(duckscan.Options{Threads: cfg.Threads, MemoryLimit: cfg.MemoryLimit, TempDir: filepath.Join(dir, "duckdb")}); err != nil {
		return Result{}, err
	}
	defer s.db.Close()
	defer s.out.close()
	if _, taken := sessions.LoadOrStore(cfg.RunID, s); taken {
		return Result{}, fmt.Errorf("batch run %s is running already", cfg.RunID)
	}
	defer sessions.Delete(cfg.RunID)
	if err := s.judgeDay(ctx); err != nil {
		return Result{}, fmt.Errorf("batch %s: %w", cfg.Date.Format("2006-01-02"), err)
	}
	return s.finish(ctx, store)
}

// list reads what the archive holds and opens the buckets that it needs.
func (s *session) list(ctx context.Context, store objectstore.Store) (err error) {
	s.store = store
	if s.clicks, err = Inputs(ctx, store, "clicks/", s.dir); err != nil {
		return err
	}
	if s.deadLetters, err = Inputs(ctx, store, "dead_letters/", s.dir); err != nil {
		return err
	}
	s.deadLetters = completed(s.clicks, s.deadLetters)
	var rows int64
	for _, f := range s.clicks {
		if f.Rows > 0 && (overlaps(f.Event, s.times.judged) || overlaps(f.Received, s.times.day)) {
			s.main = append(s.main, f)
			rows += f.Rows
		}
	}
	s.openBuckets(rows)
	return nil
}

// completed leaves out dead letters of a range whose click file is not there: the archiver writes
// that one last, and will write both again.
func completed(clicks, deadLetters []File) []File {
	whole := map[string]bool{}
	for _, f := range clicks {
		whole[strings.TrimPrefix(f.Key, "clicks/")] = true
	}
	return slices.DeleteFunc(deadLetters, func(f File) bool { return !whole[strings.TrimPrefix(f.Key, "dead_letters/")] })
}

func (s *session) judgeDay(ctx context.Context) error {
	conn, err := s.db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := s.out.open(s.db); err != nil {
		return err
	}
	if err := s.reach(ctx, conn); err != nil {
		return err
	}
	s.received, s.event = instants{"make_timestamptz"}, instants{"make_timestamptz"}
	if len(s.clicks) > 0 {
		if s.received, err = instantsOf(ctx, conn, s.clicks, "received_at"); err != nil {
			return err
		}
		if s.event, err = instantsOf(ctx, conn, s.clicks, "event_time"); err != nil {
			return err
		}
	}
	doc, err := s.cfg.Policy.YAML()
	if err != nil {
		return err
	}
	graph := clicks.Config{Config: shardstate.Config{PolicyYAML: string(doc), Shards: int32(s.cfg.Shards),
		InMemory: s.cfg.Runner != Flink, NoLog: s.cfg.Runner == Flink}, PublishMillis: windowing.AtEnd}
	if err := s.revive(ctx, conn); err != nil {
		return err
	}
	if err := s.findCopies(ctx, conn, graph); err != nil {
		return err
	}
	if err := s.spoolClicks(ctx); err != nil {
		return err
	}
	return s.billSlices(ctx, graph)
}

// finish checks the law of conservation and writes the result.
func (s *session) finish(ctx context.Context, store objectstore.Store) (Result, error) {
	r := s.result()
	if err := s.out.write(s.dir, s.dead.list); err != nil {
		return Result{}, err
	}
	check, err := s.out.conn.Int64(ctx, "select coalesce(sum(raw_clicks), 0)::bigint from minutes")
	if err != nil {
		return Result{}, err
	}
	if want := r.BillableClicks + r.DuplicateClicks + r.InvalidClicks; check != want || check != s.dayClicks.Load() {
		return Result{}, fmt.Errorf("conservation: %d clicks were read, %d have a verdict, and the rows hold %d", s.dayClicks.Load(), want, check)
	}
	if r.Advertisers, err = s.out.conn.Int64(ctx, "select count(distinct advertiser_id)::bigint from minutes where unique_clicks > 0"); err != nil {
		return Result{}, err
	}
	m, err := s.manifest(ctx, r)
	if err != nil {
		return Result{}, err
	}
	put, where, err := s.destination(ctx, store)
	if err != nil {
		return Result{}, err
	}
	for _, name := range []string{MinutesFile, DecisionsFile, DeadLettersFile} {
		data, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			return Result{}, fmt.Errorf("write result: %w", err)
		}
		m.Outputs[name] = digestOf(data)
		if err := put(name, data); err != nil {
			return Result{}, err
		}
	}
	doc, err := Seal(m)
	if err != nil {
		return Result{}, fmt.Errorf("write manifest: %w", err)
	}
	r.Out = where
	return r, put(ManifestFile, doc)
}

func (s *session) result() Result {
	r := Result{Date: s.cfg.Date.Format("2006-01-02"), InvalidByRule: map[string]int64{}, DeadByReason: map[string]int64{},
		BillableClicks: s.verdicts[schemas.Billable].Load(), DuplicateClicks: s.verdicts[schemas.Duplicate].Load(),
		InvalidClicks: s.verdicts[schemas.Invalid].Load(), DeadLetters: int64(len(s.dead.list)),
		ConflictClicks: s.conflict.Load(), SpendMicros: s.spend.Load(), Rows: s.out.rowCount, PolicyHash: s.cfg.Policy.Hash()}
	r.Records = r.BillableClicks + r.DuplicateClicks + r.InvalidClicks + r.DeadLetters
	for i, name := range schemas.RuleNames {
		r.InvalidByRule[name] = s.byRule[i].Load()
	}
	for _, l := range s.dead.list {
		r.DeadByReason[string(l.Reason)]++
	}
	return r
}

// destination is where the result goes: the folder asked for, or the day's next revision in the archive.
func (s *session) destination(ctx context.Context, archive objectstore.Store) (put func(name string, data []byte) error, where string, err error) {
	if s.cfg.Out != "" {
		abs, err := filepath.Abs(s.cfg.Out)
		if err != nil {
			return nil, "", fmt.Errorf("out: %w", err)
		}
		store, err := objectstore.Open(ctx, "file://"+abs)
		if err != nil {
			return nil, "", fmt.Errorf("out: %w", err)
		}
		return func(name string, data []byte) error {
			_, err := store.Put(ctx, name, data, objectstore.PutOptions{})
			return err
		}, "file://" + abs, nil
	}
	prefix, err := NextRevision(ctx, archive, s.cfg.Date.Format("2006-01-02"))
	if err != nil {
		return nil, "", err
	}
	return func(name string, data []byte) error {
		created, err := archive.Put(ctx, prefix+name, data, objectstore.PutOptions{IfAbsent: true})
		if err == nil && !created {
			err = fmt.Errorf("%s: another run wrote this revision", archive.URL(prefix+name))
		}
		return err
	}, archive.URL(strings.TrimSuffix(prefix, "/")), nil
}

// NextRevision is the prefix of the day's next result in the archive.
func NextRevision(ctx context.Context, archive objectstore.Store, date string) (string, error) {
	last, _, err := lastRevision(ctx, archive, date)
	return fmt.Sprintf("results/dt=%s/rev=%d/", date, last+1), err
}

// LastRevision is the prefix of the day's newest whole result; empty where there is none.
func LastRevision(ctx context.Context, archive objectstore.Store, date string) (string, error) {
	_, whole, err := lastRevision(ctx, archive, date)
	if err != nil || whole == 0 {
		return "", err
	}
	return fmt.Sprintf("results/dt=%s/rev=%d/", date, whole), nil
}

func lastRevision(ctx context.Context, archive objectstore.Store, date string) (last, whole int, err error) {
	prefix := "results/dt=" + date + "/"
	objects, err := archive.List(ctx, prefix)
	if err != nil {
		return 0, 0, err
	}
	for _, o := range objects {
		var rev int
		var name string
		if n, _ := fmt.Sscanf(strings.TrimPrefix(o.Key, prefix), "rev=%d/%s", &rev, &name); n != 2 {
			continue
		}
		last = max(last, rev)
		if name == ManifestFile {
			whole = max(whole, rev)
		}
	}
	return last, whole, nil
}
