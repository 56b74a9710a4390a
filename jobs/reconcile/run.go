package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/clickledger/clickledger/internal/auditduck"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/reconcileduck"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// topAdvertisers is how many the report names.
const topAdvertisers = 10

// ErrNothingComplete says that no minute of the day is complete in both layers yet.
var ErrNothingComplete = errors.New("no minute of the day is complete in both layers yet")

// Run reconciles one day. Differences are in the report; an error means that reconciling itself
// failed, and nothing was posted.
func Run(ctx context.Context, cfg Config, deps Deps) (_ *Report, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Currency == "" {
		cfg.Currency = DefaultCurrency
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if cfg.Post && deps.Ledger == nil {
		return nil, errors.New("ledger: needed to post")
	}
	r := &run{cfg: cfg, deps: deps, dayStart: cfg.Date.UnixMilli(), dayEnd: cfg.Date.Add(24 * time.Hour).UnixMilli()}
	if r.store, err = objectstore.Open(ctx, cfg.Archive); err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp(cfg.TempDir, "clickledger-reconcile-"); err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	report, err := r.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("reconcile %s: %w", cfg.Date.Format(time.DateOnly), err)
	}
	return report, nil
}

func (r *run) stage(i int64, name string) {
	if r.deps.Progress != nil {
		r.deps.Progress("reconcile: "+name, i, 5)
	}
}

func (r *run) run(ctx context.Context) (*Report, error) {
	r.stage(0, "load")
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	if r.cut <= r.dayStart {
		return nil, ErrNothingComplete
	}
	report := &Report{Date: r.cfg.Date.Format(time.DateOnly), Cut: time.UnixMilli(r.cut).UTC(), IsComplete: r.cut == r.dayEnd,
		PolicyHash: r.cfg.Policy.Hash(), Result: strings.TrimSuffix(r.batch.Prefix, "/"), HeldAdvertisers: []string{}}
	r.stage(1, "compare")
	compared, err := r.compare(ctx)
	if err != nil {
		return nil, err
	}
	advertisers := compared.Advertisers
	report.Discrepancies, report.Listed = compared.Discrepancies, compared.Listed
	report.sum(advertisers)
	r.stage(2, "audit")
	if err := r.gate(ctx, report, advertisers); err != nil {
		return nil, err
	}
	if r.cfg.Post && report.isOpen() {
		r.stage(3, "post")
		if err := r.post(ctx, report, advertisers); err != nil {
			return nil, err
		}
		if !r.cfg.DryRun {
			r.stage(4, "publish")
			if err := r.publish(ctx, report); err != nil {
				return nil, err
			}
		}
	}
	if !r.cfg.DryRun {
		r.deps.Logger.Info("keep report", "date", report.Date)
		if err := r.write(ctx, report, compared); err != nil {
			return nil, err
		}
	}
	r.stage(5, "done")
	return report, nil
}

func (r *run) compare(ctx context.Context) (*reconcileduck.Result, error) {
	day := serving.Range{FromMillis: r.dayStart, ToMillis: r.cut}
	stream := r.temp("stream.parquet")
	if err := r.deps.Serving.ExportParquet(ctx, serving.Provisional, day, stream); err != nil {
		return nil, err
	}
	in := reconcileduck.Input{DayStartMillis: r.dayStart, CutMillis: r.cut,
		BatchMinutes: r.batch.Minutes, BatchDecisions: r.batch.Decisions, BatchDeadLetters: r.batch.DeadLetters,
		StreamMinutes: stream, ClickFiles: r.clickPaths(), DecisionFiles: paths(r.decided), Tail: r.tail,
		NextOffsets: r.progress.NextOffsets, BatchPolicy: r.cfg.Policy.Hash(), StreamPolicy: r.progress.PolicyHash,
		StreamPolicyFromMillis: r.progress.PolicyFromMillis,
		Discrepancies:          r.temp(DiscrepanciesFile), List: reconcileduck.List{AdvertiserID: r.cfg.List.AdvertiserID, Limit: int64(r.cfg.List.Limit)},
		MemoryLimit: r.cfg.MemoryLimit, TempDir: r.dir,
		TTLMicros: policy.Max(r.cfg.Policy, func(v *policy.Revision) int64 { return v.Dedup.TTL.Microseconds() }),
		HistoryMillis: policy.Max(r.cfg.Policy, func(v *policy.Revision) int64 {
			return (v.Velocity.Cooling + v.Velocity.Window).Milliseconds()
		}),
		LatenessMillis: -policy.Max(r.cfg.Policy, func(v *policy.Revision) int64 { return -v.AllowedLateness.Milliseconds() })}
	if !r.cfg.List.Since.IsZero() {
		in.List.SinceMillis = r.cfg.List.Since.UnixMilli()
	}
	if !r.hasStream() {
		in.StreamPolicy = in.BatchPolicy // there is none; every click is one that the stream has not seen
	}
	return reconcileduck.Compare(ctx, in)
}

// sum fills in totals, causes and who is held for being unexplained.
func (rep *Report) sum(advertisers []reconcileduck.Advertiser) {
	rep.Causes = map[string]reconcileduck.Effect{}
	for _, cause := range reconcileduck.Causes {
		if cause != reconcileduck.Unexplained {
			rep.Causes[cause] = reconcileduck.Effect{}
		}
	}
	for i := range advertisers {
		a := &advertisers[i]
		rep.Batch.Add(a.Batch)
		rep.Stream.Add(a.Stream)
		if a.Batch.BillableClicks > 0 {
			rep.Batch.Advertisers++
			rep.Top = append(rep.Top, Bill{a.ID, a.Batch.BillableClicks, a.Batch.SpendMicros})
		}
		if a.Stream.BillableClicks > 0 {
			rep.Stream.Advertisers++
		}
		for cause, e := range a.Effects {
			if cause == reconcileduck.Unexplained {
				rep.UnexplainedClicks += max(e.Gross, 1)
				rep.UnexplainedMicros += e.Micros
				rep.HeldAdvertisers = append(rep.HeldAdvertisers, a.ID)
				continue
			}
			sum := rep.Causes[cause]
			rep.Causes[cause] = reconcileduck.Effect{Clicks: sum.Clicks + e.Clicks, Micros: sum.Micros + e.Micros, Gross: sum.Gross + e.Gross}
		}
	}
	slices.SortFunc(rep.Top, func(a, b Bill) int {
		return cmp.Or(cmp.Compare(b.SpendMicros, a.SpendMicros), cmp.Compare(a.AdvertiserID, b.AdvertiserID))
	})
	rep.Top = rep.Top[:min(len(rep.Top), topAdvertisers)]
}

// isOpen reports whether the conditions hold that concern all advertisers at once.
func (rep *Report) isOpen() bool {
	ofSome := []string{checkExplained, checkAudit, checkDrift}
	return !slices.ContainsFunc(rep.Gate, func(c Check) bool { return !c.IsOK && !slices.Contains(ofSome, c.Name) })
}

// The gate's conditions.
const (
	checkArchive      = "archive_complete"
	checkConservation = "conservation"
	checkSums         = "causes_add_up"
	checkExplained    = "explained"
	checkAudit        = "sql_audit"
	checkAuditRules   = "sql_audit_rules"
	checkDrift        = "advertiser_tolerance"
	checkTotalDrift   = "tolerance"
)

func (r *run) gate(ctx context.Context, rep *Report, advertisers []reconcileduck.Advertiser) error {
	add := func(name string, ok bool, format string, args ...any) {
		rep.Gate = append(rep.Gate, Check{Name: name, IsOK: ok, Detail: fmt.Sprintf(format, args...)})
	}
	verified, err := archive.Verify(ctx, archive.Config{Archive: r.cfg.Archive, Topics: []string{"clicks"}}, archive.Deps{Store: r.store})
	if err != nil && !errors.Is(err, archive.ErrBroken) {
		return err
	}
	problem := "no gap and no overlap"
	if len(verified.Problems) > 0 {
		problem = verified.Problems[0]
	}
	add(checkArchive, len(verified.Problems) == 0, "%s", problem)
	b := r.batch.Result
	add(checkConservation, b.Records == b.BillableClicks+b.DuplicateClicks+b.InvalidClicks+b.DeadLetters,
		"%d records = %d billable + %d duplicates + %d invalid + %d dead letters", b.Records, b.BillableClicks,
		b.DuplicateClicks, b.InvalidClicks, b.DeadLetters)
	off := addUp(advertisers)
	add(checkSums, off == "", "%s", cmp.Or(off, "for every advertiser and in total"))
	add(checkExplained, rep.UnexplainedClicks == 0, "%d clicks unexplained", rep.UnexplainedClicks)
	r.tolerate(rep, advertisers, add)
	return r.audit(ctx, rep, advertisers, add)
}

// addUp returns the first advertiser whose causes do not add up to its difference.
func addUp(advertisers []reconcileduck.Advertiser) string {
	for i := range advertisers {
		a := &advertisers[i]
		var clicks, micros int64
		for _, e := range a.Effects {
			clicks, micros = clicks+e.Clicks, micros+e.Micros
		}
		if clicks != a.Batch.BillableClicks-a.Stream.BillableClicks || micros != a.Batch.SpendMicros-a.Stream.SpendMicros {
			return fmt.Sprintf("advertiser %s: the causes give %d clicks, %d micros", a.ID, clicks, micros)
		}
	}
	return ""
}

// audit compares the batch with the independent SQL and holds every advertiser on whom they differ.
func (r *run) audit(ctx context.Context, rep *Report, advertisers []reconcileduck.Advertiser, add func(string, bool, string, ...any)) error {
	audit, err := auditduck.Audit(ctx, auditduck.Input{ClickFiles: r.clickPaths(), DeadLetterFiles: paths(r.dead),
		DayStartMillis: r.dayStart, DayEndMillis: r.dayEnd, CutMillis: r.cut, Policy: r.cfg.Policy, MemoryLimit: r.cfg.MemoryLimit, TempDir: r.dir})
	if err != nil {
		return err
	}
	rep.AuditBillableClicks, rep.AuditSpendMicros = audit.BillableClicks, audit.SpendMicros
	var differ []string
	sums := map[string]auditduck.AdvertiserTotal{}
	for _, t := range audit.Advertisers {
		sums[t.AdvertiserID] = t
	}
	for i := range advertisers {
		a := &advertisers[i]
		t := sums[a.ID]
		t.AdvertiserID = a.ID // where the audit has nothing of him
		if t != audited(a) {
			differ = append(differ, a.ID)
		}
		delete(sums, a.ID)
	}
	for id := range sums {
		differ = append(differ, id)
	}
	rep.HeldAdvertisers = append(rep.HeldAdvertisers, differ...)
	slices.Sort(rep.HeldAdvertisers)
	rep.HeldAdvertisers = slices.Compact(rep.HeldAdvertisers)
	add(checkAudit, len(differ) == 0, "SQL: %d billable, %d micros, %d duplicates, %d invalid; %d advertisers differ",
		audit.BillableClicks, audit.SpendMicros, audit.DuplicateClicks, audit.InvalidClicks, len(differ))
	if rep.IsComplete && len(differ) == 0 { // else the batch's rules count clicks after the cut, or of those who are held
		off := ""
		for _, rule := range schemas.RuleNames {
			if n, want := audit.InvalidByRule[rule], r.batch.Result.InvalidByRule[rule]; n != want {
				off = fmt.Sprintf("SQL: %s hits %d clicks, not %d", rule, n, want)
			}
		}
		add(checkAuditRules, off == "", "%s", cmp.Or(off, "every rule hits as many clicks"))
	}
	return nil
}

// audited is the batch's total of an advertiser in the audit's shape.
func audited(a *reconcileduck.Advertiser) auditduck.AdvertiserTotal {
	return auditduck.AdvertiserTotal{AdvertiserID: a.ID, BillableClicks: a.Batch.BillableClicks, DuplicateClicks: a.Batch.DuplicateClicks,
		InvalidClicks: a.Batch.InvalidClicks, SpendMicros: a.Batch.SpendMicros}
}

func (r *run) post(ctx context.Context, rep *Report, advertisers []reconcileduck.Advertiser) error {
	request := ledgerpg.PostRequest{BillingDate: r.cfg.Date, Currency: r.cfg.Currency, PolicyHash: r.cfg.Policy.Hash(),
		RunID: r.cfg.RunID, Held: rep.HeldAdvertisers, DryRun: r.cfg.DryRun,
		Result: rep.Result, ResultHash: r.batch.Digest, CutAt: rep.Cut}
	for i := range advertisers {
		if a := &advertisers[i]; a.Batch.BillableClicks > 0 || a.Batch.InvalidClicks > 0 {
			request.Charges = append(request.Charges, ledgerpg.Charge{AdvertiserID: a.ID,
				SpendMicros: money.Micros(a.Batch.SpendMicros), Clicks: a.Batch.BillableClicks,
				InvalidClicks: a.Batch.InvalidClicks})
		}
	}
	posted, err := r.deps.Ledger.Post(ctx, request)
	if err != nil {
		return err
	}
	rep.IsPosted, rep.PostedEntries = !r.cfg.DryRun, posted.PostedEntries
	rep.PostedMicros, rep.SuspenseMicros = int64(posted.DeltaMicros), int64(posted.SuspenseMicros)
	rep.plan(posted.Planned)
	for _, event := range posted.LimitEvents {
		rep.LimitEvents = append(rep.LimitEvents, LimitEvent{AdvertiserID: event.AdvertiserID, Kind: event.Kind,
			Balance: money.FormatDecimal4(event.BalanceDecimal4), CreditLimitMicros: int64(event.CreditLimitMicros)})
	}
	days, err := r.deps.Ledger.DayTotals(ctx, r.cfg.Date)
	if err != nil {
		return err
	}
	for _, d := range days {
		rep.LedgerMicros += int64(d.SpendMicros)
	}
	totals, err := r.deps.Ledger.Totals(ctx)
	if err != nil {
		return err
	}
	rep.LedgerDebitMicros, rep.LedgerCreditMicros = int64(totals.DebitMicros), int64(totals.CreditMicros)
	if rep.LedgerDebitMicros != rep.LedgerCreditMicros {
		return fmt.Errorf("the ledger's debits (%d) are not its credits (%d)", rep.LedgerDebitMicros, rep.LedgerCreditMicros)
	}
	return nil
}
