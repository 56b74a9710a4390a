package devservices

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// DefaultPortBase is the first of the ports. All of them lie below those that systems give to
// outgoing connections.
const DefaultPortBase = 29000

// Distances of the ports from the base.
const (
	portS3              = 0
	portKafka           = 92
	portKafkaController = 93
	portClickHouseHTTP  = 123
	portRedis           = 379
	portPostgres        = 432
	portClickHouse      = 900
	portClickHouseInner = 901
	portLast            = portClickHouseInner
)

// Distances of the ports of a Flink cluster, which is an optional part that others join.
const (
	PortFlinkREST      = 81
	PortFlinkExpansion = 97
	PortFlinkArtifact  = 98
	PortFlinkJob       = 99
	PortFlinkRPC       = 612
)

// Credentials of the services. They are no secrets: the services hold development data, and listen
// on the loopback interface only.
const (
	S3AccessKey        = "clickledger"
	S3SecretKey        = "clickledger-dev" //nolint:gosec // no secret: see above
	S3Region           = "us-east-1"
	S3Bucket           = "clickledger"
	PostgresUser       = "clickledger"
	PostgresPassword   = "clickledger-dev" //nolint:gosec // no secret: see above
	PostgresDatabase   = "clickledger"
	ClickHouseDatabase = "csp_analytics"
)

const loopback = "127.0.0.1"

// Config says where the services live.
type Config struct {
	// Dir holds data, logs and records of the processes. It must be absolute.
	Dir string
	// CacheDir holds what was fetched, for all directories together. It must be absolute.
	CacheDir string
	// PortBase is the first port; default DefaultPortBase.
	PortBase int
	// Recorder is the start of a command line that ends in Record: the program and its first
	// arguments. The record's path, the service's name and its command line are added to it.
	Recorder []string
	// Postgres is the start of a command line that serves PostgreSQL until SIGTERM: --dir with a
	// directory and --port with a number are added to it.
	Postgres []string
}

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var problems []error
	for _, path := range []struct{ key, value string }{{"dir", c.Dir}, {"cache_dir", c.CacheDir}} {
		if !filepath.IsAbs(path.value) {
			problems = append(problems, fmt.Errorf("%s: %q is not absolute", path.key, path.value))
		}
	}
	if c.PortBase < 1024 || c.PortBase+portLast > 65535 {
		problems = append(problems, fmt.Errorf("port_base: %d is not between 1024 and %d", c.PortBase, 65535-portLast))
	}
	if len(c.Recorder) == 0 || len(c.Postgres) == 0 {
		problems = append(problems, errors.New("recorder, postgres: no command"))
	}
	return errors.Join(problems...)
}

func (c Config) port(distance int) int { return c.PortBase + distance }

func (c Config) address(distance int) string {
	return net.JoinHostPort(loopback, strconv.Itoa(c.port(distance)))
}

// data is the directory of one service's data.
func (c Config) data(name string) string { return filepath.Join(c.Dir, "data", name) }

// File is the path of the configuration file that Stack.WriteConfig writes.
func (c Config) File() string { return filepath.Join(c.Dir, "clickledger.yaml") }

// EnvironmentFile is the path of the file with the credentials that Stack.WriteConfig writes.
func (c Config) EnvironmentFile() string { return filepath.Join(c.Dir, "environment") }

// RenderConfig is a configuration file for the program that names all services.
func (c Config) RenderConfig() string {
	return fmt.Sprintf(`log: kafka://%s
archive: s3://%s/archive
serving: clickhouse://%s/%s
ledger: postgres://%s:%s@%s/%s?sslmode=disable
dedup: state # or redis://%s/0
flink: # with dev up --only flink, and stream.runner: flink
  rest: http://%s
  job_service: %s
s3:
  endpoint: http://%s
  region: %s
  credentials_file: %s # beside this file
`, c.address(portKafka), S3Bucket, c.address(portClickHouse), ClickHouseDatabase,
		PostgresUser, PostgresPassword, c.address(portPostgres), PostgresDatabase, c.address(portRedis),
		c.address(PortFlinkREST), c.address(PortFlinkJob), c.address(portS3), S3Region, filepath.Base(c.CredentialsFile()))
}

// CredentialsFile is the path of the file with the keys of S3 that Stack.WriteConfig writes.
func (c Config) CredentialsFile() string { return filepath.Join(c.Dir, "dev-s3-credentials") }

// RenderCredentials is the file with the keys of S3, in the form that all its clients read.
func (c Config) RenderCredentials() string {
	return fmt.Sprintf("# Of the development services, which listen on 127.0.0.1 only. No secret.\n"+
		"[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", S3AccessKey, S3SecretKey)
}

// Environment is what other clients of S3 need in their environment, NAME=value each.
func (c Config) Environment() []string {
	return []string{
		"AWS_ENDPOINT_URL=http://" + c.address(portS3),
		"AWS_REGION=" + S3Region,
		"AWS_ACCESS_KEY_ID=" + S3AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + S3SecretKey,
	}
}

// RenderEnvironment is the environment as a shell reads it.
func (c Config) RenderEnvironment() string {
	var b strings.Builder
	for _, pair := range c.Environment() {
		b.WriteString("export " + pair + "\n")
	}
	return b.String()
}
