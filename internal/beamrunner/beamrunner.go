// Package beamrunner runs pipelines on prism, Beam's local runner, in this process. prism keeps
// everything in memory and has no checkpoints: what must survive is the caller's to replay. Its
// job port listens on all interfaces, so nothing secret may be part of a graph.
package beamrunner

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/exec/optimized" // typed receivers, no reflection
	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
)

var (
	initOnce sync.Once
	// starting is held by the first pipeline of the process, which starts prism: Beam keeps its
	// address in a variable. From then on pipelines may run side by side.
	starting  sync.Mutex
	isStarted bool
)

// Init prepares Beam; Run calls it. It keeps the process's default logger, which Beam would replace.
func Init() {
	initOnce.Do(func() {
		logger := slog.Default()
		beamlog.LogLevel = "error"
		// prism leaks duplicates when it splits bundles of a source before stateful transforms.
		*jobopts.Experiments = "prism_disable_sdf_split"
		*jobopts.JobName = "clickledger"
		if !flag.Parsed() {
			_ = flag.CommandLine.Parse(nil) // Beam wants its flags parsed; the command line is not Beam's
		}
		if !beam.Initialized() {
			beam.Init()
		}
		slog.SetDefault(logger)
	})
}

// start starts prism with an empty pipeline.
func start() error {
	starting.Lock()
	defer starting.Unlock()
	if isStarted {
		return nil
	}
	p, s := beam.NewPipelineWithRoot()
	beam.ParDo0(s, &dropFn{}, beam.Create(s, int64(0)))
	if _, err := prism.Execute(context.Background(), p); err != nil {
		return fmt.Errorf("start prism: %w", err)
	}
	isStarted = true
	return nil
}

// Run runs a pipeline to its end; several may run side by side. The context must not be cancelled
// to stop a running pipeline: its sources decide when it ends. The name is for errors.
func Run(ctx context.Context, name string, p *beam.Pipeline) (beam.PipelineResult, error) {
	Init()
	if err := start(); err != nil {
		return nil, err
	}
	result, err := prism.Execute(context.WithoutCancel(ctx), p)
	if err != nil {
		return nil, fmt.Errorf("run pipeline %s: %w", name, err)
	}
	return result, nil
}
