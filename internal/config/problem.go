package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	Key      string `json:"key"`              // the key, e.g. "gateway.listen"
	Source   string `json:"source,omitempty"` // "file x.yaml", "environment CLICKLEDGER_LOG", "flag --log"; empty when unset
	Value    string `json:"value,omitempty"`  // what was found, redacted; empty when unset
	Expected string `json:"expected"`         // what the key takes
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Key)
	if p.Source == "" {
		b.WriteString(": is not set")
	} else {
		fmt.Fprintf(&b, ": found %q in %s", p.Value, p.Source)
	}
	return b.String() + "; expected " + p.Expected
}

// Problems is everything that is wrong with a configuration, in the order of the key table. As an
// error it has one line for each problem, and ExitCode maps it to ExitUsage.
//
//nolint:errname // the problems are data first, which `config check --json` prints
type Problems []Problem

func (ps Problems) Error() string {
	var b strings.Builder
	noun := "problems"
	if len(ps) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(&b, "configuration has %d %s:", len(ps), noun)
	for _, p := range ps {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}
