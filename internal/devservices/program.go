package devservices

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/clickledger/clickledger/internal/fetch"
)

const (
	// readyTimeout bounds the time from the start of a service, or from the first question to one
	// that runs, to its answer.
	readyTimeout = 90 * time.Second
	// probeTimeout bounds one question.
	probeTimeout = 5 * time.Second
	// portTimeout is how long a port may still be held, by a service that is just ending.
	portTimeout = 3 * time.Second
	// stopTimeout is how long a service may take to end before it is killed.
	stopTimeout = 30 * time.Second
	// killTimeout is how long the system may take to end it then.
	killTimeout = 5 * time.Second
	// lockTimeout is how long the process of a service may wait for one that is just ending.
	lockTimeout = 10 * time.Second
	// pollInterval is the pause between two looks.
	pollInterval = 50 * time.Millisecond
	// tailLines of a log stand in the message about a service that ended.
	tailLines = 12
)

// service is what differs between our programs.
type service interface {
	// fetch brings what it needs to this machine, verified.
	fetch(ctx context.Context, note func(text string)) error
	// command makes the data directory ready and says what to run.
	command(ctx context.Context) (command, error)
	// probe asks a real question.
	probe(ctx context.Context) error
	// furnish makes what clients expect in a service that answers; it may be repeated.
	furnish(ctx context.Context) error
}

// command is a command line, with an absolute path at its head, and its whole environment.
type command struct {
	args, environment []string
}

// program is a part that is one process.
type program struct {
	service

	cfg                    Config
	name, version, address string
	ports                  []int
	portTimeout            time.Duration
}

func (p *program) Name() string    { return p.name }
func (p *program) Version() string { return p.version }
func (p *program) Address() string { return p.address }

func (p *program) recordFile() string { return filepath.Join(p.cfg.Dir, "run", p.name+".json") }
func (p *program) logFile() string    { return filepath.Join(p.cfg.Dir, "log", p.name+".log") }

// running returns the record of the process, if it runs.
func (p *program) running() (record, bool, error) {
	r, found, err := readRecord(p.recordFile())
	if err != nil || !found {
		return record{}, false, err
	}
	alive, err := r.alive()
	return r, alive, err
}

// Up is Part's.
func (p *program) Up(ctx context.Context, note func(text string)) error {
	r, runs, err := p.running()
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	ended := func() bool {
		alive, err := r.alive()
		return err == nil && !alive
	}
	if runs {
		note("runs already")
	} else {
		if err := p.fetch(ctx, note); err != nil {
			return fmt.Errorf("%s: fetch: %w", p.name, err)
		}
		if ended, err = p.start(ctx, note); err != nil {
			return fmt.Errorf("%s: start: %w", p.name, err)
		}
	}
	if err := p.await(ctx, ended); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if err := p.furnish(ctx); err != nil {
		return fmt.Errorf("%s: furnish: %w", p.name, err)
	}
	return nil
}

// start starts the process, and returns a function that says whether it has ended.
func (p *program) start(ctx context.Context, note func(text string)) (ended func() bool, err error) {
	for _, dir := range []string{filepath.Dir(p.recordFile()), filepath.Dir(p.logFile()), p.cfg.data(p.name)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := p.portsFree(ctx); err != nil {
		return nil, err
	}
	note("starting")
	run, err := p.command(ctx)
	if err != nil {
		return nil, err
	}
	// The log of a service that ended says why: it is kept for one more start.
	if err := os.Rename(p.logFile(), p.logFile()+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	log, err := os.Create(p.logFile())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := append([]string{}, p.cfg.Recorder...)
	args = append(args, p.recordFile(), p.name)
	args = append(args, run.args...)
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // the service outlives its start; Down ends it
	cmd.Dir, cmd.Env = p.cfg.data(p.name), run.environment
	cmd.Stdout, cmd.Stderr = log, log
	// A session of its own: Ctrl-C and the end of the terminal are not for the services.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // the log says more than the exit code
	}()
	return func() bool {
		select {
		case <-done:
			// It may have given way to one that was about to start already.
			_, runs, err := p.running()
			return err != nil || !runs
		default:
			return false
		}
	}, nil
}

// portsFree waits until nobody listens where the service will.
func (p *program) portsFree(ctx context.Context) error {
	deadline := time.Now().Add(max(p.portTimeout, portTimeout))
	for _, port := range p.ports {
		for {
			listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
			if err == nil {
				if err := listener.Close(); err != nil {
					return err
				}
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("port %d is taken by a program that was not started here: "+
					"end it, or choose other ports (%w)", port, err)
			}
			if err := fetch.Pause(ctx, pollInterval); err != nil {
				return err
			}
		}
	}
	return nil
}

// await returns when the service has answered, or has ended, or has been silent for too long.
func (p *program) await(ctx context.Context, ended func() bool) error {
	limit, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := p.ask(limit)
		if ended() {
			return fmt.Errorf("ended instead of answering; the end of %s:\n%s", p.logFile(), tail(p.logFile(), tailLines))
		}
		if err == nil {
			return nil
		}
		if fetch.Pause(limit, pollInterval) == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("runs, but gave no answer in %s: %w; `clickledger dev down --only %s` ends it, its log is %s",
			readyTimeout, err, p.name, p.logFile())
	}
}

func (p *program) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return p.probe(ctx)
}

// Down is Part's.
func (p *program) Down(ctx context.Context) error {
	if _, err := os.Stat(p.recordFile() + lockSuffix); errors.Is(err, os.ErrNotExist) {
		return nil // it was never started
	}
	// The lock is free once the process is gone, what it has started, and one that waits to start.
	for deadline := time.Now().Add(stopTimeout + killTimeout); ; {
		r, found, err := readRecord(p.recordFile())
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if found {
			if err := r.end(ctx); err != nil {
				return fmt.Errorf("%s: stop pid %d: %w", p.name, r.PID, err)
			}
		}
		file, err := fetch.TryLock(p.recordFile() + lockSuffix)
		if err == nil {
			defer file.Close()
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			return fmt.Errorf("%s: wait for its processes to end: %w", p.name, err)
		}
		if err := fetch.Pause(ctx, pollInterval); err != nil {
			return err
		}
	}
	if err := os.Remove(p.recordFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// end asks the process to end, kills it when it does not, and returns when it is gone.
func (r record) end(ctx context.Context) error {
	for _, step := range []struct {
		signal  syscall.Signal
		timeout time.Duration
	}{{syscall.SIGTERM, stopTimeout}, {syscall.SIGKILL, killTimeout}} {
		if err := r.signal(step.signal); err != nil {
			if errors.Is(err, errGone) {
				return nil
			}
			return err
		}
		for deadline := time.Now().Add(step.timeout); time.Now().Before(deadline); {
			if alive, err := r.alive(); err != nil || !alive {
				return err
			}
			if err := fetch.Pause(ctx, pollInterval); err != nil {
				return err
			}
		}
	}
	return errors.New("it does not end")
}

// State is Part's.
func (p *program) State(ctx context.Context) State {
	s := State{Name: p.name, State: StateDown, Address: p.address, Version: p.version}
	r, runs, err := p.running()
	if err != nil {
		s.Error = err.Error()
	}
	if runs {
		s.State, s.PID, s.StartedAt = StateSilent, r.PID, r.StartedAt
	}
	if _, err := os.Stat(p.logFile()); err == nil {
		s.Log = p.logFile()
	}
	began := time.Now()
	err = p.ask(ctx)
	switch {
	case err == nil && runs:
		s.State = StateUp
	case err == nil:
		s.State = StateForeign
	case runs:
		s.Error = err.Error()
	}
	if err == nil {
		s.AnswerMillis = float64(time.Since(began).Microseconds()) / 1000
	}
	return s
}
