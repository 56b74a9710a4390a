package main

import (
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/clickledger/clickledger/internal/config"
)

// setting is the flag of a configuration key. It keeps the text as it was given: config.Load checks
// it together with what files and environment say, so that all problems come at once.
type setting struct {
	key  config.Key
	text string
}

func (s *setting) String() string { return s.text }

// Set takes any text.
func (s *setting) Set(text string) error {
	s.text = text
	return nil
}

// Type is the word for the value in the help.
func (s *setting) Type() string { return s.key.Kind.Type }

// addSetting defines the flag of a key. Flags are defined in this package only.
func addSetting(flags *pflag.FlagSet, key config.Key) {
	flag := flags.VarPF(&setting{key: key, text: key.Default}, key.Flag, "", key.Help)
	flag.Annotations = map[string][]string{config.FlagKey: {key.Name}}
	if _, err := strconv.ParseBool(key.Default); err == nil && key.Kind.Type == "bool" {
		flag.NoOptDefVal = "true"
	}
}

// addSettings defines the flags of the keys with these names, which are not the stable ones.
func addSettings(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		key, ok := config.Find(name)
		if !ok || key.Stable {
			panic("no key of a command's own: " + name)
		}
		addSetting(cmd.Flags(), key)
	}
}

// addGroup defines the flags of all keys in a group of the configuration file.
func addGroup(cmd *cobra.Command, group string) {
	for _, key := range config.Keys() {
		if key.Group() == group && !key.Stable {
			addSetting(cmd.Flags(), key)
		}
	}
}

func addDryRun(cmd *cobra.Command, dryRun *bool) {
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "say what would be written, and write nothing")
}
