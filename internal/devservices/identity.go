package devservices

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// errGone says that there is no such process, or that it has ended and only waits for its parent.
var errGone = errors.New("no such process")

// lockSuffix makes the name of the lock of a record's.
const lockSuffix = ".lock"

// errRuns says that a service runs which was about to be started.
var errRuns = errors.New("a second one is not started")

// record names a process. Its number alone would not do: numbers come again.
type record struct {
	Service string `json:"service"`
	PID     int    `json:"pid"`
	// Start is when the process began, in the words of the system; it is compared, never read.
	Start     string    `json:"start"`
	StartedAt time.Time `json:"started_at"`
	Command   []string  `json:"command"`
}

// Record notes this process as a service in a file, and becomes that service's program: argv with an
// absolute path at its head. It returns only when it fails. As the note is made by the process
// itself, there is no moment in which the service runs and nobody knows it. A lock beside the file,
// which the service inherits, keeps a second one away, such as kill -9 of whoever starts it can leave
// about to start: the first to take the lock is recorded, the other fails.
func Record(path, service string, argv []string) error {
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return fmt.Errorf("record %s: %q does not start with an absolute path", service, argv)
	}
	if err := holdLock(path); err != nil {
		return fmt.Errorf("record %s: %w", service, err)
	}
	start, err := startOf(os.Getpid())
	if err != nil {
		return fmt.Errorf("record %s: %w", service, err)
	}
	r := record{
		Service: service, PID: os.Getpid(), Start: start, StartedAt: time.Now().UTC().Truncate(time.Second),
		Command: argv,
	}
	if err := r.write(path); err != nil {
		return fmt.Errorf("record %s: %w", service, err)
	}
	return fmt.Errorf("run %s: %w", argv[0], syscall.Exec(argv[0], argv, os.Environ()))
}

// holdLock takes the lock of a record for the life of this process and of what it becomes and starts.
// It waits for a service that is just ending or starting, and fails once there is one that runs.
func holdLock(path string) error {
	// Without O_CLOEXEC: the descriptor, and with it the lock, passes on.
	fd, err := syscall.Open(path+lockSuffix, syscall.O_CREAT|syscall.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open its lock: %w", err)
	}
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(pollInterval) {
		err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) || time.Now().After(deadline) {
			return fmt.Errorf("take its lock: %w", err)
		}
		r, found, err := readRecord(path)
		if err != nil {
			return err
		}
		if found {
			if alive, err := r.alive(); err != nil || alive {
				return fmt.Errorf("it runs already, as pid %d (%w)", r.PID, errors.Join(errRuns, err))
			}
		}
	}
}

func (r record) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, string(text)+"\n", 0o644)
}

// readRecord returns the record in a file, and whether there is one. One that cannot be read was
// not written by us: it is an error, not an absence.
func readRecord(path string) (record, bool, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return record{}, false, nil
	}
	if err != nil {
		return record{}, false, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, false, fmt.Errorf("%s: %w", path, err)
	}
	if r.PID <= 1 || r.Start == "" {
		return record{}, false, fmt.Errorf("%s does not name a process", path)
	}
	return r, true, nil
}

// alive says whether the recorded process runs: the same one, not another with its number.
func (r record) alive() (bool, error) {
	start, err := startOf(r.PID)
	if errors.Is(err, errGone) {
		return false, nil
	}
	return start == r.Start, err
}

// signal sends a signal to the recorded process; errGone where it runs no longer.
func (r record) signal(signal syscall.Signal) error {
	alive, err := r.alive()
	if err != nil {
		return err
	}
	if !alive {
		return errGone
	}
	err = syscall.Kill(r.PID, signal)
	if errors.Is(err, syscall.ESRCH) {
		return errGone
	}
	return err
}

// writeFile writes a file that is either whole or as it was, a crash included.
func writeFile(path, text string, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(file.Name(), path)
}

// tail is the end of a log for a message, indented.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "  " + err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}
