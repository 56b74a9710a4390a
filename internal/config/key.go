package config

import (
	"strings"
)

// EnvPrefix starts the name of every environment variable that the program reads. Variables that
// start with EnvPrefix + "TEST_" belong to tests and are ignored.
const EnvPrefix = "CLICKLEDGER_"

// EnvFile is the variable that names the configuration file when no flag does.
const EnvFile = EnvPrefix + "CONFIG"

// EnvPostgresBin is the variable that names the folder of PostgreSQL's programs for the private
// servers of demo, standalone and dev up, or is "fetch" (docs/decisions/0007).
const EnvPostgresBin = EnvPrefix + "POSTGRES_BIN"

// otherVariables start with EnvPrefix and are no settings.
var otherVariables = []string{EnvFile, EnvPostgresBin}

// FlagKey is the annotation of a flag that names its key, for flags that several keys have in
// different commands.
const FlagKey = "clickledger_key"

// Key is one setting: an entry of the table that files, environment, flags and help come from.
type Key struct {
	Name    string // in the file: nested by dots, snake_case, e.g. "archiver.flush_interval"
	Flag    string // on the command line: kebab-case, unique within a command
	Stable  bool   // the flag belongs to every command, and other people's programs rely on it
	Default string // in the text form of the file; empty is unset
	Help    string // one line, starting with a small letter
	Kind    Kind   // what values it takes
	Secret  bool   // never printed
}

// Env returns the name of the key's environment variable, e.g. CLICKLEDGER_ARCHIVER_FLUSH_INTERVAL.
func (k Key) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

// Group returns the part of the name before the dot, empty for the keys at the top.
func (k Key) Group() string {
	group, _, nested := strings.Cut(k.Name, ".")
	if !nested {
		return ""
	}
	return group
}

// Keys returns the table of all settings, the stable ones first. The slice is the caller's.
func Keys() []Key { return append([]Key(nil), keys...) }

// Find returns the key of that name.
func Find(name string) (Key, bool) {
	for _, k := range keys {
		if k.Name == name {
			return k, true
		}
	}
	return Key{}, false
}
