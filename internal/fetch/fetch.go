// Package fetch brings what is pinned to this machine, by its package managers, into a cache that all
// processes share.
package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrChecksum is returned when something that was fetched is not what was pinned.
var ErrChecksum = errors.New("checksum differs from the pinned one")

const (
	// lockPause is the time between two attempts to take a lock.
	lockPause = 50 * time.Millisecond
	// tailLines of what a tool printed stand in the message about its failure.
	tailLines = 12
)

// Cached returns the path of name in the cache directory, which fill makes in an empty directory if it
// is not there. It appears whole or not at all, and is made once, however many ask at the same time.
func Cached(ctx context.Context, cacheDir, name string, fill func(dir string) error) (string, error) {
	target := filepath.Join(cacheDir, name)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return "", err
	}
	unlock, err := Lock(ctx, target+".lock")
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

// Run runs a package manager or another tool in dir, with additions to our environment, and returns
// what it prints on stdout.
func Run(ctx context.Context, dir string, environment []string, name string, args ...string) (string, error) {
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

// Lock takes an exclusive lock on a file, waiting for whoever holds it. The lock is the kernel's: it
// ends with this process, however that ends.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		file, err := TryLock(path)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = Pause(ctx, lockPause)
		}
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

// TryLock takes an exclusive lock, which ends when the file is closed, or fails with EWOULDBLOCK.
func TryLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, err
		}
	}
}

// Pause waits for d, or until ctx is done, and then returns why.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
