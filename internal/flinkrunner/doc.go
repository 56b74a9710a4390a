// Package flinkrunner runs Beam pipelines on a Flink cluster, through Beam's job server, and minds
// them: it submits with Flink's options, which Beam's own Go runner does not send, notices a start
// that hangs and tries again, takes savepoints and resumes from them, and reads state and metrics.
//
// The DoFns run in one of three environments:
//
//   - Loopback: in the process that submits, for development. The job ends with the process.
//   - Process: Flink's TaskManager starts the worker on its own host, without Docker: this program, which must be
//     there as the same build, or Beam's boot program (go build
//     github.com/apache/beam/sdks/v2/go/container), which fetches this program from the job server. Either way
//     the program's main has to begin with `if flinkrunner.IsWorker() { flinkrunner.Work() }`. Flags of
//     the submitting program do not reach that worker: what a DoFn needs is in its fields, and
//     secrets in the environment or in files of the worker's host.
//   - External: workers are kept by a pool that runs beside each TaskManager (ServeWorkers), for hosts where
//     the TaskManager must not start programs.
//
// Guarantees: no flag and no secret becomes a pipeline option; everything that waits has a limit;
// where the cluster or the job server does not answer, the error is ErrUnreachable and names the
// address. After a submission only Flink's REST API is needed: a job server may be restarted.
package flinkrunner
