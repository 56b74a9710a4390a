package reconcile

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/internal/reconcileduck"
	"github.com/clickledger/clickledger/schemas"
)

// driftAdvertisers is how many advertisers the page names: those who differ by most.
const driftAdvertisers = 20

//go:embed report.html.tmpl
var pageText string

var pageTemplate = template.Must(template.New("report").Parse(pageText))

// page is what the template shows. It is one file without scripts and without anything to load.
type page struct {
	*Report
	Scope   string
	Sums    table
	Figures []figure
	List    table
}

// figure is a section: charts, what they show in words, and the figures themselves as a table.
type figure struct {
	Title, Alt, Note string
	Charts           []template.HTML
	Table            table
}

// table has Texts leading columns of text; those after them are numbers.
type table struct {
	Head  []string
	Rows  [][]string
	Texts int
}

// IsNumber reports whether a column holds numbers.
func (t table) IsNumber(column int) bool { return column >= t.Texts }

// writePage writes the report as a page.
func writePage(w io.Writer, rep *Report, compared *reconcileduck.Result, invalid map[string]int64) error {
	p := page{Report: rep, Scope: "the whole day", Sums: sumsTable(rep), List: listTable(rep)}
	if !rep.IsComplete {
		p.Scope = "as far as " + rep.Cut.Format(time.RFC3339)
	}
	for _, figureOf := range []func() (figure, error){
		func() (figure, error) { return minutesFigure(compared.Minutes) },
		func() (figure, error) { return causesFigure(rep, compared.Advertisers) },
		func() (figure, error) { return driftFigure(compared.Advertisers) },
		func() (figure, error) { return invalidFigure(invalid) },
		func() (figure, error) { return latenessFigure(compared.Delays) },
	} {
		f, err := figureOf()
		if err != nil {
			return err
		}
		f.Charts = slices.DeleteFunc(f.Charts, func(svg template.HTML) bool { return svg == "" })
		p.Figures = append(p.Figures, f)
	}
	return pageTemplate.Execute(w, p)
}

func sumsTable(rep *Report) table {
	t := table{Head: []string{"", "Stream", "Batch", "Difference"}, Texts: 1}
	for _, row := range []struct {
		name          string
		stream, batch int64
	}{
		{"Clicks", rep.Stream.RawClicks, rep.Batch.RawClicks},
		{"Billable", rep.Stream.BillableClicks, rep.Batch.BillableClicks},
		{"Duplicates", rep.Stream.DuplicateClicks, rep.Batch.DuplicateClicks},
		{"Invalid", rep.Stream.InvalidClicks, rep.Batch.InvalidClicks},
		{"Advertisers", rep.Stream.Advertisers, rep.Batch.Advertisers},
	} {
		t.Rows = append(t.Rows, []string{row.name, whole(row.stream), whole(row.batch), delta(row.batch - row.stream)})
	}
	t.Rows = append(t.Rows, []string{"Spend", amount(rep.Stream.SpendMicros), amount(rep.Batch.SpendMicros),
		deltaAmount(rep.Batch.SpendMicros - rep.Stream.SpendMicros)})
	return t
}

func minutesFigure(minutes []reconcileduck.Minute) (f figure, err error) {
	f = figure{Title: "Stream against batch, by minute",
		Note:  "Billable clicks by minute of event time, UTC; below, batch less stream. The table has the minutes that differ.",
		Table: table{Head: []string{"Minute", "Stream clicks", "Batch clicks", "Difference", "Stream spend", "Batch spend", "Difference"}, Texts: 1}}
	labels := make([]string, len(minutes))
	stream, batch, off := make([]float64, len(minutes)), make([]float64, len(minutes)), make([]float64, len(minutes))
	for i, m := range minutes {
		labels[i] = minuteText(m.Millis)
		clicks, micros := m.BatchClicks-m.StreamClicks, m.BatchMicros-m.StreamMicros
		stream[i], batch[i], off[i] = float64(m.StreamClicks), float64(m.BatchClicks), float64(clicks)
		if clicks != 0 || micros != 0 {
			f.Table.Rows = append(f.Table.Rows, []string{labels[i], whole(m.StreamClicks), whole(m.BatchClicks), delta(clicks),
				amount(m.StreamMicros), amount(m.BatchMicros), deltaAmount(micros)})
		}
	}
	f.Alt = fmt.Sprintf("Two line charts over %d minutes: billable clicks of stream and batch, and their difference, which is not zero in %d minutes.",
		len(minutes), len(f.Table.Rows))
	f.Charts = make([]template.HTML, 2)
	if f.Charts[0], err = lineChart(labels, []string{"Stream", "Batch"}, [][]float64{stream, batch}); err != nil {
		return f, err
	}
	f.Charts[1], err = lineChart(labels, []string{"Batch less stream"}, [][]float64{off})
	return f, err
}

func causesFigure(rep *Report, advertisers []reconcileduck.Advertiser) (f figure, err error) {
	f = figure{Title: "Causes of the difference, by share",
		Note:  "Share of the differing clicks, of either sign. Clicks and amount add up to the difference.",
		Table: table{Head: []string{"Cause", "Differing clicks", "Share", "Clicks", "Amount"}, Texts: 1}}
	causes := map[string]reconcileduck.Effect{}
	var all reconcileduck.Effect
	for i := range advertisers {
		for cause, e := range advertisers[i].Effects {
			causes[cause] = plus(causes[cause], e)
			all = plus(all, e)
		}
	}
	var labels, shown []string
	var shares []float64
	for _, cause := range reconcileduck.Causes {
		e, ok := causes[cause]
		if !ok && cause != reconcileduck.Unexplained {
			continue
		}
		share := 0.0
		if all.Gross > 0 {
			share = 100 * float64(e.Gross) / float64(all.Gross)
		}
		f.Table.Rows = append(f.Table.Rows, []string{cause, whole(e.Gross), percent(share), delta(e.Clicks), deltaAmount(e.Micros)})
		if ok {
			labels, shares, shown = append(labels, cause), append(shares, share), append(shown, cause+" "+percent(share))
		}
	}
	f.Table.Rows = append(f.Table.Rows, []string{"All", whole(all.Gross), "", delta(all.Clicks), deltaAmount(all.Micros)})
	f.Alt = "Bar chart of the causes by share of the differing clicks: " + cmp.Or(strings.Join(shown, ", "), "there are none") +
		fmt.Sprintf(". Unexplained: %d clicks.", rep.UnexplainedClicks)
	f.Charts = make([]template.HTML, 1)
	f.Charts[0], err = barChart(labels, shares, true)
	return f, err
}

func driftFigure(advertisers []reconcileduck.Advertiser) (f figure, err error) {
	f = figure{Title: "Drift by advertiser",
		Table: table{Head: []string{"Advertiser", "Stream clicks", "Batch clicks", "Difference", "Stream spend", "Batch spend", "Difference"}, Texts: 1}}
	var list []*reconcileduck.Advertiser
	for i := range advertisers {
		if len(advertisers[i].Effects) > 0 {
			list = append(list, &advertisers[i])
		}
	}
	slices.SortStableFunc(list, func(a, b *reconcileduck.Advertiser) int {
		return cmp.Or(cmp.Compare(b.GrossMicros, a.GrossMicros), cmp.Compare(a.ID, b.ID))
	})
	differing := len(list)
	list = list[:min(differing, driftAdvertisers)]
	labels, amounts := make([]string, len(list)), make([]float64, len(list))
	for i, a := range list {
		clicks, micros := a.Batch.BillableClicks-a.Stream.BillableClicks, a.Batch.SpendMicros-a.Stream.SpendMicros
		labels[i], amounts[i] = plain(a.ID), float64(micros)/money.PerUnit
		f.Table.Rows = append(f.Table.Rows, []string{labels[i], whole(a.Stream.BillableClicks), whole(a.Batch.BillableClicks), delta(clicks),
			amount(a.Stream.SpendMicros), amount(a.Batch.SpendMicros), deltaAmount(micros)})
	}
	f.Note = fmt.Sprintf("Batch less stream in money, of the %d advertisers who differ by most; %d of %d differ.", len(list), differing, len(advertisers))
	f.Alt = fmt.Sprintf("Bar chart of the difference in money of %d advertisers; the figures are in the table.", len(list))
	f.Charts = make([]template.HTML, 1)
	f.Charts[0], err = barChart(labels, amounts, true)
	return f, err
}

func invalidFigure(byRule map[string]int64) (f figure, err error) {
	f = figure{Title: "Invalid traffic, by rule", Note: "Clicks that the batch did not bill. A click that several rules hit is in each.",
		Table: table{Head: []string{"Rule", "Clicks"}, Texts: 1}}
	var labels, shown []string
	var clicks []float64
	for _, rule := range schemas.RuleNames {
		n := byRule[rule]
		labels, clicks = append(labels, rule), append(clicks, float64(n))
		shown = append(shown, fmt.Sprintf("%s %s", rule, whole(n)))
		f.Table.Rows = append(f.Table.Rows, []string{rule, whole(n)})
	}
	f.Alt = "Bar chart of invalid clicks by rule: " + strings.Join(shown, ", ") + "."
	f.Charts = make([]template.HTML, 1)
	f.Charts[0], err = barChart(labels, clicks, true)
	return f, err
}

// delayNames name the classes of reconcile_lateness.sql by their smallest delay in milliseconds.
var delayNames = []struct {
	millis int64
	name   string
}{
	{-1, "ahead"}, {0, "under 1 s"}, {1_000, "1-10 s"}, {10_000, "10-60 s"}, {60_000, "1-5 min"},
	{300_000, "5-10 min"}, {600_000, "10-60 min"}, {3_600_000, "1 h or more"},
}

func latenessFigure(delays []reconcileduck.Delay) (f figure, err error) {
	f = figure{Title: "Lateness", Note: "The day's archived clicks by the time from the event to its record. Ahead: the event's time is after that of its record.",
		Table: table{Head: []string{"Delay", "Clicks", "Too late for the stream"}, Texts: 1}}
	found := map[int64]reconcileduck.Delay{}
	for _, d := range delays {
		found[d.Millis] = d
	}
	var labels, shown []string
	var clicks []float64
	for _, class := range delayNames {
		d := found[class.millis]
		labels, clicks = append(labels, class.name), append(clicks, float64(d.Clicks))
		shown = append(shown, fmt.Sprintf("%s %s", class.name, whole(d.Clicks)))
		f.Table.Rows = append(f.Table.Rows, []string{class.name, whole(d.Clicks), whole(d.Late)})
	}
	f.Alt = "Histogram of the clicks' delays: " + strings.Join(shown, ", ") + "."
	f.Charts = make([]template.HTML, 1)
	f.Charts[0], err = barChart(labels, clicks, false)
	return f, err
}

func listTable(rep *Report) table {
	t := table{Head: []string{"Position", "Click", "Minute", "Advertiser", "Ad", "Cause", "Stream", "Batch", "Clicks", "Amount"}, Texts: 8}
	for i := range rep.Listed {
		d := &rep.Listed[i]
		t.Rows = append(t.Rows, []string{d.Place(), plain(d.ClickID), minuteText(d.MinuteMillis), plain(d.AdvertiserID), plain(d.AdID), d.Cause,
			cmp.Or(d.StreamVerdict, "-"), cmp.Or(d.BatchVerdict, "-"), delta(d.DeltaClicks), deltaAmount(d.DeltaMicros)})
	}
	return t
}

func plus(a, b reconcileduck.Effect) reconcileduck.Effect {
	return reconcileduck.Effect{Clicks: a.Clicks + b.Clicks, Micros: a.Micros + b.Micros, Gross: a.Gross + b.Gross}
}

// plain is a text from outside. One that could mislead the eye is quoted, with what is invisible escaped.
func plain(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return strconv.Quote(text)
	}
	return text
}

func minuteText(millis int64) string { return time.UnixMilli(millis).UTC().Format("15:04") }
func percent(share float64) string   { return strconv.FormatFloat(share, 'f', 1, 64) + " %" }
func amount(micros int64) string     { return money.Micros(micros).String() }

func whole(n int64) string { return humanize.Comma(n) }

func delta(n int64) string {
	if n > 0 {
		return "+" + whole(n)
	}
	return whole(n)
}

func deltaAmount(micros int64) string {
	if micros > 0 {
		return "+" + amount(micros)
	}
	return amount(micros)
}
