package devflink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// stopGently is how long a process may take to end before it is killed.
	stopGently = 15 * time.Second
	stopKilled = 10 * time.Second
	// pollInterval is the pause between two looks.
	pollInterval = 100 * time.Millisecond
)

// record is what is kept of a process: the number alone may come again.
type record struct {
	PID     int    `json:"pid"`
	Started string `json:"started"`
	// ID is the TaskManager's name in the cluster, which counts a killed one for a while.
	ID string `json:"id,omitempty"`
}

// recordFile is where the record of a process stands.
func recordFile(dir, name string) string { return filepath.Join(dir, "run", name+".json") }

func logFile(dir, name string) string { return filepath.Join(dir, "log", name+".out") }

// start starts a process that outlives this one, and records it.
func start(dir, name, id, program string, args []string) error {
	log, err := os.OpenFile(logFile(dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...) //nolint:noctx // the process outlives the caller; Down ends it
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	pid := cmd.Process.Pid
	started, err := startTime(pid)
	if err == nil {
		err = writeRecord(recordFile(dir, name), record{PID: pid, Started: started, ID: id})
	}
	if err != nil {
		return errors.Join(fmt.Errorf("record %s, pid %d: %w", name, pid, err), cmd.Process.Kill(), cmd.Wait())
	}
	go func() { _ = cmd.Wait() }() // no zombie, should this process live on
	return nil
}

func writeRecord(name string, r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// running returns the record of a process, a zero one where it is not running any more.
func running(dir, name string) (record, error) {
	text, err := os.ReadFile(recordFile(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("read the record of %s: %w", name, err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, fmt.Errorf("read the record of %s: %w", name, err)
	}
	started, err := startTime(r.PID)
	if err != nil || started != r.Started {
		return record{}, nil //nolint:nilerr // it has ended, or its number is another's now
	}
	return r, nil
}

// startTime tells when a living process began, in words that stay the same for its life. A zombie
// does not live.
func startTime(pid int) (string, error) {
	if pid <= 0 {
		return "", os.ErrProcessDone
	}
	if runtime.GOOS != "linux" {
		out, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx // ends at once
		if text := strings.TrimSpace(string(out)); err == nil && text != "" {
			return text, nil
		}
		return "", os.ErrProcessDone
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", os.ErrProcessDone
	}
	// "pid (name) state ...": the name itself may hold brackets. The start is field 22, in ticks.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", os.ErrProcessDone
	}
	return fields[19], nil
}

// stop ends the recorded process, and waits until it is gone.
func stop(ctx context.Context, dir, name string) error {
	for _, step := range []struct {
		signal  syscall.Signal
		timeout time.Duration
	}{{syscall.SIGTERM, stopGently}, {syscall.SIGKILL, stopKilled}} {
		found, err := running(dir, name)
		if err != nil {
			return err
		}
		pid := found.PID
		if pid == 0 {
			break
		}
		if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop %s, pid %d: %w", name, pid, err)
		}
		for deadline := time.Now().Add(step.timeout); time.Now().Before(deadline); {
			if still, err := running(dir, name); err != nil || still.PID == 0 {
				break
			}
			if err := pause(ctx, pollInterval); err != nil {
				return fmt.Errorf("stop %s, pid %d: %w", name, pid, err)
			}
		}
	}
	if found, err := running(dir, name); err != nil || found.PID != 0 {
		return errors.Join(err, fmt.Errorf("stop %s: pid %d does not end", name, found.PID))
	}
	if err := os.Remove(recordFile(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
