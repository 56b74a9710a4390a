package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/clickhousetest"
	"github.com/clickledger/clickledger/internal/config"
)

// binary is the program, built once for all tests of the package.
var binary string

func TestMain(m *testing.M) {
	clickhousetest.RecordIfAsked()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "clickledger-cmd-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "clickledger")
		build := exec.Command("go", "build", "-o", binary, ".")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

type outcome struct {
	out, err string
	code     int
}

// start runs the program with the environment env alone.
func start(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &stderr
	cmd.Dir = t.TempDir()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{out: out.String(), err: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"version", config.ExitOK, ""},
		{"--help", config.ExitOK, ""},
		{"help config check", config.ExitOK, ""},
		{"config check", config.ExitOK, ""},
		{"", config.ExitUsage, "needs a command"},
		{"config", config.ExitUsage, "needs a command"},
		{"completion", config.ExitUsage, "needs a command"},
		{"bogus", config.ExitUsage, "unknown command"},
		{"config bogus", config.ExitUsage, "unknown command"},
		{"help bogus", config.ExitUsage, "bogus"},
		{"help config bogus", config.ExitUsage, "bogus"},
		{"completion bogus", config.ExitUsage, "unknown command"},
		{"version extra", config.ExitUsage, "unknown command"},
		{"version --bogus", config.ExitUsage, "unknown flag"},
		{"version --json=maybe", config.ExitUsage, "invalid argument"},
		{"config check --log x", config.ExitUsage, "kafka://host:port"},
		{"config check --config none.yaml", config.ExitUsage, "none.yaml"},
		{"config check --policy none.yaml", config.ExitUsage, "none.yaml"},
		{"gateway --listen x", config.ExitUsage, "log: is not set"},
		{"gateway --log kafka://127.0.0.1:1", config.ExitUsage, "gateway.redirect_hosts"},
		{"gateway --log kafka://127.0.0.1:1 --url-keys-file none.txt", config.ExitUsage, "none.txt"},
		{"gateway --log kafka://127.0.0.1:1 --redirect-hosts a.example --country-file none.mmdb", config.ExitUsage, "none.mmdb"},
		{"gateway --log kafka://127.0.0.1:1 --redirect-hosts a.example --trusted-proxies 1.2.3.4/99", config.ExitUsage, "trusted_proxies"},
		{"archive", config.ExitUsage, "archive: is not set"},
		{"stream --shards 0", config.ExitUsage, "serving: is not set"},
		{"stream --log kafka://127.0.0.1:1 --serving duckdb:///x.db --kafka-ca-file x.pem", config.ExitUsage, "kafka.tls"},
		{"stream --log kafka://127.0.0.1:1 --serving duckdb:///x.db --kafka-sasl plain", config.ExitUsage, "needs a user"},
		{"stream --log kafka://h:1 --serving duckdb:///x.db --dedup redis://h:1 --dedup-on-failure guess", config.ExitUsage, "one of wait, state"},
		{"generate", config.ExitUsage, "log: is not set"},
		{"generate --log kafka://h:1 --start monday", config.ExitUsage, "start"},
		{"generate --gateway x --ads 0", config.ExitUsage, "generate.gateway"},
		{"migrate", config.ExitUsage, "at least one"},
		{"migrate --log kafka://h:1 --partitions 0", config.ExitUsage, "partitions"},
		{"migrate --log kafka://h:1 --dry-run", config.ExitOK, ""},
		{"batch --archive file:///none", config.ExitUsage, "\"date\" not set"},
		{"batch --date 2026-13-01", config.ExitUsage, "archive: is not set"},
		{"batch --archive file:///none --date 1.3.2026", config.ExitUsage, "a day like"},
		{"batch --archive file:///none --date 2026-03-01 --shards 9", config.ExitUsage, "unknown flag"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Parallel()
			got := start(t, nil, strings.Fields(tc.args)...)
			if got.code != tc.code {
				t.Errorf("exit code %d, want %d: %s", got.code, tc.code, got.err)
			}
			if !strings.Contains(got.err, tc.stderr) || tc.stderr == "" && got.err != "" {
				t.Errorf("stderr %q, want it to say %q", got.err, tc.stderr)
			}
			if tc.code != config.ExitOK && got.out != "" {
				t.Errorf("stdout of a failure holds %q", got.out)
			}
		})
	}
}

func TestSourcesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := "log: kafka://file:1\narchive: file:///file\nledger: postgres://u:hunter2@h/db\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"CLICKLEDGER_ARCHIVE=file:///env", "CLICKLEDGER_SERVING=duckdb:///env"}
	got := start(t, env, "config", "check", "-c", path, "--serving", "duckdb:///flag", "--json")
	var result configResult
	if err := json.Unmarshal([]byte(got.out), &result); err != nil || got.code != config.ExitOK {
		t.Fatalf("exit code %d, %v: %s", got.code, err, got.err)
	}
	for key, want := range map[string]config.Setting{
		"log":     {Value: "kafka://file:1", Source: "file " + path},
		"archive": {Value: "file:///env", Source: "environment CLICKLEDGER_ARCHIVE"},
		"serving": {Value: "duckdb:///flag", Source: "flag --serving"},
		"ledger":  {Value: "postgres://u:xxxxx@h/db", Source: "file " + path},
		"dedup":   {Value: "state", Source: "default"},
	} {
		want.Key = key
		if !slices.Contains(result.Settings, want) {
			t.Errorf("settings %v\nlack %v", result.Settings, want)
		}
	}
	if len(result.Policy.Hash) != 32 || strings.Contains(got.out, "hunter2") {
		t.Errorf("result %s", got.out)
	}
}

// TestEveryProblem runs the program on a configuration with problems in all sources.
func TestEveryProblem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad, rules := filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "policy.yaml")
	for path, text := range map[string]string{
		bad:   "log: h:1\nlgo: x\narchiver: {max_records: 0}\npolicy: " + rules + "\n",
		rules: "revisions: [{salt: 0, max_record_bytes: 0}]\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"CLICKLEDGER_CONFIG=" + bad, "CLICKLEDGER_DEDUP=maybe"}
	got := start(t, env, "config", "check", "--archive", "/x", "--json")
	var failure struct {
		Error    string           `json:"error"`
		ExitCode int              `json:"exit_code"`
		Problems []config.Problem `json:"problems"`
	}
	if err := json.Unmarshal([]byte(got.out), &failure); err != nil {
		t.Fatalf("%v: %s", err, got.out)
	}
	var keys []string
	for _, p := range failure.Problems {
		keys = append(keys, p.Key)
		if !strings.Contains(got.err, p.String()) {
			t.Errorf("stderr lacks %q", p)
		}
	}
	want := []string{"lgo", "log", "archive", "dedup", "policy", "policy", "archiver.max_records"}
	if got.code != config.ExitUsage || failure.ExitCode != config.ExitUsage || !slices.Equal(keys, want) {
		t.Errorf("exit code %d, keys %q, want 2, %q", got.code, keys, want)
	}
}

// TestHelp holds every command to what a user may expect of each.
func TestHelp(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" {
			t.Errorf("%s lacks a short or long help or an example", path)
		}
		if !cmd.Runnable() {
			t.Errorf("%s does nothing", path)
		}
		got := start(t, nil, append(strings.Fields(path)[1:], "--help")...)
		if got.code != config.ExitOK || !strings.Contains(got.out, "Examples:") {
			t.Errorf("%s --help: exit code %d, no examples in %q", path, got.code, got.out)
		}
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(newRoot(&app{}))
}

// TestExamplesParse runs the flags and arguments of every example through its command's parser.
func TestExamplesParse(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			_, args, found := strings.Cut(line, "clickledger ")
			if !found || strings.ContainsAny(args, `"'`) {
				continue
			}
			args, _, _ = strings.Cut(strings.TrimRight(args, ")"), " >") // the shell's
			root := newRoot(&app{})
			target, rest, err := root.Find(strings.Fields(args))
			if err == nil {
				err = target.ParseFlags(rest)
			}
			if err == nil {
				err = target.ValidateArgs(target.Flags().Args())
			}
			if err != nil {
				t.Errorf("example of %s: %q: %v", cmd.CommandPath(), line, err)
			}
		}
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	for _, child := range newRoot(&app{}).Commands() {
		walk(child)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := start(t, nil, "completion", shell)
		if got.code != config.ExitOK || !strings.Contains(got.out, "clickledger") {
			t.Errorf("completion %s: exit code %d, %q", shell, got.code, got.err)
		}
	}
	if got := start(t, nil, "__complete", "config", "ch"); !strings.HasPrefix(got.out, "check\t") {
		t.Errorf("completion of 'config ch' = %q", got.out)
	}
	if got := start(t, nil, "__complete", "config", "check", "--arch"); !strings.Contains(got.out, "--archive") {
		t.Errorf("completion of '--arch' = %q", got.out)
	}
}
