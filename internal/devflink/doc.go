// Package devflink runs a real Flink cluster and Beam's job server for it on this machine, without
// Docker, for development and tests.
//
// Input is a directory; output is a standalone session cluster (one JobManager, one TaskManager with
// RocksDB, checkpoints and savepoints below the directory) and a job server that submits to it. All
// of them listen on 127.0.0.1 only. The programs are fetched by the package managers pip and
// mvn in pinned versions and held to pinned SHA-256 before anything of them is run; needed are those
// two and a Java runtime, 11 or newer (17 is what it is tested with).
//
// Guarantees: the processes outlive the caller, and are recorded with their start time, so that
// Down never ends a stranger that got the same number; Up starts what is not running and returns
// when the cluster says that it has its slots and the job server answers; nothing is fetched twice.
package devflink
