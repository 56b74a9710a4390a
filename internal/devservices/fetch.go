package devservices

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrChecksum is returned when something that was fetched is not what was pinned.
var ErrChecksum = errors.New("checksum differs from the pinned one")

// cached returns the path of name in the cache, which fill makes in an empty directory if it is not
// there. It appears whole or not at all, and is made once, however many ask at the same time.
func (c Config) cached(ctx context.Context, name string, fill func(dir string) error) (string, error) {
	target := filepath.Join(c.CacheDir, name)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(c.CacheDir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(ctx, target+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	// One name for what is being made: what an earlier, killed attempt has left is replaced.
	fresh := target + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return "", err
	}
	if err := fill(fresh); err != nil {
		return "", err
	}
	return target, os.Rename(fresh, target)
}

// run runs a package manager or another tool in dir, with additions to our environment, and returns
// what it prints on stdout.
func run(ctx context.Context, dir string, environment []string, name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is needed, and is not on the PATH: install it (%w)", name, err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environment...)
	var out, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &all), &all
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		lines := strings.Split(strings.TrimSpace(all.String()), "\n")
		return "", fmt.Errorf("%s %s: %w:\n  %s", name, strings.Join(args, " "), err,
			strings.Join(lines[max(0, len(lines)-tailLines):], "\n  "))
	}
	return out.String(), nil
}

// checkFiles compares the files of a directory with a list as sha256sum prints it: each must be on
// the list with its sum, and none may be missing.
func checkFiles(dir, list string) error {
	pinned := map[string]string{}
	for line := range strings.Lines(list) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			return fmt.Errorf("list of checksums: %q is no line of it", line)
		}
		pinned[name] = sum
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		want, ok := pinned[entry.Name()]
		if !ok {
			return fmt.Errorf("%s is not on the list: %w", entry.Name(), ErrChecksum)
		}
		got, err := sumFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s has %s, want %s: %w", entry.Name(), got, want, ErrChecksum)
		}
	}
	if len(entries) != len(pinned) {
		return fmt.Errorf("%d of %d files were fetched", len(entries), len(pinned))
	}
	return nil
}

func sumFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// plainEnvironment keeps the caller's settings away from a service.
func plainEnvironment(more ...string) []string {
	environment := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	for _, name := range []string{"HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			environment = append(environment, name+"="+value)
		}
	}
	return append(environment, more...)
}
