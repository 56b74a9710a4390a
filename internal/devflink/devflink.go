package devflink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// askTimeout bounds one question to the cluster.
const askTimeout = 5 * time.Second

// Process is one of the programs.
type Process struct {
	Name string `json:"name"`
	// PID is 0 where it is not running.
	PID     int    `json:"pid"`
	Address string `json:"address"` // where it listens for others
	Log     string `json:"log"`
}

// State is what Status says.
type State struct {
	Processes []Process `json:"processes"`
	// TaskManagers and Slots are as the JobManager counts them; 0 where it does not answer.
	TaskManagers int `json:"task_managers"`
	Slots        int `json:"slots"`
	SlotsFree    int `json:"slots_free"`
	// IsReady says that the cluster has all slots and that the job server answers.
	IsReady bool `json:"is_ready"`
}

// Up starts what is not running, and returns when the cluster has its slots and the job server
// answers. It may be called again at any time, also to bring back a process that was killed. If it
// fails, what it has started is stopped again.
func Up(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("start flink: %w", err)
	}
	cfg = cfg.withDefaults()
	inst, err := fetch(ctx, cfg)
	if err != nil {
		return fmt.Errorf("start flink: %w", err)
	}
	if err := prepare(cfg); err != nil {
		return fmt.Errorf("start flink: %w", err)
	}
	unlock, err := lockFile(filepath.Join(cfg.Dir, "run", "lock"))
	if err != nil {
		return fmt.Errorf("start flink: %w", err)
	}
	defer unlock()
	var started []string
	for _, name := range []string{JobManager, TaskManager, JobServer} {
		var found record
		if found, err = running(cfg.Dir, name); err != nil {
			break
		}
		if found.PID != 0 {
			continue
		}
		if err = checkPorts(cfg, name); err != nil {
			break
		}
		id := fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
		if err = start(cfg.Dir, name, id, cfg.Java, arguments(cfg, inst, name, id)); err != nil {
			break
		}
		started = append(started, name)
	}
	if err == nil {
		err = awaitReady(ctx, cfg)
	}
	if err != nil {
		for _, name := range started {
			err = errors.Join(err, stop(context.WithoutCancel(ctx), cfg.Dir, name))
		}
		return fmt.Errorf("start flink in %s: %w", cfg.Dir, err)
	}
	cfg.Logger.Info("flink is ready", "url", cfg.RESTURL(), "job_service", cfg.JobService(), "slots", cfg.Slots)
	return nil
}

// Down stops every process of the directory, by its record. State and logs stay.
func Down(ctx context.Context, cfg Config) error {
	var problems []error
	for _, name := range []string{JobServer, TaskManager, JobManager} {
		problems = append(problems, stop(ctx, cfg.Dir, name))
	}
	return errors.Join(problems...)
}

// Status asks; it starts nothing. What does not answer is not an error, but not ready.
func Status(ctx context.Context, cfg Config) (State, error) {
	cfg = cfg.withDefaults()
	var s State
	isReady, id := true, ""
	for _, p := range []struct {
		name string
		port int
	}{{JobManager, cfg.RESTPort}, {TaskManager, 0}, {JobServer, cfg.JobPort}} {
		found, err := running(cfg.Dir, p.name)
		if err != nil {
			return s, fmt.Errorf("status of flink: %w", err)
		}
		process := Process{Name: p.name, PID: found.PID, Log: logFile(cfg.Dir, p.name)}
		if p.name == TaskManager {
			id = found.ID
		}
		if p.port != 0 {
			process.Address = cfg.address(p.port, p.port)
		}
		s.Processes = append(s.Processes, process)
		isReady = isReady && found.PID != 0
	}
	ours, err := taskManagers(ctx, cfg, id, &s)
	if err != nil {
		return s, nil //nolint:nilerr // no answer is an answer here
	}
	s.IsReady = isReady && ours >= cfg.Slots && askJobServer(ctx, cfg.JobService()) == nil
	return s, nil
}

// awaitReady asks until all answer. A process that ends meanwhile is an error, with the end of its log.
func awaitReady(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	for {
		s, err := Status(ctx, cfg)
		if err != nil {
			return err
		}
		if s.IsReady {
			return nil
		}
		for _, p := range s.Processes {
			if p.PID == 0 {
				return fmt.Errorf("%s has ended; the end of its log %s:\n%s", p.Name, p.Log, logTail(p.Log))
			}
		}
		if err := pause(ctx, pollInterval); err != nil {
			return fmt.Errorf("wait for flink, %d of %d slots: %w; the end of the log of the %s:\n%s", s.Slots, cfg.Slots, err,
				TaskManager, logTail(logFile(cfg.Dir, TaskManager)))
		}
	}
}

func logTail(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text), 12)
}

// checkPorts says which port of a process is taken by somebody else.
func checkPorts(cfg Config, name string) error {
	ports := map[string][]int{JobManager: {cfg.RESTPort, cfg.RPCPort}, JobServer: {cfg.JobPort, cfg.ArtifactPort, cfg.ExpansionPort}}
	for _, port := range ports[name] {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("%s needs port %d: %w", name, port, err)
		}
		listener.Close()
	}
	return nil
}

// taskManagers asks the JobManager for its TaskManagers, and returns the slots of the one with our
// ID: a killed one is counted for as long as its heartbeats are waited for.
func taskManagers(ctx context.Context, cfg Config, id string, s *State) (ours int, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.RESTURL()+"/taskmanagers", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		TaskManagers []struct {
			ID        string `json:"id"`
			Slots     int    `json:"slotsNumber"`
			FreeSlots int    `json:"freeSlots"`
		} `json:"taskmanagers"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	for _, t := range answer.TaskManagers {
		s.TaskManagers++
		s.Slots += t.Slots
		s.SlotsFree += t.FreeSlots
		if t.ID == id {
			ours = t.Slots
		}
	}
	return ours, nil
}

// askJobServer asks for the settings of an HTTP/2 connection, which a gRPC server answers with its
// own: enough to know that it serves, without a gRPC client.
func askJobServer(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	const settingsFrame = 4
	empty := []byte{0, 0, 0, settingsFrame, 0, 0, 0, 0, 0}
	if _, err := conn.Write(append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), empty...)); err != nil {
		return err
	}
	var header [9]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return err
	}
	if header[3] != settingsFrame {
		return fmt.Errorf("%s does not speak gRPC", address)
	}
	return nil
}
