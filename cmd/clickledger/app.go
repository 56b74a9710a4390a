package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/progress"
)

// streams is what the process was started with.
type streams struct {
	out, err *os.File
	environ  []string
}

// app is what all commands share: the streams, the flags of the root, and the one result.
type app struct {
	streams

	configFile string
	json       bool

	started bool // a command's own code ran: errors before it are bad usage
	printed bool // the result is on stdout
	line    *progress.Line
}

// run executes one command line and returns the exit code of the process.
func run(ctx context.Context, args []string, in streams) int {
	a := &app{streams: in}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	a.line.Close()
	if err == nil {
		return config.ExitOK
	}
	if !a.started {
		err = &config.ExitError{Code: config.ExitUsage, Err: err}
	}
	a.fail(ctx, cmd, err)
	return config.ExitCode(err)
}

// fail prints an error on stderr, and on stdout too where a program waits for a result there.
func (a *app) fail(ctx context.Context, cmd *cobra.Command, err error) {
	text := err.Error()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		text = "interrupted: " + text
	}
	fmt.Fprintf(a.err, "%s: %s\n", cmd.CommandPath(), text)
	if !a.started {
		fmt.Fprintf(a.err, "Run '%s --help' for its usage.\n", cmd.CommandPath())
	}
	if !a.json || a.printed {
		return
	}
	failure := struct {
		Error    string          `json:"error"`
		ExitCode int             `json:"exit_code"`
		Problems config.Problems `json:"problems,omitempty"`
	}{Error: text, ExitCode: config.ExitCode(err)}
	errors.As(err, &failure.Problems)
	if err := a.writeJSON(failure); err != nil {
		fmt.Fprintf(a.err, "%s: %v\n", cmd.CommandPath(), err)
	}
}

// load reads the configuration with the flags of cmd; require names the keys that must be set.
func (a *app) load(cmd *cobra.Command, require ...string) (*config.Config, error) {
	return config.Load(config.Input{
		File: a.configFile, Environ: a.environ, Flags: cmd.Flags(), Require: require,
	})
}

// begin is the start of a job's command: it loads the configuration, and opens the log and the
// progress line on stderr.
func (a *app) begin(cmd *cobra.Command, require ...string) (*config.Config, *slog.Logger, error) {
	cfg, err := a.load(cmd, require...)
	if err != nil {
		return nil, nil, err
	}
	if err := useKafka(cfg.Kafka); err != nil {
		return nil, nil, err
	}
	useS3(cfg)
	if !a.json {
		a.line = progress.New(a.err)
	}
	return cfg, newLogger(a.line.Writer(a.err), cfg.Logging), nil
}

func newLogger(w io.Writer, cfg config.Logging) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// result prints the result of a command: v as JSON with --json, else what text writes.
func (a *app) result(v any, text func(w io.Writer) error) error {
	a.line.Close()
	a.printed = true
	if a.json {
		return a.writeJSON(v)
	}
	if err := text(a.out); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

func (a *app) writeJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}
