package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/batch"
)

// backfillPlan is what batch --from --to --dry-run prints.
type backfillPlan struct {
	DryRun bool         `json:"dry_run"` // always true
	Days   []batch.Plan `json:"days"`
}

// period is the days of a command: one, or several.
type period struct{ date, from, to string }

// addPeriod defines the flags of the days.
func addPeriod(cmd *cobra.Command, p *period) {
	cmd.Flags().StringVar(&p.date, "date", "", "the billing `day`, YYYY-MM-DD in UTC")
	cmd.Flags().StringVar(&p.from, "from", "", "the first `day` of a period, in place of --date")
	cmd.Flags().StringVar(&p.to, "to", "", "its last `day`")
	cmd.MarkFlagsMutuallyExclusive("date", "from")
	cmd.MarkFlagsMutuallyExclusive("date", "to")
	cmd.MarkFlagsRequiredTogether("from", "to")
}

// check fails where there is no day.
func (p period) check() error {
	if p.date == "" && p.from == "" {
		return &config.ExitError{Code: config.ExitUsage, Err: errors.New(`flag "date" not set, nor "from" and "to"`)}
	}
	return nil
}

// beginPeriod is beginDay for several days.
func (a *app) beginPeriod(cmd *cobra.Command, p period, require ...string) (cfg *config.Config, logger *slog.Logger, first, last time.Time, err error) {
	cfg, logger, first, err = a.beginDay(cmd, p.from, require...)
	var problems config.Problems
	if errors.As(err, &problems) {
		for i := range problems {
			if problems[i].Key == "date" {
				problems[i].Key, problems[i].Source = "from", "flag --from"
			}
		}
		err = problems
	}
	last, toErr := time.Parse(time.DateOnly, p.to)
	expected := "a day like 2026-11-01"
	if toErr == nil && last.Before(first) {
		toErr, expected = errors.New("before"), "a day that is not before --from"
	}
	if toErr != nil && (err == nil || problems != nil) {
		err = append(problems, config.Problem{Key: "to", Source: "flag --to", Value: p.to, Expected: expected})
	}
	return cfg, logger, first, last, err
}

// runBackfill is batch over the days of a period.
func runBackfill(a *app, cmd *cobra.Command, f *batchFlags) error {
	cfg, logger, first, last, err := a.beginPeriod(cmd, f.period)
	if err != nil {
		return err
	}
	job := batch.BackfillConfig{Config: batchConfig(cfg), First: first, Last: last, Resume: f.resume}
	job.Out = f.out
	if err := job.Validate(); err != nil {
		return &config.ExitError{Code: config.ExitUsage, Err: err}
	}
	if f.dryRun {
		plans, err := batch.ExploreBackfill(cmd.Context(), job)
		if err != nil {
			return err
		}
		return a.result(backfillPlan{DryRun: true, Days: plans}, func(w io.Writer) error { return writeBackfillPlan(w, plans) })
	}
	result, err := batch.Backfill(cmd.Context(), job, batch.Deps{Logger: logger, Progress: a.line.Report})
	return errors.Join(a.result(result, func(w io.Writer) error { return writeBackfill(w, &result) }), err)
}

func writeBackfill(w io.Writer, r *batch.BackfillResult) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "day\trecords\tbillable\tduplicates\tinvalid\tdead letters\tspend\t\t\n")
	for i := range r.Days {
		d := &r.Days[i]
		place := d.Out
		if d.IsKept {
			place += " (kept: a run would come to it again)"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t  %s\n", d.Date, d.Records, d.BillableClicks, d.DuplicateClicks, d.InvalidClicks,
			d.DeadLetters, money.Micros(d.SpendMicros), place)
	}
	if r.FailedDate != "" {
		fmt.Fprintf(table, "%s\tfailed\t\t\t\t\t\t  %s\n", r.FailedDate, r.Error)
	}
	return table.Flush()
}

func writeBackfillPlan(w io.Writer, plans []batch.Plan) error {
	for i := range plans {
		if _, err := fmt.Fprintf(w, "%s\n", plans[i].Date); err != nil {
			return err
		}
		if err := writeBatchPlan(w, &plans[i]); err != nil {
			return err
		}
	}
	return nil
}
