package reconcile

import (
	"html/template"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-analyze/charts"
)

// A chart is drawn in colours that stand for variables of the page's style sheet, which has a value
// for light and one for dark.
var (
	inkColor    = charts.Color{R: 1, G: 2, B: 3, A: 255}
	gridColor   = charts.Color{R: 1, G: 2, B: 4, A: 255}
	firstColor  = charts.Color{R: 1, G: 2, B: 5, A: 255}
	secondColor = charts.Color{R: 1, G: 2, B: 6, A: 255}

	chartColors = strings.NewReplacer(":"+inkColor.String(), ":var(--ink)", ":"+gridColor.String(), ":var(--grid)",
		":"+firstColor.String(), ":var(--first)", ":"+secondColor.String(), ":var(--second)")

	chartTheme = charts.MakeTheme(charts.ThemeOption{AxisStrokeColor: gridColor, AxisSplitLineColor: gridColor,
		BackgroundColor: charts.ColorTransparent, TextColor: inkColor, TextColorLabel: inkColor, TextColorLegend: inkColor,
		TextColorXAxis: inkColor, TextColorYAxis: inkColor, SeriesColors: []charts.Color{firstColor, secondColor}})
)

const (
	chartWidth  = 860
	chartHeight = 260
	barHeight   = 26 // of one bar that lies
	labelRunes  = 28 // the most of a label
)

// lineChart draws series over the same labels.
func lineChart(labels, names []string, values [][]float64) (template.HTML, error) {
	if len(labels) == 0 {
		return "", nil
	}
	opt := charts.NewLineChartOptionWithData(values)
	opt.XAxis.Labels, opt.XAxis.LabelCount = labels, min(len(labels), 9)
	opt.XAxis.BoundaryGap = new(false)
	opt.Legend.SeriesNames = names
	opt.LineStrokeWidth = 1.5
	opt.Symbol.Shape = charts.SymbolNone
	if len(labels) == 1 {
		opt.Symbol.Shape = charts.SymbolCircle // a line of one point is invisible
	}
	opt.ValueFormatter = short
	return draw(chartHeight, func(p *charts.Painter) error { return p.LineChart(opt) })
}

// barChart draws one bar a label, upright or lying.
func barChart(labels []string, values []float64, lying bool) (template.HTML, error) {
	if len(labels) == 0 {
		return "", nil
	}
	cut := make([]string, len(labels))
	for i, label := range labels {
		cut[i] = abridged(label)
	}
	series := charts.NewSeriesListBar([][]float64{values})
	series[0].Label.Show = new(true)
	series[0].Label.ValueFormatter = short
	opt := charts.NewBarChartOptionWithSeries(series)
	opt.CategoryAxis.Labels, opt.CategoryAxis.LabelCount = cut, len(cut)
	opt.Legend.Show = new(false)
	opt.ValueFormatter = short
	opt.Horizontal = lying
	height := chartHeight
	if lying {
		height = 70 + barHeight*len(labels)
	}
	return draw(height, func(p *charts.Painter) error { return p.BarChart(opt) })
}

// draw returns the SVG of a chart. The library escapes texts; a test holds it to that.
func draw(height int, chart func(*charts.Painter) error) (template.HTML, error) {
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: chartWidth, Height: height, Theme: chartTheme})
	if err := chart(p); err != nil {
		return "", err
	}
	svg, err := p.Bytes()
	if err != nil {
		return "", err
	}
	return template.HTML(chartColors.Replace(string(svg))), nil //nolint:gosec // the library's SVG, with its texts escaped
}

// short is a figure for an axis: whole below 10,000, else with k, M or G.
func short(v float64) string {
	for _, unit := range []struct {
		from, size float64
		name       string
	}{{1e9, 1e9, "G"}, {1e6, 1e6, "M"}, {1e4, 1e3, "k"}} {
		if math.Abs(v) >= unit.from {
			return strconv.FormatFloat(math.Round(v/unit.size*10)/10, 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// abridged is a label of bounded length.
func abridged(label string) string {
	if utf8.RuneCountInString(label) <= labelRunes {
		return label
	}
	return string([]rune(label)[:labelRunes-1]) + "…"
}
