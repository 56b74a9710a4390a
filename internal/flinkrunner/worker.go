package flinkrunner

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/exec/optimized" // typed receivers, no reflection
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness/init"   // what makes a process a worker
)

// IsWorker tells whether this process was started to run DoFns: by a TaskManager, or by Beam's boot program.
func IsWorker() bool { return isBooted(os.Args[1:]) || slices.Contains(os.Args[1:], "--worker=true") }

// isBooted tells whether a TaskManager has started the process itself.
func isBooted(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, provisionFlag) })
}

// Work runs DoFns until the TaskManager ends the process; it does not return. It must come before
// anything else that reads flags or builds pipelines.
func Work() {
	if isBooted(os.Args[1:]) {
		if err := boot(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse() // the boot program's, all of them Beam's
	beam.Init()
	panic("flinkrunner: the worker's harness has returned") // it exits the process by itself
}

func initBeam() {
	if !beam.Initialized() {
		beam.Init()
	}
}
