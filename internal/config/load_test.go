package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/clickledger/clickledger/schemas/policy"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clickledger.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// flagSet defines every key's flag and parses args.
func flagSet(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.String("date", "", "a flag that is no setting")
	for _, k := range keys {
		if flags.Lookup(k.Flag) == nil { // see FlagKey
			flags.String(k.Flag, k.Default, k.Help)
		}
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

func source(t *testing.T, c *Config, key string) string {
	t.Helper()
	for _, s := range c.Settings() {
		if s.Key == key {
			return s.Source
		}
	}
	t.Fatalf("no setting %s", key)
	return ""
}

func TestLaterSourceWins(t *testing.T) {
	t.Parallel()
	path := writeFile(t, `
log: kafka://file:9092
archive: file:///file
serving: duckdb:///file.duckdb
archiver:
  flush_interval: 10s
  max_records: 7
batch: {memory_limit: 64MiB}
gateway:
`)
	c, err := Load(Input{
		File: path,
		Environ: []string{
			"HOME=/home/x", "CLICKLEDGER_TEST_SERVICES=1", "CLICKLEDGER_POLICY=",
			"CLICKLEDGER_ARCHIVE=file:///env", "CLICKLEDGER_SERVING=duckdb:///env.duckdb",
			"CLICKLEDGER_ARCHIVER_FLUSH_INTERVAL=1m30s",
		},
		Flags: flagSet(t, "--serving=duckdb:///flag.duckdb", "--memory-limit=3GB", "--date=2026-11-01"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		key       string
		got, want any
		source    string
	}{
		{"dedup", c.Dedup, "state", "default"},
		{"log", c.Log, "kafka://file:9092", "file " + path},
		{"archive", c.Archive, "file:///env", "environment CLICKLEDGER_ARCHIVE"},
		{"serving", c.Serving, "duckdb:///flag.duckdb", "flag --serving"},
		{"archiver.flush_interval", c.Archiver.FlushInterval, 90 * time.Second,
			"environment CLICKLEDGER_ARCHIVER_FLUSH_INTERVAL"},
		{"archiver.max_records", c.Archiver.MaxRecords, 7, "file " + path},
		{"batch.memory_limit", c.Batch.MemoryLimit, Bytes(3_000_000_000), "flag --memory-limit"},
		{"gateway.listen", c.Gateway.Listen, "127.0.0.1:8080", "default"},
		{"policy", c.Policy, "", ""},
	} {
		if tc.got != tc.want {
			t.Errorf("%s = %v, want %v", tc.key, tc.got, tc.want)
		}
		if got := source(t, c, tc.key); got != tc.source {
			t.Errorf("source of %s = %q, want %q", tc.key, got, tc.source)
		}
	}
}

func TestFileNamedByEnvironment(t *testing.T) {
	t.Parallel()
	path, other := writeFile(t, "log: kafka://a:1\n"), writeFile(t, "log: kafka://b:1\n")
	environ := []string{"CLICKLEDGER_CONFIG=" + path}
	for _, tc := range []struct{ flag, want string }{{"", "kafka://a:1"}, {other, "kafka://b:1"}} {
		c, err := Load(Input{File: tc.flag, Environ: environ})
		if err != nil {
			t.Fatal(err)
		}
		if c.Log != tc.want {
			t.Errorf("log = %q, want %q", c.Log, tc.want)
		}
	}
}

func TestEmptyFlagTakesTheDefault(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{
		File:  writeFile(t, "dedup: redis://h:1\nlog: kafka://a:1\n"),
		Flags: flagSet(t, "--dedup=", "--log="),
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Dedup != "state" || c.Log != "" {
		t.Errorf("dedup, log = %q, %q, want the default and nothing", c.Dedup, c.Log)
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	path := writeFile(t, `
log: kafka://a
archive: {dir: /x}
bucket: file:///x
gateway: {listen: 8080, port: 1}
archiver: {flush_interval: 10, max_records: many}
ledger: postgres://u:hunter2@/x
`)
	_, err := Load(Input{
		File:    path,
		Environ: []string{"CLICKLEDGER_LOGGING_LEVEL=loud", "CLICKLEDGER_FOO=1"},
		Flags:   flagSet(t, "--memory-limit=1GiG", "--dedup=redis://:hunter2@h:1/0"),
		Require: []string{"serving", "log"},
	})
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error = %v, want Problems", err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Key)
		if p.Expected == "" {
			t.Errorf("%s: no word on what was expected", p.Key)
		}
	}
	want := []string{
		"CLICKLEDGER_FOO", "archive.dir", "bucket", "gateway.port", "log", "serving", "ledger", "dedup",
		"logging.level", "gateway.listen", "archiver.flush_interval", "archiver.max_records",
		"batch.memory_limit",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems of %q\nwant        %q", got, want)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the message holds a password: %v", err)
	}
	if ExitCode(err) != ExitUsage {
		t.Errorf("exit code = %d, want %d", ExitCode(err), ExitUsage)
	}
	if line := `archiver.flush_interval: found "10" in file ` + path + `; expected a duration with its unit, from 10ms to 1h0m0s`; !strings.Contains(err.Error(), line) {
		t.Errorf("message %q\nlacks the line %q", err, line)
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"missing":       filepath.Join(t.TempDir(), "none.yaml"),
		"directory":     t.TempDir(),
		"not yaml":      writeFile(t, "log: [\n"),
		"not a mapping": writeFile(t, "- log\n"),
		"key twice":     writeFile(t, "log: kafka://a:1\nlog: kafka://b:1\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(Input{File: path, Require: []string{"serving"}})
			var problems Problems
			if !errors.As(err, &problems) || len(problems) != 2 || problems[0].Key != "config" {
				t.Fatalf("error = %v, want problems of config and of serving", err)
			}
		})
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	for _, in := range []Input{
		{File: writeFile(t, "gateway: {redirect_hosts: [shop.example, '*.a.example']}\n")},
		{Environ: []string{"CLICKLEDGER_GATEWAY_REDIRECT_HOSTS=shop.example,*.a.example"}},
		{Flags: flagSet(t, "--redirect-hosts=shop.example, *.a.example")},
	} {
		c, err := Load(in)
		if err != nil {
			t.Fatal(err)
		}
		if want := (List{"shop.example", "*.a.example"}); !slices.Equal(c.Gateway.RedirectHosts, want) {
			t.Errorf("%+v: hosts %q, want %q", in, c.Gateway.RedirectHosts, want)
		}
	}
	for _, text := range []string{"[a, [b]]", "['a,b']", "[a, '']", "{a: b}", "[null]", "'a,'"} {
		if _, err := Load(Input{File: writeFile(t, "gateway: {redirect_hosts: "+text+"}\n")}); err == nil {
			t.Errorf("a list takes %s", text)
		}
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{})
	if err != nil || c.BillingPolicy().Hash() != policy.Default().Hash() {
		t.Errorf("without a policy key: %v, want the default policy", err)
	}
	c, err = Load(Input{Flags: flagSet(t, "--policy", writeFile(t, "revisions: [{salt: 7}]\n"))})
	if err != nil || c.BillingPolicy().Revisions[0].Salt != 7 {
		t.Errorf("with a policy file: %v, want salt 7", err)
	}
	_, err = Load(Input{Flags: flagSet(t, "--log=x", "--policy", writeFile(t, "revisions: [{salt: 0, max_record_bytes: 0}]\n"))})
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Fatalf("error = %v, want the problem of the log and two of the policy", err)
	}
	for i, want := range []string{"revisions[0].max_record_bytes", "revisions[0].salt"} {
		if p := problems[i+1]; p.Key != "policy" || !strings.Contains(p.Expected, want) {
			t.Errorf("problem %d = %v, want one of %s", i+1, p, want)
		}
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for key, values := range map[string]struct{ good, bad []string }{
		"log": {
			good: []string{"kafka://h:9092", "kafka://a:1,b:2,[::1]:3"},
			bad:  []string{"kafka://", "kafka://h", "kafka://h:0", "kafka://h:99999", "kafka://h:1,", "h:1", "kafka://u:p@h:1"},
		},
		"archive": {
			good: []string{"file:///a/b", "s3://bucket", "s3://bucket/a/b"},
			bad:  []string{"/a/b", "file://a/b", "file:///", "s3://", "duckdb:///x", "s3:///x", "://", "s3://k:s@b/p", "s3://b?endpoint=h"},
		},
		"serving": {
			good: []string{"duckdb:///x.duckdb", "clickhouse://h:9000/db"},
			bad:  []string{"duckdb://x", "clickhouse://", "postgres://h/x"},
		},
		"ledger": {good: []string{"postgres://h/db", "postgres://u@h:1/db"}, bad: []string{"h", "postgres://", "mysql://h"}},
		"dedup":  {good: []string{"state", "redis://h:6379/0"}, bad: []string{"memory", "redis://"}},
		"s3.endpoint": {
			good: []string{"http://127.0.0.1:9000", "https://s3.example", "https://s3.example/"},
			bad:  []string{"s3.example", "ftp://h", "http://k:s@h", "http://h/bucket", "http://h?x=1"},
		},
		"gateway.listen": {
			good: []string{":80", "127.0.0.1:0", "[::1]:8080"},
			bad:  []string{"80", "h:http", "h:-1", "h:70000"},
		},
		"archiver.flush_interval":    {good: []string{"1s", "1h"}, bad: []string{"1", "0s", "-1s", "2h", "1d"}},
		"archiver.max_records":       {good: []string{"1"}, bad: []string{"0", "1.5", "1e6"}},
		"batch.memory_limit":         {good: []string{"64MiB", "2 GB", "67108864"}, bad: []string{"1", "-1GB", "2XB", "9999PB"}},
		"logging.level":              {good: []string{"debug"}, bad: []string{"INFO"}},
		"reconcile.tolerance_clicks": {good: []string{"0", "10000000000"}, bad: []string{"-1", "1.5", "all", "9223372036854775808"}},
	} {
		for _, value := range values.good {
			if _, err := Load(Input{Flags: flagSet(t, "--"+mustFind(t, key).Flag, value)}); err != nil {
				t.Errorf("%s refuses %q: %v", key, value, err)
			}
		}
		for _, value := range values.bad {
			if _, err := Load(Input{Flags: flagSet(t, "--"+mustFind(t, key).Flag, value)}); err == nil {
				t.Errorf("%s takes %q", key, value)
			}
		}
	}
}

func mustFind(t *testing.T, name string) Key {
	t.Helper()
	k, ok := Find(name)
	if !ok {
		t.Fatalf("no key %s", name)
	}
	return k
}

// TestTableAgreesWithConfig keeps the key table and the fields of Config together.
func TestTableAgreesWithConfig(t *testing.T) {
	t.Parallel()
	var fields []string
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for f := range typ.Fields() {
			tag := f.Tag.Get("koanf")
			switch {
			case !f.IsExported():
			case f.Type.Kind() == reflect.Struct:
				walk(prefix+tag+".", f.Type)
			default:
				fields = append(fields, prefix+tag)
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	var names []string
	// A flag may be taken by keys of two groups that no command has both of; the command tree says so.
	type groupFlag struct {
		flag   string
		stable bool
		group  string
	}
	flags, envs := map[groupFlag]bool{}, map[string]bool{EnvFile: true}
	for _, k := range Keys() {
		names = append(names, k.Name)
		flag := groupFlag{k.Flag, k.Stable, k.Group()}
		if flags[flag] || flags[groupFlag{flag: k.Flag, stable: true}] || envs[k.Env()] {
			t.Errorf("flag or environment variable of %s is taken", k.Name)
		}
		flags[flag], envs[k.Env()] = true, true
		if k.Default != "" && k.Kind.Valid != nil && k.Kind.Valid(k.Default) != nil {
			t.Errorf("%s: default %q is not valid", k.Name, k.Default)
		}
	}
	slices.Sort(fields)
	slices.Sort(names)
	if !slices.Equal(fields, names) {
		t.Errorf("fields of Config %q\nkeys of the table %q", fields, names)
	}
}

// TestVariablesThatAreNoSettings: what the documentation names beside the settings is no unknown key.
func TestVariablesThatAreNoSettings(t *testing.T) {
	t.Parallel()
	for _, pair := range []string{EnvPostgresBin + "=fetch", EnvFile + "=", "CLICKLEDGER_TEST_SERVICES=1"} {
		if _, err := Load(Input{Environ: []string{pair}}); err != nil {
			t.Errorf("%s: %v", pair, err)
		}
	}
	if _, err := Load(Input{Environ: []string{"CLICKLEDGER_POSTGRES_BINS=fetch"}}); err == nil {
		t.Error("an unknown variable was taken")
	}
}

// TestPathBesideTheFile: a path in a file that moves with the file is relative to it, one in the
// environment to where the program runs.
func TestPathBesideTheFile(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "s3: {credentials_file: keys}\n")
	keys := filepath.Join(filepath.Dir(file), "keys")
	if _, err := Load(Input{File: file}); err == nil {
		t.Error("credentials that are not there were taken")
	}
	if err := os.WriteFile(keys, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Input{File: file})
	if err != nil || c.S3.CredentialsFile != keys {
		t.Errorf("got %q, %v, want %s", c.S3.CredentialsFile, err, keys)
	}
	if _, err = Load(Input{File: file, Environ: []string{"CLICKLEDGER_S3_CREDENTIALS_FILE=keys"}}); err == nil {
		t.Error("a path in the environment is relative to the file")
	}
}
