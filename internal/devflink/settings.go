package devflink

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Names of the processes, in the order of their start.
const (
	JobManager  = "jobmanager"
	TaskManager = "taskmanager"
	JobServer   = "jobserver"
)

// Memory, of which Flink's own start scripts would compute the JVM's options. Peaks seen: the
// TaskManager 921 MiB, the JobManager 397, the job server 552.
const (
	jobManagerHeapMiB    = 448
	jobServerHeapMiB     = 768
	frameworkHeapMiB     = 128
	taskOffHeapMiB       = 128
	frameworkOffHeapMiB  = 128
	networkMiB           = 256
	sortMiB              = 256 // of a slot, for the sorters of jobs in batch mode; RocksDB's buffers are not part of it
	metaspaceMiB         = 256
	overheadMiB          = 192
	jobManagerProcessMiB = 1024
)

// opened are the packages that Flink and Beam reach into by reflection, which Java 17 forbids.
var opened = []string{
	"java.base/java.lang", "java.base/java.lang.invoke", "java.base/java.io", "java.base/java.math", "java.base/java.net",
	"java.base/java.nio", "java.base/java.text", "java.base/java.time", "java.base/java.util",
	"java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic",
}

const log4j = `rootLogger.level = INFO
rootLogger.appenderRef.out.ref = Out
appender.out.name = Out
appender.out.type = CONSOLE
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %-40.40c - %m%n
logger.pekko.name = org.apache.pekko
logger.pekko.level = WARN
`

// prepare makes the directories and writes the cluster's configuration.
func prepare(cfg Config) error {
	for _, name := range []string{"conf", "run", "log", "tmp", "checkpoints", "savepoints", "artifacts"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, name), 0o755); err != nil {
			return fmt.Errorf("make the directories of flink: %w", err)
		}
	}
	for name, text := range map[string]string{"flink-conf.yaml": flinkSettings(cfg), "log4j.properties": log4j} {
		if err := os.WriteFile(filepath.Join(cfg.Dir, "conf", name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write flink's configuration: %w", err)
		}
	}
	return nil
}

func flinkSettings(cfg Config) string {
	settings := [][2]string{
		{"jobmanager.rpc.address", "127.0.0.1"},
		{"jobmanager.rpc.port", strconv.Itoa(cfg.RPCPort)},
		{"jobmanager.bind-host", "127.0.0.1"},
		{"jobmanager.memory.process.size", mebibytes(jobManagerProcessMiB)},
		{"taskmanager.bind-host", "127.0.0.1"},
		{"taskmanager.host", "127.0.0.1"},
		{"taskmanager.numberOfTaskSlots", strconv.Itoa(cfg.Slots)},
		{"rest.address", "127.0.0.1"},
		{"rest.bind-address", "127.0.0.1"},
		{"rest.port", strconv.Itoa(cfg.RESTPort)},
		{"web.submit.enable", "false"}, // the page shows and cancels; jobs come by the job server
		{"web.upload.dir", filepath.Join(cfg.Dir, "tmp")},
		{"io.tmp.dirs", filepath.Join(cfg.Dir, "tmp")},
		{"parallelism.default", "1"},
		{"state.backend.type", "rocksdb"},
		{"state.backend.incremental", "true"},
		{"state.checkpoints.dir", cfg.CheckpointDir()},
		{"state.checkpoints.num-retained", "2"},
		// What the operators learned is appended and cleared as a whole. Keys that are hashes do not compress, and
		// for universal compaction RocksDB compresses what it flushes whatever is set here.
		{"state.backend.rocksdb.compression.per.level", "NO_COMPRESSION"},
		{"state.backend.rocksdb.compaction.level.max-size-level-base", "1gb"},
		{"state.backend.rocksdb.compaction.level.target-file-size-base", "256mb"},
		// A shared limit is reached by the empty buffers alone, and then all are flushed all the time.
		{"state.backend.rocksdb.memory.managed", "false"},
		// A block fills dozens of buffers: with the default of two a sender waits while the receiver is at work.
		{"taskmanager.network.memory.buffers-per-channel", "32"},
		{"taskmanager.network.memory.floating-buffers-per-gate", "128"},
		{"state.savepoints.dir", cfg.SavepointDir()},
		{"execution.checkpointing.interval", cfg.CheckpointInterval.String()},
		{"restart-strategy.type", "fixed-delay"},
		{"restart-strategy.fixed-delay.attempts", strconv.Itoa(cfg.RestartAttempts)},
		{"restart-strategy.fixed-delay.delay", strconv.FormatInt(cfg.RestartDelay.Milliseconds(), 10) + " ms"},
		// A killed TaskManager is noticed within this time.
		{"heartbeat.interval", "2000"},
		{"heartbeat.timeout", "10000"},
		{"cluster.evenly-spread-out-slots", "true"},
	}
	var b strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&b, "%s: %s\n", s[0], s[1])
	}
	return b.String()
}

// arguments are those of java for each process; id is what the cluster knows a TaskManager by.
func arguments(cfg Config, inst installation, name, id string) []string {
	conf := filepath.Join(cfg.Dir, "conf")
	// The second compiler takes more than it gives in the first minutes of programs that mostly copy.
	args := []string{"-Djava.io.tmpdir=" + filepath.Join(cfg.Dir, "tmp"), "-XX:TieredStopAtLevel=1"}
	for _, p := range opened {
		args = append(args, "--add-opens="+p+"=ALL-UNNAMED")
	}
	cluster := func(main string) {
		args = append(args, "-Dlog4j.configurationFile=file:"+filepath.Join(conf, "log4j.properties"),
			"-cp", filepath.Join(inst.flink, "*"), main, "--configDir", conf)
	}
	switch name {
	case JobManager:
		args = append(args, "-Xmx"+strconv.Itoa(jobManagerHeapMiB)+"m")
		cluster("org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint")
	case TaskManager:
		direct := taskOffHeapMiB + frameworkOffHeapMiB + networkMiB
		// Not G1: to it an element of half a megabyte is humongous, and it marks all the time.
		args = append(args, "-Xmx"+strconv.Itoa(cfg.TaskHeapMiB+frameworkHeapMiB)+"m", "-XX:+UseParallelGC",
			fmt.Sprintf("-XX:MaxDirectMemorySize=%dm", max(512, direct)), fmt.Sprintf("-XX:MaxMetaspaceSize=%dm", metaspaceMiB))
		cluster("org.apache.flink.runtime.taskexecutor.TaskManagerRunner")
		for _, s := range [][2]string{
			{"taskmanager.resource-id", id},
			{"taskmanager.cpu.cores", strconv.Itoa(cfg.Slots) + ".0"},
			{"taskmanager.memory.task.heap.size", mebibytes(cfg.TaskHeapMiB)},
			{"taskmanager.memory.framework.heap.size", mebibytes(frameworkHeapMiB)},
			{"taskmanager.memory.network.min", mebibytes(networkMiB)},
			{"taskmanager.memory.network.max", mebibytes(networkMiB)},
			{"taskmanager.memory.managed.size", mebibytes(cfg.Slots * sortMiB)},
			{"taskmanager.memory.task.off-heap.size", mebibytes(taskOffHeapMiB)},
			{"taskmanager.memory.framework.off-heap.size", mebibytes(frameworkOffHeapMiB)},
			{"taskmanager.memory.jvm-metaspace.size", mebibytes(metaspaceMiB)},
			{"taskmanager.memory.jvm-overhead.min", mebibytes(overheadMiB)},
			{"taskmanager.memory.jvm-overhead.max", mebibytes(overheadMiB)},
		} {
			args = append(args, "-D", s[0]+"="+s[1])
		}
	case JobServer:
		args = append(args, "-Xmx"+strconv.Itoa(jobServerHeapMiB)+"m", "-Dorg.slf4j.simpleLogger.showDateTime=true",
			"-cp", filepath.Join(inst.jobServer, "*"), "org.apache.beam.runners.flink.FlinkJobServerDriver",
			fmt.Sprintf("--flink-master=127.0.0.1:%d", cfg.RESTPort),
			"--job-host=127.0.0.1",
			fmt.Sprintf("--job-port=%d", cfg.JobPort),
			fmt.Sprintf("--artifact-port=%d", cfg.ArtifactPort),
			fmt.Sprintf("--expansion-port=%d", cfg.ExpansionPort),
			"--artifacts-dir="+filepath.Join(cfg.Dir, "artifacts"))
	}
	return args
}

func mebibytes(n int) string { return strconv.Itoa(n) + "m" }
