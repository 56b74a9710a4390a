package progress

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// setup returns a line on a buffer, with a clock that the test moves.
func setup() (*Line, *bytes.Buffer, *time.Time) {
	out, now := &bytes.Buffer{}, time.Unix(0, 0)
	return newLine(out, func() time.Time { return now }), out, &now
}

func TestBarReachesTheEndOnce(t *testing.T) {
	t.Parallel()
	line, out, _ := setup()
	for done := int64(0); done <= 100; done += 10 {
		line.Report("archive", done, 100)
	}
	line.Report("archive", 120, 100)
	text := out.String()
	if got := strings.Count(text, "100%"); got == 0 {
		t.Errorf("no full bar in %q", text)
	}
	if got := strings.Count(text, "\n"); got != 1 {
		t.Errorf("%d line ends, want 1 in %q", got, text)
	}
	if strings.Contains(text, "120") {
		t.Errorf("a finished stage is drawn again in %q", text)
	}
}

func TestFirstStageHoldsTheLine(t *testing.T) {
	t.Parallel()
	line, out, now := setup()
	line.Report("first", 1, 10)
	line.Report("second", 1, 10)
	if strings.Contains(out.String(), "second") {
		t.Errorf("the second stage took the line at once: %q", out)
	}
	*now = now.Add(silence)
	line.Report("second", 2, 10)
	if !strings.Contains(out.String(), "second") {
		t.Errorf("a silent stage kept the line: %q", out)
	}
	line.Report("second", 10, 10)
	line.Report("first", 10, 10)
	if got := strings.Count(out.String(), "\n"); got != 2 {
		t.Errorf("%d finished stages, want 2 in %q", got, out)
	}
}

func TestUnknownTotal(t *testing.T) {
	t.Parallel()
	line, out, _ := setup()
	line.Report("scan", 5, 0)
	line.Report("scan", 10, 20)
	line.Report("scan", 20, 20)
	if !strings.HasSuffix(out.String(), "\n") || !strings.Contains(out.String(), "20/20") {
		t.Errorf("a total that came later is not reached in %q", out)
	}
}

func TestOtherOutputIsKeptApart(t *testing.T) {
	t.Parallel()
	line, out, _ := setup()
	line.Report("scan", 5, 10)
	out.Reset()
	if _, err := line.Writer(out).Write([]byte("a log line\n")); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got == "a log line\n" || !strings.HasSuffix(got, "a log line\n") {
		t.Errorf("the bar is not cleared before %q", got)
	}
	line.Close()
}

func TestNothingWithoutTerminal(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	line := New(file)
	line.Report("scan", 1, 2)
	if _, err := line.Writer(file).Write([]byte("log\n")); err != nil {
		t.Fatal(err)
	}
	line.Close()
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != "log\n" {
		t.Errorf("wrote %q, want the log line alone", text)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	line, _, _ := setup()
	var wg sync.WaitGroup
	for _, stage := range []string{"a", "b", "c"} {
		wg.Go(func() {
			for i := range int64(200) {
				line.Report(stage, i, 199)
			}
		})
	}
	wg.Wait()
	line.Close()
}
