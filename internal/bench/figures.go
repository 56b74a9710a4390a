// Package bench measures. It holds the bare loop that every other way of doing the job is compared
// with, the figures of one way, and the report on all of them: times as the operating system gives
// them, ratios within one run, since machines differ and their noise does too.
package bench

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// Totals are what every way of doing the job must agree on. Spend is in micros.
type Totals struct {
	Records     int64 `json:"records"`
	Billable    int64 `json:"billable_clicks"`
	Duplicates  int64 `json:"duplicate_clicks"`
	Invalid     int64 `json:"invalid_clicks"`
	DeadLetters int64 `json:"dead_letters"`
	SpendMicros int64 `json:"spend_micros"`
}

// Figures are what one way of doing the job took, in a process of its own.
type Figures struct {
	Name        string  `json:"name"`
	What        string  `json:"what"`
	WallSeconds float64 `json:"wall_seconds"`
	CPUSeconds  float64 `json:"cpu_seconds"` // user and system, of the process
	// ClicksPerSecond counts records; so do the figures below.
	ClicksPerSecond   float64 `json:"clicks_per_second"`
	CPUMicrosPerClick float64 `json:"cpu_micros_per_click"`
	Cores             float64 `json:"cores"` // CPU seconds by wall seconds: what the machine gave
	PeakBytes         int64   `json:"peak_bytes"`
	// BrokerCPUSeconds is what the broker took meanwhile, in its own process.
	BrokerCPUSeconds float64 `json:"broker_cpu_seconds,omitempty"`
	Rows             int64   `json:"rows"` // of minutes; a row published twice counts twice
	Totals           Totals  `json:"totals"`
}

// NewFigures computes the figures of a run from what it used.
func NewFigures(name, what string, used Usage, rows int64, t Totals) Figures {
	f := Figures{Name: name, What: what, WallSeconds: used.Wall.Seconds(), CPUSeconds: used.CPU.Seconds(),
		PeakBytes: used.PeakBytes, Rows: rows, Totals: t}
	if wall, cpu := f.WallSeconds, f.CPUSeconds; wall > 0 && t.Records > 0 {
		f.ClicksPerSecond = float64(t.Records) / wall
		f.CPUMicrosPerClick = cpu * 1e6 / float64(t.Records)
		f.Cores = cpu / wall
	}
	return f
}

// Settings say what was measured.
type Settings struct {
	Seed      uint64  `json:"seed"`
	Clicks    int64   `json:"clicks"`
	Ads       int     `json:"ads"`
	Users     int     `json:"users"`
	EventRate float64 `json:"event_rate_per_second"`
	// SpanSeconds follows from clicks and rate: how much state is alive hangs on it.
	SpanSeconds float64 `json:"span_seconds"`
	Partitions  int     `json:"partitions"`
	RecordBytes float64 `json:"record_bytes_mean"`
	Threads     int     `json:"threads"`
}

// Machine is where it was measured.
type Machine struct {
	Cores     int    `json:"cores"`
	GoVersion string `json:"go_version"`
	Platform  string `json:"platform"`
}

// Ratio compares two ways by CPU per click, and by clicks per second.
type Ratio struct {
	Name  string  `json:"name"`
	CPU   float64 `json:"cpu"`   // of CPU a click: below 1, the first needs less
	Speed float64 `json:"speed"` // of clicks per second: above 1, the first is faster
}

// Report is the outcome of a run, the document bench.json.
type Report struct {
	Settings Settings  `json:"settings"`
	Machine  Machine   `json:"machine"`
	Figures  []Figures `json:"figures"`
	Ratios   []Ratio   `json:"ratios"`
	Posting  *Posting  `json:"posting,omitempty"`
}

// Compare adds the ratio of two ways, where both were measured.
func (r *Report) Compare(a, b string) {
	x, y := r.figures(a), r.figures(b)
	if x == nil || y == nil || y.CPUMicrosPerClick == 0 || y.ClicksPerSecond == 0 {
		return
	}
	r.Ratios = append(r.Ratios, Ratio{Name: a + " / " + b, CPU: x.CPUMicrosPerClick / y.CPUMicrosPerClick,
		Speed: x.ClicksPerSecond / y.ClicksPerSecond})
}

func (r *Report) figures(name string) *Figures {
	for i := range r.Figures {
		if r.Figures[i].Name == name {
			return &r.Figures[i]
		}
	}
	return nil
}

// ErrTotals says that two ways of doing the job came to different totals.
var ErrTotals = errors.New("the totals differ")

// Check holds all ways to the totals of the first.
func (r *Report) Check() error {
	var errs []error
	for i := range r.Figures {
		if f, first := &r.Figures[i], &r.Figures[0]; f.Totals != first.Totals {
			errs = append(errs, fmt.Errorf("%w: %s has %+v, %s has %+v", ErrTotals, f.Name, f.Totals, first.Name, first.Totals))
		}
	}
	return errors.Join(errs...)
}

// Write prints the report for people.
func (r *Report) Write(out io.Writer) error {
	s := r.Settings
	if len(r.Figures) == 0 && r.Posting != nil {
		return r.Posting.write(out)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "%d records of %.0f B over %d ads and %d users, %.0f/s for %.1f s of event time, %d partitions, seed %d\n",
		s.Clicks, s.RecordBytes, s.Ads, s.Users, s.EventRate, s.SpanSeconds, s.Partitions, s.Seed)
	if len(r.Figures) > 0 {
		t := r.Figures[0].Totals
		fmt.Fprintf(out, "%d billable, %d duplicate, %d invalid, %d dead letters, spend %d micros: equal in all\n",
			t.Billable, t.Duplicates, t.Invalid, t.DeadLetters, t.SpendMicros)
	}
	fmt.Fprintf(out, "%d cores, %d threads, %s, %s\n\n", r.Machine.Cores, s.Threads, r.Machine.GoVersion, r.Machine.Platform)
	fmt.Fprint(w, "\twall s\tCPU s\tclicks/s\tus CPU/click\tcores got\tpeak MiB\tbroker CPU s\trows\t\n")
	for _, f := range r.Figures {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.0f\t%.2f\t%.2f\t%d\t%.2f\t%d\t\n", f.Name, f.WallSeconds, f.CPUSeconds, f.ClicksPerSecond,
			f.CPUMicrosPerClick, f.Cores, f.PeakBytes>>20, f.BrokerCPUSeconds, f.Rows)
	}
	fmt.Fprint(w, "\t\t\t\t\t\t\t\t\t\nratio\tCPU/click\tclicks/s\t\n")
	for _, ratio := range r.Ratios {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t\n", ratio.Name, ratio.CPU, ratio.Speed)
	}
	if err := w.Flush(); err != nil || r.Posting == nil {
		return err
	}
	return r.Posting.write(out)
}
