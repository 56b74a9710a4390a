package embedpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// awaitPredecessor waits for a server of a killed parent, which is just shutting down, and clears
// a pid file whose number now belongs to another program (in containers the numbers come again).
// PostgreSQL itself clears one whose process is gone.
func (p *place) awaitPredecessor(ctx context.Context) error {
	pidFile := filepath.Join(p.data(), "postmaster.pid")
	deadline := time.Now().Add(predecessorTimeout)
	for {
		text, err := os.ReadFile(pidFile)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the server's pid file: %w", err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		pid, err := strconv.Atoi(strings.TrimSpace(first))
		if err != nil || pid <= 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return nil //nolint:nilerr // a pid file without a living process is nobody's
		}
		if !mayServe(pid, p.data()) {
			return os.Remove(pidFile)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("pid %d: %w", pid, ErrInUse)
		}
		if err := pause(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// mayServe says whether a living process may be the postmaster of the data. It is false only for
// certain: the program has another name, it is a zombie, or it works in another directory (which
// the postmaster never leaves; not everybody may read that link).
func mayServe(pid int, data string) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// "pid (name) state ...": the name itself may hold brackets.
	text := string(stat)
	opening, closing := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if opening < 0 || closing < opening {
		return true
	}
	if name := text[opening+1 : closing]; name != "postgres" {
		return false
	}
	if strings.HasPrefix(strings.TrimSpace(text[closing+1:]), "Z") {
		return false
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err != nil || cwd == data
}
