package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// PeriodReport is the outcome over several days, the document that --json prints. Days are those that
// were done, in order, without a gap.
type PeriodReport struct {
	From string    `json:"from"`
	To   string    `json:"to"`
	Days []*Report `json:"days"`
	// Planned is what a dry run would post, by advertiser over all days, what moves most first.
	Planned        []PlannedPeriod `json:"planned,omitempty"`
	ChargedMicros  int64           `json:"charged_micros"`
	CreditedMicros int64           `json:"credited_micros"` // negative
	// FailedDate is the day at which it ended; empty where all days are done.
	FailedDate string `json:"failed_date,omitempty"`
	Error      string `json:"error,omitempty"`
}

// PlannedPeriod is what would be posted for an advertiser over several days.
type PlannedPeriod struct {
	AdvertiserID   string `json:"advertiser_id"`
	Entries        int    `json:"entries"`
	PostedMicros   int64  `json:"posted_micros"` // what the ledger holds for those days
	AmountMicros   int64  `json:"amount_micros"`
	ChargedMicros  int64  `json:"charged_micros"`
	CreditedMicros int64  `json:"credited_micros"` // negative
}

// RunPeriod reconciles every day from cfg.Date to the last one, both inside, and ends at the first one
// that fails: the report then holds the days before it, beside the error.
func RunPeriod(ctx context.Context, cfg Config, last time.Time, deps Deps) (*PeriodReport, error) {
	period := &PeriodReport{From: cfg.Date.Format(time.DateOnly), To: last.Format(time.DateOnly), Days: []*Report{}}
	sums := map[string]*PlannedPeriod{}
	progress := deps.Progress
	for ; !cfg.Date.After(last); cfg.Date = cfg.Date.AddDate(0, 0, 1) {
		date := cfg.Date.Format(time.DateOnly)
		if progress != nil {
			deps.Progress = func(stage string, done, total int64) { progress(date+": "+stage, done, total) }
		}
		report, err := Run(ctx, cfg, deps)
		if err != nil {
			period.FailedDate, period.Error = date, err.Error()
			period.sum(sums)
			return period, fmt.Errorf("%d days are done; go on from %s: %w", len(period.Days), date, err)
		}
		period.Days = append(period.Days, report)
		for i := range report.Planned {
			p := &report.Planned[i]
			sum := sums[p.AdvertiserID]
			if sum == nil {
				sum = &PlannedPeriod{AdvertiserID: p.AdvertiserID}
				sums[p.AdvertiserID] = sum
			}
			sum.Entries++
			sum.PostedMicros, sum.AmountMicros = sum.PostedMicros+p.PostedMicros, sum.AmountMicros+p.AmountMicros
			sum.ChargedMicros, sum.CreditedMicros = sum.ChargedMicros+max(p.AmountMicros, 0), sum.CreditedMicros+min(p.AmountMicros, 0)
		}
	}
	period.sum(sums)
	return period, nil
}

func (p *PeriodReport) sum(sums map[string]*PlannedPeriod) {
	for _, sum := range sums {
		p.Planned = append(p.Planned, *sum)
		p.ChargedMicros, p.CreditedMicros = p.ChargedMicros+sum.ChargedMicros, p.CreditedMicros+sum.CreditedMicros
	}
	slices.SortFunc(p.Planned, func(a, b PlannedPeriod) int {
		return cmp.Or(cmp.Compare(max(b.AmountMicros, -b.AmountMicros), max(a.AmountMicros, -a.AmountMicros)),
			cmp.Compare(a.AdvertiserID, b.AdvertiserID))
	})
}
