package devservices

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func config() Config {
	return Config{Dir: "/d", CacheDir: "/c", PortBase: DefaultPortBase, Recorder: []string{"r"}, Postgres: []string{"p"}}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"good", func(*Config) {}, nil},
		{"relative", func(c *Config) { c.Dir, c.CacheDir = "d", "" }, []string{"dir: \"d\"", "cache_dir: \"\""}},
		{"low port", func(c *Config) { c.PortBase = 80 }, []string{"port_base: 80"}},
		{"high port", func(c *Config) { c.PortBase = 65000 }, []string{"port_base: 65000"}},
		{"no commands", func(c *Config) { c.Recorder = nil }, []string{"recorder"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			tc.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}

// other is a part that does not belong to this package.
type other struct{ Part }

func (other) Name() string { return "flink" }

func TestSelect(t *testing.T) {
	t.Parallel()
	stack, err := New(config(), other{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ names, want string }{
		{"", "kafka,clickhouse,s3,redis,postgres"},
		{"redis,kafka", "kafka,redis"},
		{"flink", "flink"},
		{"kafak", "there is no service"},
	} {
		var names []string
		if tc.names != "" {
			names = strings.Split(tc.names, ",")
		}
		parts, err := stack.Select(names)
		var got []string
		for _, part := range parts {
			got = append(got, part.Name())
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if !strings.Contains(strings.Join(got, ","), tc.want) {
			t.Errorf("%q: got %q, want %q", tc.names, got, tc.want)
		}
	}
}

// settings are the lines of a YAML file without comments.
func settings(t *testing.T, text string) map[string]any {
	t.Helper()
	var found map[string]any
	if err := yaml.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// TestServicesFile: the file for developers names what is started on the default ports.
func TestServicesFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "scripts", "services.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got, want := settings(t, string(text)), settings(t, config().RenderConfig())
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got) != 7 {
		t.Errorf("scripts/services.yaml has\n%v\nwant\n%v", got, want)
	}
	keys, err := os.ReadFile(filepath.Join("..", "..", "scripts", filepath.Base(config().CredentialsFile())))
	_, profile, _ := strings.Cut(config().RenderCredentials(), "[default]")
	if err != nil || !strings.HasSuffix(string(keys), profile) {
		t.Errorf("the credentials beside it are %q, %v, want %q", keys, err, profile)
	}
}

// TestComposeFile: Docker's services have the ports, names and credentials of ours.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "scripts", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Image       string
			Ports       []string
			Environment map[string]string
			Healthcheck struct{ Test []string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	stack, err := New(config())
	if err != nil {
		t.Fatal(err)
	}
	inner := []int{stack.cfg.port(portKafkaController), stack.cfg.port(portClickHouseInner)}
	for _, part := range stack.parts {
		service, ok := file.Services[part.Name()]
		if !ok || len(service.Healthcheck.Test) < 2 {
			t.Errorf("%s is not there, or its health is not checked", part.Name())
		}
		if _, tag, _ := strings.Cut(service.Image, ":"); tag == "" || tag == "latest" {
			t.Errorf("%s has the image %q, whose version is not pinned", part.Name(), service.Image)
		}
		for _, port := range part.(*program).ports {
			published := fmt.Sprintf("127.0.0.1:%d:", port)
			if !slices.Contains(inner, port) && !slices.ContainsFunc(service.Ports, func(p string) bool { return strings.HasPrefix(p, published) }) {
				t.Errorf("%s: %s is not among the ports %q", part.Name(), published, service.Ports)
			}
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s publishes %s beyond the loopback interface", part.Name(), port)
			}
		}
	}
	for _, want := range [][3]string{
		{"s3", "ROOT_ACCESS_KEY", S3AccessKey}, {"s3", "ROOT_SECRET_KEY", S3SecretKey},
		{"postgres", "POSTGRES_USER", PostgresUser}, {"postgres", "POSTGRES_PASSWORD", PostgresPassword},
		{"postgres", "POSTGRES_DB", PostgresDatabase}, {"clickhouse", "CLICKHOUSE_DB", ClickHouseDatabase},
	} {
		if got := file.Services[want[0]].Environment[want[1]]; got != want[2] {
			t.Errorf("%s: %s is %q, want %q", want[0], want[1], got, want[2])
		}
	}
	if !strings.HasSuffix(file.Services["kafka"].Image, ":"+kafkaVersion) || !strings.HasSuffix(file.Services["s3"].Image, ":"+s3Version) {
		t.Error("kafka or s3 has another version than dev up")
	}
}

func TestRenderEnvironment(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.PortBase = 31000
	const want = "export AWS_ENDPOINT_URL=http://127.0.0.1:31000\nexport AWS_REGION=us-east-1\n" +
		"export AWS_ACCESS_KEY_ID=clickledger\nexport AWS_SECRET_ACCESS_KEY=clickledger-dev\n"
	if got := cfg.RenderEnvironment(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestKafkaProperties(t *testing.T) {
	t.Parallel()
	text := (&kafka{cfg: config()}).properties("/d/log")
	for _, want := range []string{
		"\nlisteners=PLAINTEXT://127.0.0.1:29092,CONTROLLER://127.0.0.1:29093\n", "\nlog.dirs=/d/log\n",
		"\nauto.create.topics.enable=false\n", "\ncontroller.quorum.voters=1@127.0.0.1:29093\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "%!") || strings.Contains(text, "0.0.0.0") {
		t.Errorf("got\n%s", text)
	}
}

// TestPins compares what is pinned here with what the module and the lists say.
func TestPins(t *testing.T) {
	t.Parallel()
	sums, err := os.ReadFile(filepath.Join("..", "..", "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		puregoModule + " " + puregoVersion + " " + puregoChecksum,
		puregoModule + " " + puregoVersion + "/go.mod " + puregoModSum,
	} {
		if !strings.Contains(string(sums), line+"\n") {
			t.Errorf("go.sum has another version of purego than %s", line)
		}
	}
	if !strings.Contains(kafkaPOM, "<version>"+kafkaVersion+"</version>") ||
		!strings.Contains(kafkaChecksums, "  kafka_2.13-"+kafkaVersion+".jar\n") {
		t.Errorf("Kafka's pom or list of checksums is not of %s", kafkaVersion)
	}
}

func TestCheckFiles(t *testing.T) {
	t.Parallel()
	const sum = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	for _, tc := range []struct {
		name, list string
		good       bool
	}{
		{"the same", sum + "  a\n", true},
		{"another sum", strings.Repeat("0", 64) + "  a\n", false},
		{"not listed", sum + "  b\n", false},
		{"one is missing", sum + "  a\n" + sum + "  b\n", false},
		{"no list", "a\n", false},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkFiles(dir, tc.list); (err == nil) != tc.good {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
