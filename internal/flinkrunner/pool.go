package flinkrunner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/apache/beam/sdks/v2/go/container/tools"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/grpc"
)

// pool runs workers in this process when a TaskManager asks for them. Beam's own refuses a worker
// ID that it knows: after the death of a TaskManager the next one begins to count anew, and a job
// fails many times before it is past the old numbers. Here a worker is its ID and the TaskManager
// that it works for.
type pool struct {
	fnpb.UnimplementedBeamFnExternalWorkerPoolServer

	logger *slog.Logger
	server *grpc.Server
	addr   string
	root   context.Context // of all workers
	stop   context.CancelFunc

	mu      sync.Mutex
	workers map[workerKey]*poolWorker
}

type workerKey struct{ id, control string }

type poolWorker struct{ cancel context.CancelFunc }

// startPool listens on an address; port 0 is any.
func startPool(ctx context.Context, addr string, logger *slog.Logger) (*pool, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for workers' requests: %w", err)
	}
	p := &pool{logger: logger, server: grpc.NewServer(), addr: listener.Addr().String(), workers: map[workerKey]*poolWorker{}}
	p.root, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	fnpb.RegisterBeamFnExternalWorkerPoolServer(p.server, p)
	go func() {
		if err := p.server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			logger.Error("the worker pool has stopped", "error", err)
		}
	}()
	return p, nil
}

// ServeWorkers keeps a pool of workers at an address until ctx ends, for the environment External. It serves the DoFns
// of this program, which must be the one that submits. The address must not be open to strangers:
// it has no authentication.
func ServeWorkers(ctx context.Context, addr string, logger *slog.Logger) error {
	initBeam()
	p, err := startPool(ctx, addr, logger)
	if err != nil {
		return err
	}
	logger.Info("workers are ready", "addr", p.addr)
	<-ctx.Done()
	p.close()
	return nil
}

// close ends all workers.
func (p *pool) close() {
	p.stop()
	p.server.Stop()
}

// StartWorker begins a worker for the TaskManager that asks.
func (p *pool) StartWorker(_ context.Context, req *fnpb.StartWorkerRequest) (*fnpb.StartWorkerResponse, error) {
	control, logging := req.GetControlEndpoint(), req.GetLoggingEndpoint()
	if control == nil || logging == nil || control.GetAuthentication() != nil || logging.GetAuthentication() != nil {
		return &fnpb.StartWorkerResponse{Error: "endpoints for control and logging are needed, without authentication"}, nil
	}
	key := workerKey{req.GetWorkerId(), control.GetUrl()}
	ctx, cancel := context.WithCancel(grpcx.WriteWorkerID(p.root, key.id))
	w := &poolWorker{cancel: cancel}
	p.mu.Lock()
	if old, ok := p.workers[key]; ok {
		old.cancel()
	}
	p.workers[key] = w
	p.mu.Unlock()
	options := harnessOptions(ctx, req.GetProvisionEndpoint().GetUrl())
	go func() {
		// It ends with its TaskManager, whose death is nobody's error here.
		err := harness.MainWithOptions(ctx, logging.GetUrl(), control.GetUrl(), options)
		p.logger.Debug("a worker has ended", "worker", key.id, "control", key.control, "error", err)
		cancel()
		p.mu.Lock()
		if p.workers[key] == w {
			delete(p.workers, key)
		}
		p.mu.Unlock()
	}()
	return &fnpb.StartWorkerResponse{}, nil
}

// StopWorker ends a worker, unless two TaskManagers have one of that ID: it ends when its own
// TaskManager closes the connection, anyhow.
func (p *pool) StopWorker(_ context.Context, req *fnpb.StopWorkerRequest) (*fnpb.StopWorkerResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []*poolWorker
	for key, w := range p.workers {
		if key.id == req.GetWorkerId() {
			found = append(found, w)
		}
	}
	if len(found) == 1 {
		found[0].cancel()
	}
	return &fnpb.StopWorkerResponse{}, nil
}

func harnessOptions(ctx context.Context, provision string) harness.Options {
	if provision == "" {
		return harness.Options{}
	}
	info, err := tools.ProvisionInfo(ctx, provision)
	if err != nil {
		return harness.Options{} // without the runner's hints all works, if slower
	}
	return harness.Options{StatusEndpoint: info.GetStatusEndpoint().GetUrl(), RunnerCapabilities: info.GetRunnerCapabilities()}
}
