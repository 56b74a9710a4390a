package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                     "",
		"state":                                "state",
		"kafka://a:1,b:2":                      "kafka://a:1,b:2",
		"postgres://u@h:1/db":                  "postgres://u@h:1/db",
		"postgres://u:secret@h:1/db":           "postgres://u:xxxxx@h:1/db",
		"postgres://u:se/c@ret@h/db":           "postgres://u:xxxxx@h/db",
		"redis://:secret@h:1/0":                "redis://:xxxxx@h:1/0",
		"postgres://h/db?password=p&a=b":       "postgres://h/db?password=xxxxx&a=b",
		"clickhouse://h/db?a=b&SSLPassword=p":  "clickhouse://h/db?a=b&SSLPassword=xxxxx",
		"s3://b/p?secret_access_key=k&x=1":     "s3://b/p?secret_access_key=xxxxx&x=1",
		"file:///dir/with:colon/and?sslmode=x": "file:///dir/with:colon/and?sslmode=x",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLedgerURL(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("p@ss/word\r\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ url, file, want string }{
		{"", path, ""},
		{"postgres://u@h/db", "", "postgres://u@h/db"},
		{"postgres://u@h/db", path, "postgres://u:p%40ss%2Fword@h/db"},
		{"postgres://u:own@h/db", path, "postgres://u:own@h/db"},
	} {
		c := Config{Ledger: tc.url, LedgerPasswordFile: tc.file}
		got, err := c.LedgerURL()
		if err != nil || got != tc.want {
			t.Errorf("LedgerURL() of %+v = %q, %v, want %q", tc, got, err, tc.want)
		}
	}
	c := Config{Ledger: "postgres://u@h/db", LedgerPasswordFile: path + ".none"}
	if _, err := c.LedgerURL(); err == nil {
		t.Error("LedgerURL() takes a file that is not there")
	}
}

func TestAPILedgerURL(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("reader\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ ledger, api, file, want string }{
		{"", "", "", ""},
		{"postgres://u:own@h/db", "", path, "postgres://u:own@h/db"},
		{"postgres://u:own@h/db", "postgres://r@h/db", "", "postgres://r@h/db"},
		{"postgres://u:own@h/db", "postgres://r@h/db", path, "postgres://r:reader@h/db"},
		{"", "postgres://r:mine@h/db", path, "postgres://r:mine@h/db"},
	} {
		c := Config{Ledger: tc.ledger, API: API{Ledger: tc.api, LedgerPasswordFile: tc.file}}
		if got, err := c.APILedgerURL(); err != nil || got != tc.want {
			t.Errorf("APILedgerURL() of %+v = %q, %v, want %q", tc, got, err, tc.want)
		}
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, ExitOK},
		{errors.New("x"), ExitFailed},
		{Problems{{Key: "log"}}, ExitUsage},
		{fmt.Errorf("run: %w", &ExitError{Code: ExitDiscrepancies, Err: errors.New("x")}), ExitDiscrepancies},
	} {
		if got := ExitCode(tc.err); got != tc.want {
			t.Errorf("ExitCode(%v) = %d, want %d", tc.err, got, tc.want)
		}
	}
}

func TestServingURL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from file\r\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		serving, file, user, password, want string
	}{
		{serving: "duckdb:///x", file: file, user: "u", password: "p", want: "duckdb:///x"},
		{serving: "clickhouse://h:9000/db", want: "clickhouse://h:9000/db"},
		{serving: "clickhouse://h:9000/db", user: "u", password: "p/@", want: "clickhouse://u:p%2F%40@h:9000/db"},
		{serving: "clickhouse://me@h:9000/db", user: "u", password: "p", want: "clickhouse://me:p@h:9000/db"},
		{serving: "clickhouse://me:own@h:9000/db", file: file, password: "p", want: "clickhouse://me:own@h:9000/db"},
		{serving: "clickhouse://me@h:9000/db?secure=true", file: file, password: "p", want: "clickhouse://me:from%20file@h:9000/db?secure=true"},
		{serving: "clickhouse://h", user: "u", want: "clickhouse://u@h"},
	} {
		t.Setenv("CLICKHOUSE_USER", tc.user)
		t.Setenv("CLICKHOUSE_PASSWORD", tc.password)
		c := Config{Serving: tc.serving, ServingPasswordFile: tc.file}
		if got, err := c.ServingURL(); err != nil || got != tc.want {
			t.Errorf("%+v: got %q, %v", tc, got, err)
		}
	}
	c := Config{Serving: "clickhouse://h", ServingPasswordFile: file + "x"}
	if _, err := c.ServingURL(); err == nil {
		t.Error("takes a file that is not there")
	}
}
