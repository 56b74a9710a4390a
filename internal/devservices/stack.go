package devservices

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/clickledger/clickledger/internal/fetch"
)

// Stack is the list of services of one directory.
type Stack struct {
	cfg      Config
	parts    []Part
	optional []Part
}

// New returns the stack of a directory. Nothing is touched yet. The optional parts take part where
// they are named.
func New(cfg Config, optional ...Part) (*Stack, error) {
	if cfg.PortBase == 0 {
		cfg.PortBase = DefaultPortBase
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("development services: %w", err)
	}
	return &Stack{cfg: cfg, optional: optional, parts: []Part{
		newKafka(cfg), newClickHouse(cfg), newS3(cfg), newRedis(cfg), newPostgres(cfg),
	}}, nil
}

// Config is the configuration, with its defaults filled in.
func (s *Stack) Config() Config { return s.cfg }

// Select returns the parts of these names in the order of the list; without names, all that are not
// optional. An unknown name is an error that lists the known ones.
func (s *Stack) Select(names []string) ([]Part, error) {
	if len(names) == 0 {
		return slices.Clone(s.parts), nil
	}
	var selected []Part
	var known []string
	for _, part := range slices.Concat(s.parts, s.optional) {
		known = append(known, part.Name())
		if slices.Contains(names, part.Name()) {
			selected = append(selected, part)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no service %q: expected of %s", name, strings.Join(known, ", "))
		}
	}
	return selected, nil
}

// All returns every part, the optional ones at the end.
func (s *Stack) All() []Part { return slices.Concat(s.parts, s.optional) }

// Up brings up the parts, all at once, and writes the configuration. What is up stays up when
// another part fails: running it again goes on from there. report gets what each part is doing.
func (s *Stack) Up(ctx context.Context, parts []Part, report func(name, text string)) error {
	if err := os.MkdirAll(s.cfg.Dir, 0o755); err != nil {
		return err
	}
	unlock, err := fetch.Lock(ctx, filepath.Join(s.cfg.Dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.writeConfig(); err != nil {
		return err
	}
	var ready atomic.Int64
	return forEach(parts, func(part Part) error {
		err := part.Up(ctx, func(text string) { report(part.Name(), text) })
		if err == nil {
			report(part.Name(), fmt.Sprintf("ready, %d of %d", ready.Add(1), len(parts)))
		}
		return err
	})
}

// Down ends the parts, all at once. Their data stays.
func (s *Stack) Down(ctx context.Context, parts []Part, report func(name, text string)) error {
	if _, err := os.Stat(s.cfg.Dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	unlock, err := fetch.Lock(ctx, filepath.Join(s.cfg.Dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	return forEach(parts, func(part Part) error {
		if err := part.Down(ctx); err != nil {
			return err
		}
		report(part.Name(), "is down")
		return nil
	})
}

// Status asks the parts, all at once.
func (s *Stack) Status(ctx context.Context, parts []Part) []State {
	states := make([]State, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() { states[i] = part.State(ctx) })
	}
	wg.Wait()
	return states
}

// writeConfig writes the configuration file and the environment that go with the services.
func (s *Stack) writeConfig() error {
	text := "# Written by clickledger dev up.\n" + s.cfg.RenderConfig()
	return errors.Join(
		writeFile(s.cfg.File(), text, 0o600),
		writeFile(s.cfg.CredentialsFile(), s.cfg.RenderCredentials(), 0o600),
		writeFile(s.cfg.EnvironmentFile(), s.cfg.RenderEnvironment(), 0o600),
	)
}

// forEach runs f for all parts at once, and returns all errors in the order of the parts.
func forEach(parts []Part, f func(Part) error) error {
	problems := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() { problems[i] = f(part) })
	}
	wg.Wait()
	return errors.Join(problems...)
}
