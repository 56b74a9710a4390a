package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/clickledger/clickledger/schemas/policy"
)

// Input is where Load looks.
type Input struct {
	File    string         // the YAML file; empty: the file that EnvFile names, or none
	Environ []string       // as os.Environ returns it
	Flags   *pflag.FlagSet // flags of the names in the key table; those not given are ignored
	Require []string       // names of keys that must be set
}

// Setting is one key as it came out.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`  // redacted
	Source string `json:"source"` // "default", "file …", "environment …", "flag …"; empty when unset
}

// Settings returns every key with its redacted value and where it came from, in the order of the
// key table.
func (c *Config) Settings() []Setting { return slices.Clone(c.settings) }

// BillingPolicy returns the policy document that the policy key names, or the default policy.
func (c *Config) BillingPolicy() *policy.Policy { return c.policy }

// found is the text of a key in one source.
type found struct {
	text   string
	scalar bool
	source string
}

// Load reads file, environment and flags, the later source wins, and the policy document that they
// name. Its error is a Problems with all that is wrong, in every source; the configuration that
// comes with it lacks the settings that are.
func Load(in Input) (*Config, error) {
	l := loader{values: map[string]found{}}
	l.readFile(in)
	l.readEnviron(in.Environ)
	l.readFlags(in.Flags)
	l.check(in.Require)
	c, err := l.decode()
	if err != nil {
		return nil, err
	}
	c.policy = l.readPolicy()
	if len(l.problems) > 0 {
		return c, l.sorted()
	}
	return c, nil
}

type loader struct {
	values   map[string]found
	problems Problems
}

// readPolicy returns the policy that is named, the default one where none is, and nil after a
// problem.
func (l *loader) readPolicy() *policy.Policy {
	f, ok := l.values["policy"]
	if !ok {
		return policy.Default()
	}
	p, err := policy.Load(f.text)
	if err == nil {
		return p
	}
	all := []error{err}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		all = joined.Unwrap()
	}
	for _, err := range all {
		l.problem("policy", f, fmt.Sprintf("a policy document (%v)", err))
	}
	return nil
}

func (l *loader) problem(key string, f found, expected string) {
	value := Redact(f.text)
	if k, ok := Find(key); ok && k.Secret {
		value = redacted
	}
	l.problems = append(l.problems, Problem{Key: key, Source: f.source, Value: value, Expected: expected})
}

func (l *loader) readFile(in Input) {
	path, source := in.File, "flag --config"
	if path == "" {
		for _, pair := range in.Environ {
			if value, ok := strings.CutPrefix(pair, EnvFile+"="); ok {
				path, source = value, "environment "+EnvFile
			}
		}
	}
	if path == "" {
		return
	}
	ko := koanf.New(".")
	if err := ko.Load(file.Provider(path), yaml.Parser()); err != nil {
		if perr, ok := errors.AsType[*fs.PathError](err); ok {
			err = perr.Err
		}
		l.problem("config", found{text: path, source: source}, fmt.Sprintf("a readable YAML file (%v)", err))
		return
	}
	l.merge(ko, func(Key) string { return "file " + path })
	if abs, err := filepath.Abs(path); err == nil {
		l.resolve(filepath.Dir(abs))
	}
}

// resolve makes the paths absolute that are relative to the file's folder.
func (l *loader) resolve(dir string) {
	for _, k := range keys {
		f, ok := l.values[k.Name]
		if ok && k.Kind.Beside && f.scalar && f.text != "" && !filepath.IsAbs(f.text) {
			f.text = filepath.Join(dir, f.text)
			l.values[k.Name] = f
		}
	}
}

func (l *loader) readEnviron(environ []string) {
	names := map[string]string{}
	for _, k := range keys {
		names[k.Env()] = k.Name
	}
	ko := koanf.New(".")
	provider := env.Provider(".", env.Opt{
		Prefix:      EnvPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if value == "" || slices.Contains(otherVariables, name) || strings.HasPrefix(name, EnvPrefix+"TEST_") {
				return "", nil
			}
			if key, ok := names[name]; ok {
				return key, value
			}
			return name, value // reported as an unknown key
		},
	})
	if err := ko.Load(provider, nil); err != nil {
		l.problem("environment", found{source: "environment"}, fmt.Sprintf("one value for a key (%v)", err))
		return
	}
	l.merge(ko, func(k Key) string { return "environment " + k.Env() })
}

func (l *loader) readFlags(flags *pflag.FlagSet) {
	if flags == nil {
		return
	}
	byFlag := map[string]string{}
	for _, k := range keys {
		byFlag[k.Flag] = k.Name
	}
	ko := koanf.New(".")
	provider := posflag.ProviderWithFlag(flags, ".", nil, func(f *pflag.Flag) (string, any) {
		if !f.Changed {
			return "", nil
		}
		if key := f.Annotations[FlagKey]; len(key) == 1 {
			return key[0], f.Value.String()
		}
		return byFlag[f.Name], f.Value.String()
	})
	if err := ko.Load(provider, nil); err != nil {
		l.problem("flags", found{source: "command line"}, fmt.Sprintf("one value for a key (%v)", err))
		return
	}
	source := func(k Key) string { return "flag --" + k.Flag }
	for name, value := range ko.All() {
		k, _ := Find(name)
		text := fmt.Sprint(value)
		if k.Secret || Redact(text) != text {
			l.problem(name, found{text: text, source: source(k)},
				"no password on a command line, which other users can read; use "+k.Env()+" or the file")
		}
	}
	l.merge(ko, source)
}

// merge lays the keys of one source over those found so far, and reports those that are unknown.
// An empty value in a file is no value; an empty flag takes a key back to its default.
func (l *loader) merge(ko *koanf.Koanf, source func(Key) string) {
	for name, value := range ko.All() {
		k, known := Find(name)
		f := found{text: fmt.Sprint(value), source: source(k), scalar: isScalar(value)}
		if items, ok := value.([]any); ok && k.Kind.List && !slices.ContainsFunc(items, isNoItem) {
			f.text, f.scalar = strings.Join(texts(items), ","), true
		}
		switch {
		case known && value != nil:
			l.values[name] = f
		case !known && (!isGroup(name) || !isEmpty(value)):
			if strings.HasPrefix(name, EnvPrefix) {
				f.source = "environment"
			}
			l.problem(name, f, knownKeys(name))
		}
	}
}

// isNoItem is true for what cannot stand in a list.
func isNoItem(value any) bool { return !isScalar(value) || strings.Contains(fmt.Sprint(value), ",") }

func texts(items []any) []string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = fmt.Sprint(item)
	}
	return out
}

func isScalar(value any) bool {
	switch value.(type) {
	case string, bool, int, int64, uint64, float64:
		return true
	}
	return false
}

// isEmpty is true for what stands under a group's name without any key.
func isEmpty(value any) bool {
	m, isMap := value.(map[string]any)
	return value == nil || isMap && len(m) == 0
}

func isGroup(name string) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return k.Group() == name })
}

// knownKeys says which keys there are where the unknown one stands.
func knownKeys(name string) string {
	group, _, nested := strings.Cut(name, ".")
	var names []string
	if isGroup(group) {
		for _, k := range keys {
			if k.Group() == group {
				names = append(names, k.Name)
			}
		}
		return "a known key: " + strings.Join(names, ", ")
	}
	if k, ok := Find(group); ok && nested {
		return group + " to be " + k.Kind.Expected
	}
	for _, k := range keys {
		if g := k.Group(); g != "" && !slices.Contains(names, g+".…") {
			names = append(names, g+".…")
		} else if g == "" {
			names = append(names, k.Name)
		}
	}
	return "a known key: " + strings.Join(names, ", ")
}

// check tests the value that each key ended up with.
func (l *loader) check(require []string) {
	for _, k := range keys {
		f := l.values[k.Name]
		if f.text == "" {
			f = found{text: k.Default, scalar: true, source: "default"}
			l.values[k.Name] = f
		}
		if f.text == "" {
			delete(l.values, k.Name)
			if slices.Contains(require, k.Name) {
				l.problem(k.Name, found{}, k.Kind.Expected)
			}
			continue
		}
		if !f.scalar || k.Kind.Valid != nil && k.Kind.Valid(f.text) != nil {
			l.problem(k.Name, f, k.Kind.Expected)
			delete(l.values, k.Name)
		}
	}
	for _, name := range []string{"ledger_password_file", "s3.credentials_file"} {
		f, ok := l.values[name]
		if !ok {
			continue
		}
		if _, err := os.ReadFile(f.text); err != nil {
			k, _ := Find(name)
			l.problem(k.Name, f, k.Kind.Expected)
		}
	}
}

// sorted puts the problems in the order of the key table, the unknown keys by name before them.
func (l *loader) sorted() Problems {
	index := map[string]int{}
	for i, k := range keys {
		index[k.Name] = i + 1
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		if d := index[a.Key] - index[b.Key]; d != 0 {
			return d
		}
		return strings.Compare(a.Key, b.Key)
	})
	return l.problems
}

func (l *loader) decode() (*Config, error) {
	ko := koanf.New(".")
	c := &Config{}
	for _, k := range keys {
		f := l.values[k.Name]
		s := Setting{Key: k.Name, Value: Redact(f.text), Source: f.source}
		if k.Secret && f.text != "" {
			s.Value = redacted
		}
		c.settings = append(c.settings, s)
		if f.text == "" {
			continue
		}
		if err := ko.Set(k.Name, f.text); err != nil {
			return nil, fmt.Errorf("set %s: %w", k.Name, err)
		}
	}
	if err := ko.Unmarshal("", c); err != nil {
		return nil, fmt.Errorf("decode configuration: %w", err)
	}
	return c, nil
}
