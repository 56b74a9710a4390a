package devservices

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/clickledger/clickledger/internal/fetch"
)

const (
	kafkaVersion = "4.3.0"
	// kafkaJavaMin is the least Java that this Kafka runs on.
	kafkaJavaMin = 17
	kafkaHeap    = "-Xmx384m"
	// kafkaCluster is the cluster's id: any will do, as each directory has its own broker.
	kafkaCluster = "Y2xpY2tsZWRnZXItZGV2LQ"
	// mavenDependency is the plugin that puts the jars into a directory.
	mavenDependency = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
)

//go:embed kafka-pom.xml
var kafkaPOM string

//go:embed kafka.sha256
var kafkaChecksums string

// kafka is one broker that is its own controller.
type kafka struct {
	cfg  Config
	jars string
	java string
}

func newKafka(cfg Config) *program {
	return &program{
		cfg: cfg, name: "kafka", version: kafkaVersion, service: &kafka{cfg: cfg},
		address: "kafka://" + cfg.address(portKafka),
		ports:   []int{cfg.port(portKafka), cfg.port(portKafkaController)},
	}
}

func (k *kafka) fetch(ctx context.Context, note func(string)) error {
	var err error
	if k.java, err = findJava(ctx); err != nil {
		return err
	}
	k.jars, err = fetch.Cached(ctx, k.cfg.CacheDir, "kafka-"+kafkaVersion, func(dir string) error {
		note("fetching " + kafkaVersion + " with mvn")
		work, err := os.MkdirTemp("", "clickledger-kafka-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		pom := filepath.Join(work, "pom.xml")
		if err := os.WriteFile(pom, []byte(kafkaPOM), 0o644); err != nil {
			return err
		}
		if _, err := fetch.Run(ctx, work, nil, "mvn", "--quiet", "--batch-mode", "--file", pom, mavenDependency,
			"-DincludeScope=runtime", "-DoutputDirectory="+dir); err != nil {
			return err
		}
		return checkFiles(dir, kafkaChecksums)
	})
	return err
}

var javaVersion = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

// findJava returns java of JAVA_HOME, else of the PATH, if it is new enough.
func findJava(ctx context.Context) (string, error) {
	path := filepath.Join(os.Getenv("JAVA_HOME"), "bin", "java")
	if os.Getenv("JAVA_HOME") == "" {
		var err error
		if path, err = exec.LookPath("java"); err != nil {
			return "", fmt.Errorf("java %d or newer is needed, and is not on the PATH: install it (%w)", kafkaJavaMin, err)
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("run %s -version: %w", path, err)
	}
	found := javaVersion.FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("%s -version says no version", path)
	}
	if major, err := strconv.Atoi(string(found[1])); err != nil || major < kafkaJavaMin {
		return "", fmt.Errorf("java %d or newer is needed, %s is %s", kafkaJavaMin, path, found[1])
	}
	return path, nil
}

// properties are the broker's settings. Topics have their own: see kafkaio.
func (k *kafka) properties(logs string) string {
	return fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s
controller.listener.names=CONTROLLER
log.dirs=%[3]s
num.partitions=4
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
`, k.cfg.address(portKafka), k.cfg.address(portKafkaController), logs)
}

func (k *kafka) command(ctx context.Context) (command, error) {
	dir := k.cfg.data("kafka")
	settings := filepath.Join(dir, "server.properties")
	logs := filepath.Join(dir, "log")
	if err := k.format(ctx, dir, logs); err != nil {
		return command{}, err
	}
	if err := writeFile(settings, k.properties(logs), 0o644); err != nil {
		return command{}, err
	}
	return command{
		args: []string{k.java, "-Xms64m", kafkaHeap, "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
			"-cp", filepath.Join(k.jars, "*"), "kafka.Kafka", settings},
		environment: plainEnvironment(),
	}, nil
}

// format makes the broker's storage, unless it is there. It works in a directory of another name, so
// that one that was interrupted is made again, not half-used.
func (k *kafka) format(ctx context.Context, dir, logs string) error {
	if _, err := os.Stat(logs); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fresh, settings := logs+".new", filepath.Join(dir, "format.properties")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := writeFile(settings, k.properties(fresh), 0o644); err != nil {
		return err
	}
	defer os.Remove(settings)
	if _, err := fetch.Run(ctx, dir, nil, k.java, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-cp", filepath.Join(k.jars, "*"), "kafka.tools.StorageTool", "format",
		"--cluster-id", kafkaCluster, "--config", settings); err != nil {
		return err
	}
	return os.Rename(fresh, logs)
}

// probe asks for the cluster's metadata: the broker must know itself and its controller.
func (k *kafka) probe(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.cfg.address(portKafka)), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	metadata, err := kadm.NewClient(client).BrokerMetadata(ctx)
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if len(metadata.Brokers) == 0 || metadata.Controller < 0 {
		return fmt.Errorf("metadata: %d brokers, controller %d", len(metadata.Brokers), metadata.Controller)
	}
	return nil
}

func (k *kafka) furnish(context.Context) error { return nil }
