// Package progress shows how far a job is: one bar on the terminal that stderr is, and nothing at
// all where it is none or where a program reads the output. Jobs know nothing of it but a callback
//
//	Progress func(stage string, done, total int64)
//
// which they call as often as they like; Line.Report is such a function. Bars are for people: no
// program should read them, and no result depends on them.
package progress

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

const (
	redrawInterval = 100 * time.Millisecond
	// A stage that reports nothing for so long gives the line to another one.
	silence = 2 * time.Second
)

// Line is one line of a terminal that shows a bar for one stage after the other. It is safe for
// concurrent use. The nil Line shows nothing.
type Line struct {
	out io.Writer
	now func() time.Time

	mu       sync.Mutex
	stage    string
	bar      *progressbar.ProgressBar // nil: no stage is shown
	reported time.Time
	finished map[string]bool
}

// New returns a line on out, or nil if out is no terminal.
func New(out *os.File) *Line {
	if !term.IsTerminal(int(out.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return newLine(out, time.Now)
}

func newLine(out io.Writer, now func() time.Time) *Line {
	return &Line{out: out, now: now, finished: map[string]bool{}}
}

// Report says that a stage has done so much of a total. A total of 0 or less is not known yet: the
// line then counts without an end. A stage ends when done reaches the total, and stays on the
// screen then. Of several stages at a time the first holds the line until it ends or falls silent.
func (l *Line) Report(stage string, done, total int64) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.finished[stage] || l.bar != nil && l.stage != stage && now.Sub(l.reported) < silence {
		return
	}
	if l.bar == nil || l.stage != stage {
		l.clear()
		l.stage, l.bar = stage, newBar(l.out, stage, total)
	}
	l.reported = now
	if total > 0 && l.bar.GetMax64() != total {
		l.bar.ChangeMax64(total)
	}
	if total > 0 && done > total {
		done = total
	}
	// Errors of the bar are those of the terminal: there is nobody to tell them to.
	_ = l.bar.Set64(done)
	if total > 0 && done == total {
		_ = l.bar.Finish()
		_, _ = io.WriteString(l.out, "\n")
		l.finished[stage] = true
		l.bar = nil
	}
}

// Close takes an unfinished bar off the screen.
func (l *Line) Close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear()
	l.bar = nil
}

func (l *Line) clear() {
	if l.bar != nil {
		_ = l.bar.Clear()
	}
}

// Writer returns a writer to w that keeps other output, such as log lines, apart from the bar: the
// bar is taken off the screen first and comes back with the next report.
func (l *Line) Writer(w io.Writer) io.Writer {
	if l == nil {
		return w
	}
	return apart{line: l, out: w}
}

type apart struct {
	line *Line
	out  io.Writer
}

func (a apart) Write(p []byte) (int, error) {
	a.line.mu.Lock()
	defer a.line.mu.Unlock()
	a.line.clear()
	return a.out.Write(p)
}

func newBar(out io.Writer, stage string, total int64) *progressbar.ProgressBar {
	if total <= 0 {
		total = -1
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(stage),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionThrottle(redrawInterval),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetPredictTime(true),
	)
}
