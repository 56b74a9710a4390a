package explain

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// rowClicksMax is how many clicks of a row are listed; all are counted.
const rowClicksMax = 1000

// ErrNoRow says that neither layer nor the archive has anything of an advertiser's minute.
var ErrNoRow = errors.New("neither layer has a row of it, and the archive has no click of it")

// RowReport is everything that is known of an advertiser's minute, the document that --json prints.
type RowReport struct {
	AdvertiserID string    `json:"advertiser_id"`
	Minute       time.Time `json:"minute"`
	// Answer is one sentence: what the minute bills, and whether the layers differ.
	Answer string `json:"answer"`
	// BatchBasis is the result that the batch's verdicts are from, or why there are none; the
	// Reconciled file says the causes, and is empty where the day was not reconciled.
	BatchBasis string        `json:"batch_basis"`
	Reconciled string        `json:"reconciled"`
	HasServing bool          `json:"has_serving"`
	HasLedger  bool          `json:"has_ledger"`
	Rows       []RowOfMinute `json:"rows"` // in key order
	Bill       *Bill         `json:"bill"`
}

// RowOfMinute is one row, by its key.
type RowOfMinute struct {
	CampaignID  string `json:"campaign_id"`
	AdID        string `json:"ad_id"`
	DeviceType  string `json:"device_type"`
	CountryCode string `json:"country_code"`
	// The row before the reconciliation, by the batch, and after it. Nil where there is none.
	Provisional *Row `json:"provisional_row"`
	ByBatch     *Row `json:"batch_row"`
	Final       *Row `json:"final_row"`
	// Batch and Stream count the archive's clicks of the row by verdict; a click that a layer has not
	// judged is not_judged.
	Batch  map[string]int64 `json:"batch_clicks"`
	Stream map[string]int64 `json:"stream_clicks"`
	// DeltaClicks and DeltaMicros are what the batch bills more than the provisional row.
	DeltaClicks int64 `json:"delta_clicks"`
	DeltaMicros int64 `json:"delta_micros"`
	// Causes are what the last reconciliation found, added up by cause in its order.
	Causes      []Difference `json:"causes"`
	Clicks      []RowClick   `json:"clicks"` // in event order, at most 1,000
	IsTruncated bool         `json:"is_truncated"`

	key schemas.MinuteKey
}

// RowClick is a click of a row.
type RowClick struct {
	Position

	ClickID    string    `json:"click_id"`
	EventTime  time.Time `json:"event_time"`
	ReceivedAt time.Time `json:"received_at"`
	CostMicros int64     `json:"cost_micros"`
	// Batch and Stream are the layers' verdicts; empty where the layer has not judged it.
	Batch       string   `json:"batch"`
	BatchRules  []string `json:"batch_rules"`
	Stream      string   `json:"stream"`
	StreamRules []string `json:"stream_rules"`
	IsLate      bool     `json:"is_late"`
	Cause       string   `json:"cause,omitempty"` // of a difference
}

const notJudged = "not_judged"

// RunRow explains the rows of cfg.AdvertiserID and cfg.Minute; ErrNoRow where there is nothing of them.
func RunRow(ctx context.Context, cfg Config, deps Deps) (_ *RowReport, err error) {
	if cfg.AdvertiserID == "" || cfg.Minute.UnixMilli()%schemas.MinuteMillis != 0 {
		return nil, errors.New("explain: no advertiser, or no whole minute")
	}
	e, err := open(ctx, cfg, deps)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.db.Close()) }()
	report, err := e.explainRow(ctx)
	if err != nil {
		return nil, fmt.Errorf("explain advertiser %q at %s: %w", cfg.AdvertiserID, cfg.Minute.UTC().Format(time.RFC3339), err)
	}
	return report, nil
}

func (e *explainer) explainRow(ctx context.Context) (*RowReport, error) {
	r := &RowReport{AdvertiserID: e.cfg.AdvertiserID, Minute: e.cfg.Minute.UTC(), HasServing: e.deps.Serving != nil,
		HasLedger: e.deps.Ledger != nil}
	m := &minuteOfRows{rows: map[schemas.MinuteKey]*RowOfMinute{}}
	for _, add := range []func(context.Context, *RowReport, *minuteOfRows) error{e.rowLayers, e.rowClicks, e.rowRevived, e.rowCauses} {
		if err := add(ctx, r, m); err != nil {
			return nil, err
		}
	}
	if len(m.rows) == 0 {
		return nil, ErrNoRow
	}
	for _, row := range m.rows {
		row.finish()
		r.Rows = append(r.Rows, *row)
	}
	slices.SortFunc(r.Rows, func(a, b RowOfMinute) int {
		return cmp.Or(cmp.Compare(a.CampaignID, b.CampaignID), cmp.Compare(a.AdID, b.AdID),
			cmp.Compare(a.DeviceType, b.DeviceType), cmp.Compare(a.CountryCode, b.CountryCode))
	})
	if e.deps.Ledger != nil {
		bill, err := e.bill(ctx, r.date(), r.AdvertiserID)
		if err != nil {
			return nil, err
		}
		r.Bill = &bill
	}
	r.Answer = r.answer()
	return r, nil
}

func (r *RowReport) date() string { return r.Minute.Format(time.DateOnly) }

// minuteOfRows collects rows by key.
type minuteOfRows struct {
	rows map[schemas.MinuteKey]*RowOfMinute
}

func (m *minuteOfRows) at(key schemas.MinuteKey) *RowOfMinute {
	row := m.rows[key]
	if row == nil {
		row = &RowOfMinute{CampaignID: key.CampaignID, AdID: key.AdID, DeviceType: key.DeviceType, CountryCode: key.CountryCode,
			Batch: map[string]int64{}, Stream: map[string]int64{}, Causes: []Difference{}, Clicks: []RowClick{}, key: key}
		m.rows[key] = row
	}
	return row
}

// rowLayers adds the rows of both layers.
func (e *explainer) rowLayers(ctx context.Context, r *RowReport, m *minuteOfRows) error {
	minute := r.Minute.UnixMilli()
	provisional, err := e.servedRows(ctx, serving.Provisional, r.AdvertiserID, minute)
	if err != nil {
		return err
	}
	final, err := e.servedRows(ctx, serving.Final, r.AdvertiserID, minute)
	if err != nil {
		return err
	}
	byBatch, err := e.batchRows(ctx, r.date(), r.AdvertiserID, minute)
	if err != nil {
		return err
	}
	for key, row := range provisional {
		m.at(key).Provisional = row
	}
	for key, row := range final {
		m.at(key).Final = row
	}
	for key, row := range byBatch {
		m.at(key).ByBatch = row
	}
	return nil
}

// rowClicks adds the archive's clicks of the minute, with the verdicts of both layers.
func (e *explainer) rowClicks(ctx context.Context, r *RowReport, m *minuteOfRows) error {
	if err := e.loadProgress(ctx); err != nil {
		return err
	}
	day, err := e.result(ctx, r.date())
	switch {
	case errors.Is(err, batch.ErrNoResult):
		r.BatchBasis = "the batch has not judged " + r.date() + " yet"
	case err != nil:
		return err
	default:
		r.BatchBasis = strings.TrimSuffix(day.Prefix, "/")
	}
	if err := e.useResults(ctx, r.Minute, r.Minute.Add(24*time.Hour+policy.Max(e.cfg.Policy, func(v *policy.Revision) time.Duration {
		return v.MaxEventAge // a dead letter belongs to the day in which it was received
	}))); err != nil {
		return err
	}
	return e.query(ctx, "explain_row_clicks", func(rows *sql.Rows) error {
		var k RowClick
		var received, event int64
		var batchRules, batchReason, streamRules string
		key := schemas.MinuteKey{MinuteMillis: r.Minute.UnixMilli(), AdvertiserID: r.AdvertiserID}
		if err := rows.Scan(&k.Partition, &k.Offset, &received, &event, &k.ClickID, &key.CampaignID, &key.AdID, &key.DeviceType,
			&key.CountryCode, &k.CostMicros, &k.Batch, &batchRules, &batchReason, &k.Stream, &streamRules, &k.IsLate); err != nil {
			return err
		}
		k.EventTime, k.ReceivedAt = time.UnixMilli(event).UTC(), time.UnixMicro(received).UTC()
		k.BatchRules, k.StreamRules = splitRules(batchRules), splitRules(streamRules)
		at := schemas.Position{Partition: k.Partition, Offset: k.Offset}
		object, err := e.object(ctx, archive.FolderClicks, at)
		if err != nil {
			return err
		}
		switch {
		case k.Batch != "":
		case day == nil || object != "" && !day.seen[object]:
			k.Batch = notJudged
		default:
			k.Batch = schemas.Billable.String()
		}
		if k.Stream == "" {
			k.Stream = e.streamOf(at)
		}
		m.at(key).add(k)
		return nil
	}, r.AdvertiserID, r.Minute.UnixMicro(), r.Minute.Add(time.Minute).UnixMicro())
}

// streamOf is the stream's verdict on a click that it has no decision on.
func (e *explainer) streamOf(at schemas.Position) string {
	if e.notPublished(at) {
		return notJudged
	}
	return schemas.Billable.String()
}

// rowRevived adds the clicks that the archive holds as dead letters, but that the policy accepts.
func (e *explainer) rowRevived(ctx context.Context, r *RowReport, m *minuteOfRows) error {
	ahead := policy.Max(e.cfg.Policy, func(v *policy.Revision) time.Duration { return v.MaxEventAhead })
	age := policy.Max(e.cfg.Policy, func(v *policy.Revision) time.Duration { return v.MaxEventAge })
	decoder := schemas.NewDecoder(e.cfg.Policy)
	return e.query(ctx, "explain_row_dead_letters", func(rows *sql.Rows) error {
		record := schemas.Record{}
		var verdict, rules string
		if err := rows.Scan(&record.Partition, &record.Offset, &record.TimestampMicros, &record.Value, &verdict, &rules); err != nil {
			return err
		}
		click, reason := decoder.Decode(record)
		if reason != "" || click.AdvertiserID != r.AdvertiserID || schemas.MinuteStart(click.EventTimeMillis) != r.Minute.UnixMilli() {
			return nil
		}
		m.at(schemas.MinuteKey{MinuteMillis: r.Minute.UnixMilli(), AdvertiserID: r.AdvertiserID, CampaignID: click.CampaignID,
			AdID: click.AdID, DeviceType: click.DeviceType, CountryCode: click.CountryCode}).add(RowClick{
			Position: *positionOf(record.Position), ClickID: click.ClickID, EventTime: time.UnixMilli(click.EventTimeMillis).UTC(),
			ReceivedAt: time.UnixMicro(click.ReceivedAtMicros).UTC(), CostMicros: click.CostMicros,
			Batch: cmp.Or(verdict, schemas.Billable.String()), BatchRules: splitRules(rules), Stream: schemas.DeadLettered.String(),
		})
		return nil
	}, r.AdvertiserID, r.Minute.Add(-ahead).UnixMicro(), r.Minute.Add(time.Minute+age).UnixMicro())
}

// rowCauses adds what the last reconciliation of the day found.
func (e *explainer) rowCauses(ctx context.Context, r *RowReport, m *minuteOfRows) error {
	list, file, err := e.discrepanciesOf(ctx, discrepancyKey{r.date(), r.AdvertiserID, r.Minute.UnixMilli()})
	if err != nil {
		return err
	}
	r.Reconciled = file
	for i := range list {
		d := &list[i]
		row := m.at(d.key)
		row.addCause(d.Difference)
		for j := range row.Clicks {
			k := &row.Clicks[j]
			if k.Partition == d.at.Partition && k.Offset == d.at.Offset {
				k.Cause = d.Cause
			}
		}
	}
	return nil
}

func (row *RowOfMinute) addCause(d Difference) {
	for i := range row.Causes {
		if c := &row.Causes[i]; c.Cause == d.Cause {
			c.DeltaClicks, c.DeltaMicros = c.DeltaClicks+d.DeltaClicks, c.DeltaMicros+d.DeltaMicros
			return
		}
	}
	row.Causes = append(row.Causes, d)
}

func (row *RowOfMinute) add(k RowClick) {
	row.Batch[k.Batch]++
	row.Stream[k.Stream]++
	if row.IsTruncated = len(row.Clicks) == rowClicksMax; !row.IsTruncated {
		row.Clicks = append(row.Clicks, k)
	}
}

// finish works out the difference of the two layers.
func (row *RowOfMinute) finish() {
	if b := row.ByBatch; b != nil {
		row.DeltaClicks, row.DeltaMicros = b.UniqueClicks, b.SpendMicros
	}
	if p := row.Provisional; p != nil {
		row.DeltaClicks, row.DeltaMicros = row.DeltaClicks-p.UniqueClicks, row.DeltaMicros-p.SpendMicros
	}
}

// answer is the report in one sentence.
func (r *RowReport) answer() string {
	var clicks, micros, deltaClicks, deltaMicros int64
	causes := map[string]bool{}
	judged := false
	for i := range r.Rows {
		row := &r.Rows[i]
		if b := row.ByBatch; b != nil {
			clicks, micros, judged = clicks+b.UniqueClicks, micros+b.SpendMicros, true
		}
		deltaClicks, deltaMicros = deltaClicks+row.DeltaClicks, deltaMicros+row.DeltaMicros
		for _, c := range row.Causes {
			causes[c.Cause] = true
		}
	}
	if !judged {
		return r.BatchBasis
	}
	text := fmt.Sprintf("the batch bills %d clicks, %s, in %d rows", clicks, money.Micros(micros), len(r.Rows))
	switch {
	case !r.HasServing:
		return text + "; no serving store was asked"
	case deltaClicks == 0 && deltaMicros == 0 && len(causes) == 0:
		return text + "; the stream's rows say the same"
	}
	text += fmt.Sprintf("; that is %+d clicks, %s more than the stream's rows", deltaClicks, money.Micros(deltaMicros))
	if r.Reconciled == "" {
		return text + ", and the day was not reconciled yet"
	}
	names := make([]string, 0, len(causes))
	for cause := range causes {
		names = append(names, cause)
	}
	slices.Sort(names)
	return text + ": " + strings.Join(names, ", ")
}

func splitRules(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
