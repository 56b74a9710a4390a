package flinkrunner

import (
	"flag"
	"os"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/exec/optimized" // typed receivers, no reflection
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness/init"   // what makes a process a worker
)

// IsWorker tells whether this process was started by Beam's boot program, to run DoFns.
func IsWorker() bool { return slices.Contains(os.Args[1:], "--worker=true") }

// Work runs DoFns until the TaskManager ends the process; it does not return. It must come before
// anything else that reads flags or builds pipelines.
func Work() {
	flag.Parse() // the boot program's, all of them Beam's
	beam.Init()
	panic("flinkrunner: the worker's harness has returned") // it exits the process by itself
}

func initBeam() {
	if !beam.Initialized() {
		beam.Init()
	}
}
