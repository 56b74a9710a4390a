package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/gateway"
	"github.com/clickledger/clickledger/jobs/generate"
	"github.com/clickledger/clickledger/jobs/stream"
)

// TestUnreachableService is one clear line that names the URL, and exit code 1.
func TestUnreachableService(t *testing.T) {
	t.Parallel()
	got := start(t, nil, "archive", "--log", "kafka://127.0.0.1:1", "--archive", "file://"+t.TempDir(), "--json")
	if got.code != config.ExitFailed || strings.Count(got.err, "\n") != 1 || !strings.Contains(got.err, "kafka://127.0.0.1:1: ") {
		t.Errorf("exit code %d, stderr %q, want 1 and one line with the URL", got.code, got.err)
	}
	var failure struct {
		Error    string `json:"error"`
		ExitCode int    `json:"exit_code"`
	}
	if err := json.Unmarshal([]byte(got.out), &failure); err != nil || failure.ExitCode != config.ExitFailed || failure.Error == "" {
		t.Errorf("stdout %q, want the error as JSON", got.out)
	}
}

// TestClickThroughTheJobs drives one click through the program's gateway, ends that with Ctrl-C, and
// lets archive and stream find the click in the log.
func TestClickThroughTheJobs(t *testing.T) {
	t.Parallel()
	broker, err := embedkafka.Start(t.Context(), embedkafka.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	dir := t.TempDir()
	env := []string{
		"CLICKLEDGER_LOG=" + broker.URL(),
		"CLICKLEDGER_ARCHIVE=file://" + filepath.Join(dir, "archive"),
		"CLICKLEDGER_SERVING=duckdb://" + filepath.Join(dir, "serving.duckdb"),
		"CLICKLEDGER_LOGGING_FORMAT=json",
		"CLICKLEDGER_GATEWAY_LISTEN=127.0.0.1:0",
		"CLICKLEDGER_GATEWAY_REDIRECT_HOSTS=shop.example",
		"CLICKLEDGER_GATEWAY_WAL_DIR=" + filepath.Join(dir, "wal"),
	}
	var migrated migrateResult
	startJSON(t, env, &migrated, "migrate")
	if len(migrated.Places) != 2 {
		t.Errorf("migrated %q, want the serving store and the log", migrated.Places)
	}
	if got := clickOnce(t, env); got.Redirected != 1 {
		t.Errorf("gateway counts %+v, want one redirect", got)
	}
	var plan logPlan
	startJSON(t, env, &plan, "archive", "--dry-run")
	records := int64(0)
	for _, p := range plan.Partitions {
		records += p.End - p.First
	}
	if records != 1 {
		t.Errorf("the dry run finds %d records in %+v, want 1", records, plan)
	}
	if _, err := os.Stat(filepath.Join(dir, "archive")); !os.IsNotExist(err) {
		t.Errorf("the dry run left an archive: %v", err)
	}
	var archived archive.Progress
	startJSON(t, env, &archived, "archive", "--until-end")
	if archived.Records != 1 || archived.DeadLetters != 1 {
		t.Errorf("archived %+v, want one record, a dead letter", archived)
	}
	verifyArchive(t, env, filepath.Join(dir, "archive"))
	var generated generate.Result
	startJSON(t, env, &generated, "generate", "--clicks=2000", "--rate=100000")
	if generated.LogRecords < 2000 {
		t.Errorf("generated %+v, want 2000 records", generated)
	}
	var judged stream.Stats
	startJSON(t, env, &judged, "stream", "--until-end")
	if judged.Records != generated.LogRecords+1 || judged.Judged() != judged.Records {
		t.Errorf("judged %+v, want the click and %d generated records", judged, generated.LogRecords)
	}
}

// verifyArchive proves that the archive is whole, breaks it, and proves that this is seen.
func verifyArchive(t *testing.T, env []string, dir string) {
	t.Helper()
	var whole archive.Report
	startJSON(t, env, &whole, "archive", "verify")
	if !whole.LogChecked || len(whole.Problems) != 0 {
		t.Errorf("report %+v, want a whole archive", whole)
	}
	if err := os.RemoveAll(filepath.Join(dir, "dead_letters")); err != nil {
		t.Fatal(err)
	}
	got := start(t, env, "archive", "verify")
	if got.code != config.ExitDiscrepancies || !strings.Contains(got.out, "problem: ") {
		t.Errorf("exit code %d, %s, want 3 and the problem", got.code, got.out)
	}
}

// startJSON runs the program with --json, and reads its result into result.
func startJSON(t *testing.T, env []string, result any, args ...string) {
	t.Helper()
	got := start(t, env, append(args, "--json")...)
	if got.code != config.ExitOK {
		t.Fatalf("%s: exit code %d: %s", args[0], got.code, got.err)
	}
	if err := json.Unmarshal([]byte(got.out), result); err != nil {
		t.Fatalf("%s: %v: %s", args[0], err, got.out)
	}
}

// clickOnce runs the gateway for one click that lacks almost everything, and interrupts it.
func clickOnce(t *testing.T, env []string) (result gateway.Result) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "gateway", "--json")
	cmd.Env = env
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	logs := bufio.NewScanner(stderr)
	var line struct {
		Address string `json:"address"`
	}
	for line.Address == "" {
		if !logs.Scan() {
			t.Fatalf("the gateway does not listen: %v, %s", cmd.Wait(), &out)
		}
		if err := json.Unmarshal(logs.Bytes(), &line); err != nil {
			t.Fatalf("log line %q: %v", logs.Text(), err)
		}
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Get("http://" + line.Address + "/api/v1/clicks?click_id=c1&redirect_url=https%3A%2F%2Fshop.example%2F")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusFound {
		t.Errorf("status %d, want 302", response.StatusCode)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for logs.Scan() {
		t.Log(logs.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		t.Errorf("result %s: %v", &out, err)
	}
	return result
}
