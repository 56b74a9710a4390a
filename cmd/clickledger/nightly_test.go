package main

import (
	"bufio"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/nightly"
	"github.com/clickledger/clickledger/jobs/reconcile"
)

// nights are all parts of a machine that settles every night.
type nights struct {
	*testing.T
	env []string
}

func newNights(t *testing.T) *nights {
	t.Helper()
	env, _ := newPlaces(t, "duckdb://"+filepath.Join(t.TempDir(), "serving.duckdb"))
	startJSON(t, env, &migrateResult{}, "migrate")
	return &nights{T: t, env: env}
}

// clicks takes clicks of a time of a day in March through log, stream and archive.
func (n *nights) clicks(seed, day, hour int) {
	n.Helper()
	for _, args := range []string{
		fmt.Sprintf("generate --clicks=2000 --rate=100 --seed=%d --start=2026-03-%02dT%02d:00:00Z", seed, day, hour),
		"archive --until-end", "stream --until-end", "archive --until-end",
	} {
		if got := start(n.T, n.env, strings.Fields(args)...); got.code != config.ExitOK {
			n.Fatalf("%s: exit code %d: %s", args, got.code, got.err)
		}
	}
}

// settle runs nightly and wants the days to come out as "01 settled, …".
func (n *nights) settle(want string, args ...string) (report nightly.Report) {
	n.Helper()
	got := start(n.T, n.env, append([]string{"nightly", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || got.code != config.ExitOK {
		n.Fatalf("nightly %q: exit code %d, %v: %s%s", args, got.code, err, got.out, got.err)
	}
	var days []string
	for _, d := range report.Days {
		days = append(days, d.Date[len("2026-03-"):]+" "+string(d.State))
	}
	if days := strings.Join(days, ", "); days != want {
		n.Fatalf("nightly %q: days %s, want %s: %s%s", args, days, want, got.out, got.err)
	}
	return report
}

// bills wants the ledger to hold, for each day, what a batch of its own comes to.
func (n *nights) bills(report nightly.Report) {
	n.Helper()
	for _, d := range report.Days {
		var result batch.Result
		startJSON(n.T, n.env, &result, "batch", "--date", d.Date, "--out", n.TempDir())
		if d.LedgerMicros != result.SpendMicros || d.LedgerMicros == 0 {
			n.Errorf("%s: the ledger holds %d micros, the batch says %d", d.Date, d.LedgerMicros, result.SpendMicros)
		}
	}
	if got := start(n.T, n.env, "ledger", "verify"); got.code != config.ExitOK {
		n.Errorf("ledger verify: exit code %d: %s%s", got.code, got.out, got.err)
	}
}

// TestNightly settles two days, then one of them again for clicks that come late, and tells a webhook.
func TestNightly(t *testing.T) {
	t.Parallel()
	n := newNights(t)
	var told atomic.Int64
	hook := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var got nightly.Report
		if err := json.NewDecoder(req.Body).Decode(&got); err != nil || !strings.HasPrefix(got.Text, "nightly: 2 days settled") {
			t.Errorf("the webhook got %+v, %v", got, err)
		}
		told.Add(1)
		w.WriteHeader(http.StatusNotFound) // which must change nothing
	}))
	defer hook.Close()
	authority, file := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "webhook")
	for name, text := range map[string][]byte{
		authority: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw}),
		file:      []byte(hook.URL + "/token-4711\n"),
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.clicks(1, 1, 12)
	n.clicks(2, 2, 12)
	n.settle("01 planned, 02 planned", "--dry-run")
	env := append(n.env, "CLICKLEDGER_NIGHTLY_WEBHOOK_FILE="+file, "SSL_CERT_FILE="+authority)
	got := start(t, env, "nightly")
	if got.code != config.ExitOK || told.Load() != 1 || !strings.Contains(got.err, "summary was not sent") ||
		!strings.Contains(got.out, "2 days settled") || strings.Contains(got.err+got.out, "token-4711") {
		t.Errorf("exit code %d, %d summaries: %s%s", got.code, told.Load(), got.out, got.err)
	}
	n.settle("")
	n.clicks(3, 1, 13) // behind the stream's watermark, so the layers differ
	if got := start(t, n.env, "nightly", "--tolerance-clicks=0"); got.code != config.ExitDiscrepancies || !strings.Contains(got.out, "tolerance") {
		t.Errorf("a day beyond its tolerance: exit code %d: %s%s", got.code, got.out, got.err)
	}
	n.bills(n.settle("01 settled, 02 settled"))
	n.settle("")
	if err := os.WriteFile(file, []byte("http://example.com/token-4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := start(t, env, "nightly"); got.code != config.ExitUsage || strings.Contains(got.err, "token-4711") {
		t.Errorf("a webhook without TLS: exit code %d: %s", got.code, got.err)
	}
}

// TestNightlyOpen settles the day of now as far as it goes, and only if it is asked to.
func TestNightlyOpen(t *testing.T) {
	t.Parallel()
	n := newNights(t)
	begin := time.Now().UTC().Truncate(time.Minute).Add(-20 * time.Minute)
	if midnight := time.Now().UTC().Truncate(24 * time.Hour); begin.Before(midnight) {
		begin = midnight
	}
	for _, args := range []string{
		"generate --clicks=2000 --rate=4 --start=" + begin.Format(time.RFC3339),
		"archive --until-end", "stream --until-end", "archive --until-end",
	} {
		if got := start(t, n.env, strings.Fields(args)...); got.code != config.ExitOK {
			t.Fatalf("%s: exit code %d: %s", args, got.code, got.err)
		}
	}
	var report nightly.Report
	startJSON(t, n.env, &report, "nightly")
	for _, d := range report.Days {
		if d.State == nightly.Settled && d.Date == time.Now().UTC().Format(time.DateOnly) {
			t.Errorf("%s is open and was settled", d.Date)
		}
	}
	startJSON(t, n.env, &report, "nightly", "--open")
	last := report.Days[len(report.Days)-1]
	if last.State != nightly.Incomplete || last.PostedEntries == 0 || report.FailedDays != 0 { // the day lasts
		t.Errorf("nightly --open: %+v", last)
	}
}

// TestNightlyIsKilled kills the program when it comes to a step, and at times between, and completes the
// night: the bill is that of a batch of its own, and every advertiser has one entry a day.
func TestNightlyIsKilled(t *testing.T) {
	t.Parallel()
	n := newNights(t)
	n.clicks(1, 1, 12)
	n.clicks(2, 2, 12)
	kills := 0
	for _, step := range []string{"verify archive", "judge day", "reconcile day", "keep report", "day ended"} {
		for _, delay := range []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond} {
			if n.kill(step, delay) {
				kills++
			}
		}
	}
	t.Logf("killed %d times", kills)
	if kills < 8 {
		t.Errorf("killed %d times: the steps are not met", kills)
	}
	n.settle(strings.Join(n.rest(), ", "))
	n.settle("")
	for day := 1; day <= 2; day++ {
		date := fmt.Sprintf("2026-03-%02d", day)
		var again reconcile.Report
		startJSON(t, n.env, &again, "reconcile", "--date", date, "--post")
		var judged batch.Result
		startJSON(t, n.env, &judged, "batch", "--date", date, "--out", t.TempDir())
		if again.PostedEntries != 0 || again.LedgerMicros != judged.SpendMicros || judged.SpendMicros == 0 {
			t.Errorf("%s: posted again %d entries, %d micros in all, the batch says %d", date, again.PostedEntries, again.LedgerMicros, judged.SpendMicros)
		}
	}
	if got := start(t, n.env, "ledger", "verify"); got.code != config.ExitOK {
		t.Errorf("ledger verify: exit code %d: %s%s", got.code, got.out, got.err)
	}
}

// rest are the days that are left, as settle wants them.
func (n *nights) rest() (days []string) {
	n.Helper()
	var report nightly.Report
	startJSON(n.T, n.env, &report, "nightly", "--dry-run")
	for _, d := range report.Days {
		days = append(days, d.Date[len("2026-03-"):]+" settled")
	}
	return days
}

// kill starts nightly and kills it some time after it has logged a step; false where it ended before.
func (n *nights) kill(step string, delay time.Duration) bool {
	n.Helper()
	cmd := exec.CommandContext(n.Context(), binary, "nightly")
	cmd.Env, cmd.Dir = n.env, n.TempDir()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		n.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `msg="`+step+`"`) {
			time.Sleep(delay)
			_ = cmd.Process.Kill() // it may have ended by itself
		}
	}
	_ = cmd.Wait() // killed, or settled
	return cmd.ProcessState.ExitCode() == -1
}
