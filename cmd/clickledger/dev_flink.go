package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/clickledger/clickledger/internal/devflink"
	"github.com/clickledger/clickledger/internal/devservices"
)

// devFlink is a Flink cluster and Beam's job server as one part of the development services.
type devFlink struct{ cfg devflink.Config }

func newDevFlink(dir, cacheDir string, portBase int) devFlink {
	return devFlink{devflink.Config{
		Dir: filepath.Join(dir, "data", "flink"), CacheDir: cacheDir, RESTPort: portBase + devservices.PortFlinkREST, RPCPort: portBase + devservices.PortFlinkRPC,
		JobPort: portBase + devservices.PortFlinkJob, ArtifactPort: portBase + devservices.PortFlinkArtifact, ExpansionPort: portBase + devservices.PortFlinkExpansion,
		Logger: slog.New(slog.DiscardHandler),
	}}
}

func (devFlink) Name() string { return "flink" }

func (devFlink) Version() string {
	return devflink.FlinkVersion + ", Beam " + devflink.BeamVersion
}

// Address is the REST service and web page; jobs go to the job server.
func (f devFlink) Address() string { return f.cfg.RESTURL() }

func (f devFlink) Up(ctx context.Context, note func(text string)) error {
	if state, err := devflink.Status(ctx, f.cfg); err == nil && state.IsReady {
		return nil
	}
	note("starting JobManager, TaskManager and job server at " + f.cfg.JobService())
	return devflink.Up(ctx, f.cfg)
}

// Down ends the processes; one that was never started has no folder.
func (f devFlink) Down(ctx context.Context) error {
	if _, err := os.Stat(f.cfg.Dir); os.IsNotExist(err) {
		return nil
	}
	return devflink.Down(ctx, f.cfg)
}

func (f devFlink) State(ctx context.Context) devservices.State {
	s := devservices.State{Name: f.Name(), State: devservices.StateDown, Address: f.Address(), Version: f.Version()}
	began := time.Now()
	state, err := devflink.Status(ctx, f.cfg)
	if err != nil {
		s.Error = err.Error()
		return s
	}
	var dead []string
	for _, p := range state.Processes {
		if p.PID == 0 {
			dead = append(dead, p.Name)
			continue
		}
		if s.PID == 0 { // the JobManager's, which comes first
			s.PID, s.Log = p.PID, p.Log
		}
	}
	switch {
	case state.IsReady:
		s.State, s.AnswerMillis = devservices.StateUp, float64(time.Since(began).Microseconds())/1000
	case s.PID != 0 && len(dead) > 0:
		s.State, s.Error = devservices.StateSilent, fmt.Sprintf("without %v", dead)
	case s.PID != 0:
		s.State, s.Error = devservices.StateSilent, fmt.Sprintf("%d of its slots are there, or the job server does not answer", state.Slots)
	}
	return s
}
