package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
)

func newConfigCommand(a *app) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:     "config",
		Short:   "Check the configuration",
		Long:    "The commands about the configuration itself.",
		Example: "  clickledger config check --config clickledger.yaml",
	}, newConfigCheckCommand(a))
}

type configResult struct {
	Settings []config.Setting `json:"settings"`
	Policy   policyResult     `json:"policy"`
}

type policyResult struct {
	Hash          string      `json:"hash"`
	EffectiveFrom []time.Time `json:"effective_from"` // of each revision
}

func newConfigCheckCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check file, environment, flags and policy, and print what came out",
		Long: `Reads the configuration file, the environment, the flags and the policy document
as a job would, and prints every setting with its source. Passwords are
redacted. Nothing is connected to and nothing is written.

All problems are reported at once, each with its key, where it was found and
what was expected there; the exit code is 2 then.`,
		Example: `  clickledger config check --config clickledger.yaml
  CLICKLEDGER_ARCHIVE=s3://clicks/prod clickledger config check --json
  clickledger config check --policy policy.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			r := configResult{Settings: cfg.Settings()}
			r.Policy.Hash = cfg.BillingPolicy().Hash()
			for _, revision := range cfg.BillingPolicy().Revisions {
				r.Policy.EffectiveFrom = append(r.Policy.EffectiveFrom, revision.EffectiveFrom)
			}
			return a.result(r, func(w io.Writer) error { return writeConfig(w, r) })
		},
	}
	for _, key := range config.Keys() {
		// A flag of two keys is the first one's here: --runner is the stream's.
		if !key.Stable && cmd.Flags().Lookup(key.Flag) == nil {
			addSettings(cmd, key.Name)
		}
	}
	return cmd
}

func writeConfig(w io.Writer, r configResult) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range r.Settings {
		value, source := s.Value, s.Source
		if value == "" {
			value, source = "-", "not set"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Key, value, source)
	}
	fmt.Fprintf(table, "policy hash\t%s\t%d revisions\n", r.Policy.Hash, len(r.Policy.EffectiveFrom))
	return table.Flush()
}
