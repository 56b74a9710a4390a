package archived

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/analyst"
	"github.com/clickledger/clickledger/jobs/api"
	"github.com/clickledger/clickledger/jobs/batch"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// Limits of the counts by rule.
const (
	countTimeout = 10 * time.Minute
	waitForCount = 1500 * time.Millisecond
	retryAfter   = time.Minute // a result that could not be counted
	countsMax    = 2_000_000   // advertisers times rules that are kept
)

// rules are the counts of results, by the result's prefix.
type rules struct {
	ctx    context.Context // of the counting
	cancel context.CancelFunc
	group  sync.WaitGroup
	one    sync.Mutex // held by the one who counts

	mu      sync.Mutex
	results map[string]*ruleResult
	counts  int
}

// ruleResult is one result's counts, by advertiser. done is closed when they are there, or failed.
type ruleResult struct {
	done        chan struct{}
	advertisers map[string][]api.RuleCount
	counts      int
	failedAt    time.Time
}

func (r *rules) start(ctx context.Context) {
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.results = map[string]*ruleResult{}
}

func (r *rules) stop() {
	r.cancel()
	r.group.Wait()
}

// InvalidByRule answers api.Archive. Results that were not counted yet are counted in the background;
// the answer waits for that only a moment.
func (a *Archive) InvalidByRule(ctx context.Context, advertiserID string, days []string) (api.RuleCounts, error) {
	answer := api.RuleCounts{State: api.RulesNone, Days: []string{}, Rules: []api.RuleCount{}}
	runs, err := a.runs(ctx, days)
	if err != nil || len(runs) == 0 {
		return answer, err
	}
	wait, cancel := context.WithTimeout(ctx, waitForCount)
	defer cancel()
	sums := map[string]api.RuleCount{}
	answer.State = api.RulesReady
	for _, run := range runs {
		result := a.count(run)
		select {
		case <-result.done:
		case <-wait.Done():
		}
		select {
		case <-result.done:
		default:
			answer.State = api.RulesPending
			continue
		}
		if !result.failedAt.IsZero() {
			answer.State = api.RulesPending
			continue
		}
		answer.Days = append(answer.Days, run.Date)
		for _, c := range result.advertisers[advertiserID] {
			sum := sums[c.Rule]
			sums[c.Rule] = api.RuleCount{Rule: c.Rule, Clicks: sum.Clicks + c.Clicks, CostMicros: sum.CostMicros + c.CostMicros}
		}
	}
	for _, c := range sums {
		answer.Rules = append(answer.Rules, c)
	}
	slices.SortFunc(answer.Rules, func(a, b api.RuleCount) int {
		return cmp.Or(cmp.Compare(b.Clicks, a.Clicks), cmp.Compare(a.Rule, b.Rule))
	})
	return answer, nil
}

// runs are the newest results of the days, by day.
func (a *Archive) runs(ctx context.Context, days []string) ([]batch.RunKey, error) {
	var newest []batch.RunKey
	runs, err := batch.Runs(ctx, a.store) // by day and revision
	if err != nil {
		return nil, err
	}
	for _, run := range runs {
		if !slices.Contains(days, run.Date) {
			continue
		}
		if n := len(newest); n > 0 && newest[n-1].Date == run.Date {
			newest[n-1] = run
			continue
		}
		newest = append(newest, run)
	}
	return newest, nil
}

// count returns the result's counts, which are begun if need be.
func (a *Archive) count(run batch.RunKey) *ruleResult {
	r := &a.rules
	r.mu.Lock()
	defer r.mu.Unlock()
	result := r.results[run.Prefix]
	if result != nil && (result.failedAt.IsZero() || a.cfg.Now().Sub(result.failedAt) < retryAfter) {
		return result
	}
	result = &ruleResult{done: make(chan struct{})}
	r.results[run.Prefix] = result
	r.group.Go(func() {
		r.one.Lock()
		defer r.one.Unlock()
		advertisers, counts, err := a.readRules(run)
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil {
			result.failedAt = a.cfg.Now()
			if r.ctx.Err() == nil {
				a.cfg.Logger.Warn("invalid clicks could not be counted by rule", "result", run.Prefix, "error", err)
			}
		}
		result.advertisers, result.counts = advertisers, counts
		close(result.done)
		if r.counts += counts; r.counts > countsMax {
			r.results, r.counts = map[string]*ruleResult{run.Prefix: result}, counts
		}
	})
	return result
}

func (a *Archive) readRules(run batch.RunKey) (_ map[string][]api.RuleCount, counts int, err error) {
	ctx, cancel := context.WithTimeout(a.rules.ctx, countTimeout)
	defer cancel()
	day, err := time.Parse(time.DateOnly, run.Date)
	if err != nil {
		return nil, 0, err
	}
	db, err := analyst.Open(ctx, a.cfg.Config)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	file, err := batch.LocalCopy(ctx, a.store, run.Prefix+batch.DecisionsFile, db.Dir)
	if errors.Is(err, objectstore.ErrNotFound) {
		return map[string][]api.RuleCount{}, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	rows, err := db.Conn.QueryContext(ctx, sqlduck.SQL("api_rules"), sqlduck.EscapeGlob(file),
		day.UnixMilli(), day.AddDate(0, 0, 1).UnixMilli())
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return scanRules(rows)
}

func scanRules(rows *sql.Rows) (map[string][]api.RuleCount, int, error) {
	advertisers, counts := map[string][]api.RuleCount{}, 0
	for rows.Next() {
		var id string
		var c api.RuleCount
		if err := rows.Scan(&id, &c.Rule, &c.Clicks, &c.CostMicros); err != nil {
			return nil, 0, err
		}
		advertisers[id] = append(advertisers[id], c)
		counts++
	}
	return advertisers, counts, rows.Err()
}
