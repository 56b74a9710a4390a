package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/reconcile"
)

// listLimit is how many discrepancies are listed by default.
const listLimit = 20

type reconcileFlags struct {
	period

	report            string
	since, advertiser string
	limit             int
	post, dryRun      bool
}

func newReconcileCommand(a *app) *cobra.Command {
	f := &reconcileFlags{}
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Explain every difference between stream and batch, then post the bill",
		Long: `Compares the rows that the stream published for a day with the newest result of
the batch, gives every difference a cause, and checks the gate: the archive is
complete, the causes add up, nothing is unexplained, and an independent SQL audit
agrees. An advertiser that fails is held and reported.

With --post it then posts the bill of all others to the ledger and publishes
final rows. It posts differences only: running it again posts nothing.

With --dry-run and a ledger the posting is worked out and rolled back: who would be
charged or credited what, against what the ledger holds. So a policy that is changed
for the past shows its effect first: judge the days by it with batch --from --to,
look at what reconcile --from --to --dry-run says, and then --post the adjustments.
--limit is for this table too; --json has all. Days of a period are reconciled one
after the other, up to the first that fails, as by themselves.

The report is written beside the batch's result as report.json, with report.html
(charts and tables in one file) and discrepancies.parquet, which has one row for
each click that differs; or to --report, with the others beside it. Some
discrepancies are listed: --since, --advertiser and --limit say which.

The tolerances say how much may differ although it is explained: an advertiser
who differs by more is held, and beyond that of all together nothing is posted.
The exit code is 3 if the gate is shut or an advertiser is held.`,
		Example: `  clickledger reconcile --config clickledger.yaml --date 2026-11-01
  clickledger reconcile --config clickledger.yaml --date 2026-11-01 --post --json
  clickledger reconcile --config clickledger.yaml --policy new.yaml --from 2026-11-01 --to 2026-11-15 --dry-run
  clickledger reconcile --config clickledger.yaml --date 2026-11-01 --advertiser adv_7ba5ab3c --since 14:30 --limit 100`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runReconcile(a, cmd, f) },
	}
	addPeriod(cmd, &f.period)
	for _, flag := range []string{"report", "since"} {
		defer cmd.MarkFlagsMutuallyExclusive("from", flag) // once they are defined
	}
	cmd.Flags().BoolVar(&f.post, "post", false, "post the bill to the ledger and publish final rows")
	cmd.Flags().StringVar(&f.report, "report", "", "`file` for the report (default: report.json beside the batch's result)")
	cmd.Flags().StringVar(&f.since, "since", "", "list discrepancies from this `minute` on: 15:04 of the day, UTC, or RFC 3339")
	cmd.Flags().StringVar(&f.advertiser, "advertiser", "", "list discrepancies of this advertiser `ID` only")
	cmd.Flags().IntVar(&f.limit, "limit", listLimit, "list at most this many discrepancies, and entries of a dry run")
	addSettings(cmd, "ledger_password_file", "serving_password_file", "ledger_currency", "batch.memory_limit", "batch.temp_dir")
	addGroup(cmd, "reconcile")
	addKafka(cmd)
	addS3(cmd)
	addDryRun(cmd, &f.dryRun)
	return cmd
}

func runReconcile(a *app, cmd *cobra.Command, f *reconcileFlags) (err error) {
	require := []string{"serving"}
	if f.post {
		require = append(require, "ledger")
	}
	if err := f.check(); err != nil {
		return err
	}
	var cfg *config.Config
	var logger *slog.Logger
	var day, last time.Time
	if f.from != "" {
		cfg, logger, day, last, err = a.beginPeriod(cmd, f.period, require...)
	} else {
		cfg, logger, day, err = a.beginDay(cmd, f.date, require...)
	}
	if err != nil {
		return err
	}
	job := reconcileConfig(cfg)
	needsLedger := f.post || f.dryRun && cfg.Ledger != ""
	job.Date, job.Post, job.DryRun = day, needsLedger, f.dryRun
	if err := f.fill(&job); err != nil {
		return err
	}
	ctx := cmd.Context()
	deps := reconcile.Deps{Logger: logger, Progress: a.line.Report}
	if needsLedger {
		ledger, err := openLedger(ctx, cfg)
		if err != nil {
			return err
		}
		defer ledger.Close()
		deps.Ledger = ledger
	}
	store, err := openServing(ctx, cfg, logger, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	deps.Serving = store
	if f.from != "" {
		return reconcilePeriod(ctx, a, job, last, deps, f.limit)
	}
	report, err := reconcile.Run(ctx, job, deps)
	if err != nil {
		return err
	}
	if err := a.result(report, func(w io.Writer) error { return writeReconcile(w, report, f.limit) }); err != nil {
		return err
	}
	return discrepancies(report)
}

// fill puts into the job's configuration where the report goes and what it lists.
func (f *reconcileFlags) fill(job *reconcile.Config) (err error) {
	if f.report != "" {
		if job.ReportPath, err = filepath.Abs(f.report); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	if f.limit < 0 {
		return config.Problems{{Key: "limit", Source: "flag --limit", Value: strconv.Itoa(f.limit), Expected: "a whole number from 0"}}
	}
	job.List = reconcile.List{AdvertiserID: f.advertiser, Limit: f.limit}
	if f.since == "" {
		return nil
	}
	if clock, err := time.Parse("15:04", f.since); err == nil {
		job.List.Since = job.Date.Add(time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute)
		return nil
	}
	if job.List.Since, err = time.Parse(time.RFC3339, f.since); err != nil {
		return config.Problems{{Key: "since", Source: "flag --since", Value: f.since, Expected: "a time like 15:04, of the day in UTC, or in RFC 3339"}}
	}
	return nil
}

// reconcileConfig is the job's configuration, for a day that the caller sets.
func reconcileConfig(cfg *config.Config) reconcile.Config {
	return reconcile.Config{
		Archive:             cfg.Archive,
		Log:                 cfg.Log,
		Policy:              cfg.BillingPolicy(),
		RunID:               runID("reconcile"),
		Version:             version,
		Currency:            cfg.LedgerCurrency,
		MemoryLimit:         memoryLimit(cfg.Batch.MemoryLimit),
		TempDir:             cfg.Batch.TempDir,
		AdvertiserTolerance: reconcile.Tolerance{Clicks: cfg.Reconcile.AdvertiserToleranceClicks, Micros: cfg.Reconcile.AdvertiserToleranceMicros},
		Tolerance:           reconcile.Tolerance{Clicks: cfg.Reconcile.ToleranceClicks, Micros: cfg.Reconcile.ToleranceMicros},
	}
}

// discrepancies is the error of a report that is not clean.
func discrepancies(r *reconcile.Report) error {
	if r.IsClean() {
		return nil
	}
	failed := 0
	for _, c := range r.Gate {
		if !c.IsOK {
			failed++
		}
	}
	return &config.ExitError{Code: config.ExitDiscrepancies, Err: fmt.Errorf(
		"%s: %d conditions of the gate fail, %d clicks are unexplained, %d advertisers are held",
		r.Date, failed, r.UnexplainedClicks, len(r.HeldAdvertisers))}
}

func writeReconcile(w io.Writer, r *reconcile.Report, limit int) error {
	scope := "the whole day"
	if !r.IsComplete {
		scope = "as far as " + r.Cut.Format(time.RFC3339)
	}
	fmt.Fprintf(w, "%s, %s, policy %s, result %s\n\n", r.Date, scope, r.PolicyHash, r.Result)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "\tstream\tbatch\tdifference\t\n")
	for _, row := range []struct {
		name          string
		stream, batch int64
	}{
		{"clicks", r.Stream.RawClicks, r.Batch.RawClicks},
		{"billable", r.Stream.BillableClicks, r.Batch.BillableClicks},
		{"duplicates", r.Stream.DuplicateClicks, r.Batch.DuplicateClicks},
		{"invalid", r.Stream.InvalidClicks, r.Batch.InvalidClicks},
		{"advertisers", r.Stream.Advertisers, r.Batch.Advertisers},
	} {
		fmt.Fprintf(table, "%s\t%d\t%d\t%+d\t\n", row.name, row.stream, row.batch, row.batch-row.stream)
	}
	fmt.Fprintf(table, "spend\t%s\t%s\t%s\t\n", money.Micros(r.Stream.SpendMicros), money.Micros(r.Batch.SpendMicros),
		signed(r.Batch.SpendMicros-r.Stream.SpendMicros))
	if err := table.Flush(); err != nil {
		return err
	}
	if err := writeCauses(w, r); err != nil {
		return err
	}
	if err := writeListed(w, r); err != nil {
		return err
	}
	if err := writeGate(w, r); err != nil {
		return err
	}
	if err := writePlanned(w, r, limit); err != nil {
		return err
	}
	return writePosting(w, r)
}

// writePlanned lists what a dry run would post.
func writePlanned(w io.Writer, r *reconcile.Report, limit int) error {
	if len(r.Planned) == 0 {
		return nil
	}
	fmt.Fprint(w, "\nwould be posted\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "  advertiser\tkind\tin the ledger\tafterwards\tamount\tclicks\tinvalid\tbooked\t\n")
	for i := range r.Planned[:min(len(r.Planned), limit)] {
		p := &r.Planned[i]
		note := ""
		if p.IsSuspense {
			note = "to suspense"
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", p.AdvertiserID, p.Kind, money.Micros(p.PostedMicros),
			money.Micros(p.DayMicros), signed(p.AmountMicros), p.BillableClicks, p.InvalidClicks, p.BookingDate, note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if rest := len(r.Planned) - limit; rest > 0 {
		fmt.Fprintf(w, "  and %d more: see --limit and --json\n", rest)
	}
	_, err := fmt.Fprintf(w, "  %d advertisers, charged %s, credited %s\n", len(r.Planned), signed(r.ChargedMicros), signed(r.CreditedMicros))
	return err
}

func writeCauses(w io.Writer, r *reconcile.Report) error {
	fmt.Fprint(w, "\ncauses of the difference\n")
	names := make([]string, 0, len(r.Causes))
	for name := range r.Causes {
		names = append(names, name)
	}
	slices.Sort(names)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, name := range names {
		if e := r.Causes[name]; e.Gross != 0 || e.Clicks != 0 || e.Micros != 0 {
			fmt.Fprintf(table, "%s\t%+d clicks\t%s\t\n", name, e.Clicks, signed(e.Micros))
		}
	}
	fmt.Fprintf(table, "unexplained\t%d clicks\t%s\t\n", r.UnexplainedClicks, signed(r.UnexplainedMicros))
	return table.Flush()
}

// writeListed lists the discrepancies that were asked for.
func writeListed(w io.Writer, r *reconcile.Report) error {
	if len(r.Listed) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\ndiscrepancies, %d of %d\n", len(r.Listed), r.Discrepancies)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range r.Listed {
		d := &r.Listed[i]
		fmt.Fprintf(table, "  %s\t%s\t%q\t%q\t%q\t%s\t%+d\t%s\tstream %s, batch %s\n", time.UnixMilli(d.MinuteMillis).UTC().Format("15:04"),
			d.Place(), d.ClickID, d.AdvertiserID, d.AdID, d.Cause, d.DeltaClicks, signed(d.DeltaMicros),
			cmp.Or(d.StreamVerdict, "-"), cmp.Or(d.BatchVerdict, "-"))
	}
	return table.Flush()
}

func writeGate(w io.Writer, r *reconcile.Report) error {
	fmt.Fprint(w, "\ngate\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range r.Gate {
		state := "ok"
		if !c.IsOK {
			state = "FAILS"
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", state, c.Name, c.Detail)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(r.HeldAdvertisers) > 0 {
		const most = 20
		list := r.HeldAdvertisers[:min(len(r.HeldAdvertisers), most)]
		if _, err := fmt.Fprintf(w, "held: %d advertisers: %q\n", len(r.HeldAdvertisers), list); err != nil {
			return err
		}
	}
	return nil
}

func writePosting(w io.Writer, r *reconcile.Report) error {
	fmt.Fprint(w, "\n")
	if len(r.Top) > 0 {
		fmt.Fprint(w, "top advertisers\n")
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		for _, b := range r.Top {
			fmt.Fprintf(table, "%s\t%d clicks\t%s\t\n", b.AdvertiserID, b.Clicks, money.Micros(b.SpendMicros))
		}
		if err := table.Flush(); err != nil {
			return err
		}
		fmt.Fprint(w, "\n")
	}
	var err error
	switch {
	case r.IsPosted:
		_, err = fmt.Fprintf(w, "posted %d entries, %s, of it %s to suspense\nledger: %s for the day; debits %s = credits %s over all days\npublished %d final rows\n",
			r.PostedEntries, money.Micros(r.PostedMicros), money.Micros(r.SuspenseMicros), money.Micros(r.LedgerMicros),
			money.Micros(r.LedgerDebitMicros), money.Micros(r.LedgerCreditMicros), r.PublishedRows)
	case r.LedgerDebitMicros != 0 || r.PostedEntries != 0:
		_, err = fmt.Fprintf(w, "dry run: %d entries, %s, would be posted; nothing was\n", r.PostedEntries, signed(r.PostedMicros))
	default:
		_, err = fmt.Fprint(w, "nothing was posted\n")
	}
	return err
}

// signed is an amount with its sign.
func signed(micros int64) string {
	if micros > 0 {
		return "+" + money.Micros(micros).String()
	}
	return money.Micros(micros).String()
}
