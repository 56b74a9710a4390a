package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
)

// newRoot builds the tree of commands.
func newRoot(a *app) *cobra.Command {
	root := newGroup(&cobra.Command{
		Use:   "clickledger",
		Short: "Ad clicks in, a dashboard and a reconciled bill out",
		Long: `Clickledger turns a stream of ad clicks into a dashboard that is right within
seconds and a bill that is right to the cent, and explains every difference
between the two.

Every command reads one YAML file (--config), the environment (CLICKLEDGER_…)
and its flags; the later source wins. With --json it prints one machine-readable
result on stdout; logs go to stderr.

Exit codes: 0 done, 1 failed (running it again is safe), 2 bad usage or
configuration, 3 discrepancies above the tolerance.`,
		Example: `  clickledger demo
  clickledger config check --config clickledger.yaml
  clickledger batch --archive file:///data/archive --date 2026-11-01 --json`,
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.PersistentFlags().StringVarP(&a.configFile, "config", "c", "", "the YAML configuration `file`")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one machine-readable result on stdout")
	for _, key := range config.Keys() {
		if key.Stable {
			addSetting(root.PersistentFlags(), key)
		}
	}
	root.AddCommand(
		newDemoCommand(a),
		newStandaloneCommand(a),
		newBatchCommand(a),
		newReconcileCommand(a),
		newNightlyCommand(a),
		newLedgerCommand(a),
		newExplainCommand(a),
		newSQLCommand(a),
		newJobsCommand(a),
		newConfigCommand(a),
		newGatewayCommand(a),
		newURLCommand(a),
		newAPICommand(a),
		newTokenCommand(a),
		newGenerateCommand(a),
		newMigrateCommand(a),
		newArchiveCommand(a),
		newStreamCommand(a),
		newWorkerCommand(a),
		newDevCommand(a),
		newVersionCommand(a),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	finishDefaults(root)
	markStart(a, root)
	return root
}

// newGroup makes cmd a command that only holds others: alone, it is bad usage.
func newGroup(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	cmd.Args = cobra.NoArgs // cobra answers an unknown subcommand with this check
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		if err := cmd.Help(); err != nil {
			return err
		}
		return &config.ExitError{Code: config.ExitUsage, Err: fmt.Errorf("needs a command")}
	}
	return cmd
}

// markStart notes when a command's own code starts, in the whole tree under cmd. What goes wrong
// before it, in flags and arguments, is bad usage.
func markStart(a *app, cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.started = true
			return run(cmd, args)
		}
	}
	for _, child := range cmd.Commands() {
		markStart(a, child)
	}
}

// finishDefaults gives the commands that cobra adds what all commands have: examples, and exit code 2
// for what they do not know.
func finishDefaults(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			newGroup(cmd).Example = "  source <(clickledger completion bash)"
			for _, shell := range cmd.Commands() {
				shell.Example = "  clickledger completion " + shell.Name()
			}
		case "help":
			cmd.Example = "  clickledger help batch"
			cmd.RunE = func(_ *cobra.Command, args []string) error {
				topic, rest, err := root.Find(args)
				if err == nil && len(rest) > 0 {
					err = fmt.Errorf("unknown help topic %q", rest[0])
				}
				if err != nil {
					return &config.ExitError{Code: config.ExitUsage, Err: err}
				}
				return topic.Help()
			}
		}
	}
}
