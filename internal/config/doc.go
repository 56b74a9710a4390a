// Package config reads the settings of every job from one YAML file, the environment and the
// command line, in that order: the later source wins. The keys are a table (Keys), which is also
// where the flags, the environment variables, the help and the reference in the README come from.
//
// Reading is strict. An unknown key is an error, and Load reports every problem of every source at
// once, each with its key, where it was set and what was expected there.
//
// Secrets come from the environment or from a file, never from a flag, since other users of the
// machine can read a command line. They are redacted in everything that the package prints.
package config
