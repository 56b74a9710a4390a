package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"

	"github.com/clickledger/clickledger/internal/flinkrunner"
	"github.com/clickledger/clickledger/pipelines/clicks"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

// Runners of the job.
const (
	Prism = "prism"
	Flink = "flink"
)

// DefaultJobName is the name of the job in the cluster.
const DefaultJobName = "clickledger-stream"

// FlinkConfig says where and how the job runs with the runner flink; see flinkrunner.Config.
type FlinkConfig struct {
	REST, JobService string
	// Name of the job in the cluster, where one of a name runs. Default DefaultJobName.
	Name string
	// Environment of the DoFns: loopback, process or external. Default loopback.
	Environment                 string
	Boot, WorkerDir, WorkerPool string
	Parallelism                 int
	CheckpointInterval          time.Duration
	MaxBundleSize               int
	MaxBundleTime               time.Duration
	// Savepoint is the place to resume from; SavepointDir where a stop leaves one, by default the
	// cluster's own.
	Savepoint, SavepointDir string
	// Detach leaves the job to the cluster once it runs.
	Detach bool
	// Login and Store are for workers in other processes.
	Login Login
	Store Place
}

// FlinkResult is what became of a job.
type FlinkResult struct {
	Stats

	JobID string            `json:"flink_job_id"`
	Name  string            `json:"job"`
	State flinkrunner.State `json:"state"`
	// Savepoint is where the job goes on, if it was stopped.
	Savepoint string `json:"savepoint,omitempty"`
}

func (c FlinkConfig) withDefaults() FlinkConfig {
	if c.Name == "" {
		c.Name = DefaultJobName
	}
	if c.Environment == "" {
		c.Environment = string(flinkrunner.Loopback)
	}
	return c
}

func (c FlinkConfig) runner(logger *slog.Logger) flinkrunner.Config {
	return flinkrunner.Config{REST: c.REST, JobService: c.JobService, Name: c.Name, Environment: flinkrunner.Environment(c.Environment),
		Boot: c.Boot, WorkerDir: c.WorkerDir, WorkerPool: c.WorkerPool, Parallelism: c.Parallelism, CheckpointInterval: c.CheckpointInterval,
		MaxBundleSize: c.MaxBundleSize, MaxBundleTime: c.MaxBundleTime, Savepoint: c.Savepoint, Logger: logger,
		// Without it the output of a bundle that a checkpoint ends goes into the checkpoint, and on its way
		// when the operator gets its next element: after the last one, never.
		Options: map[string]any{"finish_bundle_before_checkpointing": true}}
}

// validate reports every problem with the cluster's part.
func (c FlinkConfig) validate(store Place) []error {
	c = c.withDefaults()
	var problems []error
	if err := c.runner(nil).Validate(); err != nil {
		problems = append(problems, fmt.Errorf("flink: %w", err))
	}
	isHere := c.Environment == string(flinkrunner.Loopback)
	if isHere && c.Detach {
		problems = append(problems, errors.New("flink.environment: the job of a loopback worker ends with this process; detach needs process or external"))
	}
	if !isHere && store.URL == "" {
		problems = append(problems, errNotShared)
	}
	return problems
}

// RunOnFlink submits the job and minds it. Where ctx is cancelled it is stopped with a savepoint.
func RunOnFlink(ctx context.Context, cfg Config, deps Deps) (FlinkResult, error) {
	cfg.Runner, cfg.Flink = Flink, cfg.Flink.withDefaults()
	if err := cfg.Validate(); err != nil {
		return FlinkResult{}, err
	}
	cfg = cfg.withDefaults()
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	runner := cfg.Flink.runner(deps.Logger)
	switch running, err := flinkrunner.AttachByName(ctx, runner, cfg.Flink.Name); {
	case err == nil:
		return FlinkResult{}, fmt.Errorf("stream: job %s is running already: %s", cfg.Flink.Name, running.ID)
	case !errors.Is(err, flinkrunner.ErrNotFound):
		return FlinkResult{}, fmt.Errorf("stream: %w", err)
	}
	s, err := open(ctx, cfg, deps)
	if err != nil {
		return FlinkResult{}, err
	}
	defer s.close()
	if cfg.Flink.Savepoint != "" && s.start.PolicyHash != "" && s.start.PolicyHash != cfg.Policy.Hash() {
		return FlinkResult{}, errors.New("stream: the policy is another one than when the savepoint was taken: begin without the savepoint")
	}
	s.worker.store = shared(deps.Serving)
	job, err := flinkrunner.Submit(ctx, runner, s.flinkPipeline())
	if err != nil {
		return FlinkResult{}, fmt.Errorf("stream: %w", err)
	}
	defer job.Close()
	deps.Logger.Info("stream started", "run_id", cfg.RunID, "job", job.Name, "flink_job_id", job.ID,
		"partitions", len(s.partitions), "watermark_millis", s.start.WatermarkMillis)
	if cfg.Flink.Detach {
		state, err := job.State(ctx)
		return FlinkResult{JobID: job.ID, Name: job.Name, State: state}, err
	}
	return s.mind(ctx, job)
}

// flinkPipeline is the graph with its sources and sinks on Flink.
func (s *session) flinkPipeline() *beam.Pipeline {
	p, root := beam.NewPipelineWithRoot()
	batches, polls := readTicks(root, s.spec)
	out := clicks.Stream(root, clicks.Config{
		Config: shardstate.Config{PolicyYAML: s.spec.PolicyYAML, Shards: int32(s.cfg.Shards), RunID: s.cfg.RunID,
			Keys: flinkrunner.SpreadKeys(s.cfg.Shards)},
		Dedup:         s.dedup,
		PublishMillis: s.spec.PublishMillis,
	}, batches)
	scope := root.Scope("stream.Write")
	beam.ParDo0(scope, &buriedFn{Spec: s.spec}, out.DeadLetters)
	decided := beam.ParDo(scope, &decidedFn{Spec: s.spec}, out.Judged)
	stored := beam.ParDo(scope, &storedFn{Spec: s.spec}, out.Rows)
	marks := beam.Flatten(scope, polls, decided, stored)
	beam.ParDo0(scope, &progressFn{Spec: s.spec, Known: state.MakeValueState[[]byte]("progress")}, marks)
	return p
}

// mindInterval is the time between two looks at a job.
const mindInterval = time.Second

// mind waits until the job has ended, is drained, or is to be stopped.
func (s *session) mind(ctx context.Context, job *flinkrunner.Job) (FlinkResult, error) {
	result := FlinkResult{JobID: job.ID, Name: job.Name}
	ended := make(chan error, 1)
	waiting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() { ended <- job.Wait(waiting) }()
	tick := time.NewTicker(mindInterval)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if failure := s.failure.Load(); failure != nil && err != nil {
				err = errors.Join(err, *failure)
			}
			return s.conclude(job, result, err)
		case <-ctx.Done():
			stopping := context.WithoutCancel(ctx)
			place, err := job.Stop(stopping, s.cfg.Flink.SavepointDir)
			if err != nil { // it must not go on with nobody to mind it
				err = errors.Join(fmt.Errorf("stream: %w", err), job.Cancel(stopping))
			} else {
				s.deps.Logger.Info("stopped with a savepoint", "savepoint", place, "flink_job_id", job.ID)
			}
			result.Savepoint = place
			return s.conclude(job, result, err)
		case <-tick.C:
			s.report(ctx, job)
			isDrained, err := s.isDrained(ctx)
			if err != nil {
				s.deps.Logger.Warn("the progress cannot be read", "error", err)
			}
			if isDrained {
				return s.conclude(job, result, job.Cancel(ctx))
			}
		}
	}
}

// conclude fills in what the job came to.
func (s *session) conclude(job *flinkrunner.Job, result FlinkResult, err error) (FlinkResult, error) {
	ctx, cancel := context.WithTimeout(context.Background(), mindInterval*10)
	defer cancel()
	state, stateErr := job.State(ctx)
	result.State = state
	var statsErr error
	if result.Stats, statsErr = s.flinkStats(ctx, job); statsErr != nil {
		s.deps.Logger.Warn("the job's counters cannot be read", "error", statsErr)
	}
	if s.deps.Progress != nil {
		s.deps.Progress(result.Stats)
	}
	if err == nil {
		err = stateErr
	}
	if err != nil {
		return result, fmt.Errorf("stream: %w", err)
	}
	return result, nil
}

func (s *session) report(ctx context.Context, job *flinkrunner.Job) {
	if s.deps.Progress == nil {
		return
	}
	if st, err := s.flinkStats(ctx, job); err == nil {
		s.deps.Progress(st)
	}
}

// isDrained reports whether all that was in the log at the start is judged and published.
func (s *session) isDrained(ctx context.Context) (bool, error) {
	if !s.spec.UntilEnd {
		return false, nil
	}
	progress, err := s.progress(ctx)
	if err != nil || !progress.IsDrained || progress.PolicyHash != s.cfg.Policy.Hash() {
		return false, err
	}
	return !slices.ContainsFunc(s.partitions, func(p *partition) bool { return progress.NextOffsets[p.id] < p.endAtStart }), nil
}

// progress is what was stored last.
func (s *session) progress(ctx context.Context) (serving.Progress, error) {
	if s.worker.store != nil {
		return s.worker.store.LoadProgress(ctx)
	}
	if p := s.published.Load(); p != nil {
		return *p, nil
	}
	return serving.Progress{}, nil
}

// flinkStats are the counters of the job: of all its processes, or where it has but this one its own.
func (s *session) flinkStats(ctx context.Context, job *flinkrunner.Job) (Stats, error) {
	st := s.stats()
	if s.cfg.Flink.Environment != string(flinkrunner.Loopback) {
		var err error
		if st, err = CountersOf(ctx, job); err != nil {
			return st, err
		}
	}
	progress, err := s.progress(ctx)
	if err != nil {
		return st, err
	}
	st.WatermarkMillis = progress.WatermarkMillis
	st.LagRecords, err = lagOf(ctx, s.client, progress)
	return st, err
}

// CountersOf reads the counters of a job on Flink; see flinkrunner.Job.Counters for what they are worth. The
// watermark and the lag are none of them.
func CountersOf(ctx context.Context, job *flinkrunner.Job) (Stats, error) {
	fields := func(st *Stats) map[string]*int64 {
		return map[string]*int64{"records": &st.Records, "dead_letters": &st.DeadLetters, "rows_published": &st.Rows,
			"spend_micros": &st.SpendMicros, "billable_clicks": &st.Billable, "duplicate_clicks": &st.Duplicates,
			"invalid_clicks": &st.Invalid, "late_clicks": &st.Late}
	}
	st := Stats{InvalidByRule: map[string]int64{}, LagRecords: UnknownLag}
	var names []string
	for name := range fields(&st) {
		names = append(names, counterSpace+"."+name)
	}
	for _, rule := range schemas.RuleNames {
		names = append(names, counterSpace+"."+rule)
	}
	slices.Sort(names)
	counters, err := job.Counters(ctx, names...)
	if err != nil {
		return st, err
	}
	for name, to := range fields(&st) {
		*to = counters[counterSpace+"."+name]
	}
	for _, rule := range schemas.RuleNames {
		st.InvalidByRule[rule] = counters[counterSpace+"."+rule]
	}
	return st, nil
}
