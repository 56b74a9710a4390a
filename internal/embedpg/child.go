package embedpg

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// child is the running postmaster.
type child struct {
	pid     int
	process *os.Process
	done    chan struct{} // closed when the process has been waited for
}

// startChild starts the server with its output going to the log file.
//
// The kernel sends the parent-death signal when the *thread* that forked ends, not the process, and
// Go ends threads at will. So one goroutine locks its thread, forks on it, and stays locked until
// the child has ended: that thread lives exactly as long as the child or this process.
func startChild(place *place, binary string, args []string) (*child, error) {
	log, err := os.OpenFile(place.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(binary, args...) //nolint:noctx // the server outlives the context of its start; Stop ends it
	cmd.Dir = place.data()
	cmd.Env = childEnvironment()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = serverAttributes(place.owner)
	started := make(chan error, 1)
	running := &child{done: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			running.pid, running.process = cmd.Process.Pid, cmd.Process
		}
		started <- err
		if err != nil {
			return
		}
		// The exit status says nothing that the log does not say better.
		_ = cmd.Wait()
		close(running.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	return running, nil
}

func (c *child) signal(signal syscall.Signal) error { return c.process.Signal(signal) }

// childEnvironment keeps the caller's settings (PGDATA, locale, credentials) away from the server.
func childEnvironment() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
}
