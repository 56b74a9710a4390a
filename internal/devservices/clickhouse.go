package devservices

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/clickledger/clickledger/internal/fetch"
)

const (
	chdbPlatform = "linux/amd64"
	chdbLibrary  = "libchdb.so"
	// chdbBytesMax bounds what the library may unpack to.
	chdbBytesMax = 2 << 30

	puregoModule   = "github.com/ebitengine/purego"
	puregoVersion  = "v0.11.3"
	puregoChecksum = "h1:OB+JLpdm7ioymhyA+6s5kbb/uOuYycAgL8NNTFc5MLg="
	puregoModSum   = "h1:DCHPP08djqhNSoTfImcnHYQRZmd0qhakvrozqaEYhGQ="
)

var chdb = fetch.NpmPackage{Name: "@chdb/lib-linux-x64-gnu", Version: "26.7.3-stable.1",
	Integrity: "sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=="}

//go:embed launcher/main.go launcher/shield.go
var launcherSource embed.FS

// clickHouse is the server inside libchdb: one node, the user "default" without a password.
type clickHouse struct {
	cfg               Config
	library, launcher string
}

func newClickHouse(cfg Config) *program {
	return &program{
		cfg: cfg, name: "clickhouse", version: chdb.Version, service: &clickHouse{cfg: cfg},
		address: "clickhouse://" + cfg.address(portClickHouse) + "/" + ClickHouseDatabase,
		ports:   []int{cfg.port(portClickHouse), cfg.port(portClickHouseInner), cfg.port(portClickHouseHTTP)},
	}
}

func (c *clickHouse) fetch(ctx context.Context, note func(string)) error {
	if platform := runtime.GOOS + "/" + runtime.GOARCH; platform != chdbPlatform {
		return fmt.Errorf("there is no pinned ClickHouse for %s: use scripts/compose.yaml, or leave it out by --only", platform)
	}
	dir, err := fetch.Cached(ctx, c.cfg.CacheDir, "chdb-"+chdb.Version, func(dir string) error {
		note("fetching " + chdb.Version + " with npm, 178 MB")
		isThere := false
		err := chdb.Fetch(ctx, func(name string, content io.Reader) error {
			if name != chdbLibrary {
				return nil
			}
			isThere = true
			return writeLibrary(filepath.Join(dir, name), content)
		})
		if err == nil && !isThere {
			err = fmt.Errorf("there is no %s in %s", chdbLibrary, chdb.Name)
		}
		return err
	})
	if err != nil {
		return err
	}
	c.library = filepath.Join(dir, chdbLibrary)
	files, err := launcherFiles()
	if err != nil {
		return err
	}
	dir, err = fetch.Cached(ctx, c.cfg.CacheDir, "clickhouse-launcher-"+files.sum(), func(dir string) error {
		note("building its launcher with go")
		return files.build(ctx, dir)
	})
	c.launcher = filepath.Join(dir, "launcher")
	return err
}

func writeLibrary(target string, content io.Reader) error {
	library, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	n, err := io.Copy(library, io.LimitReader(content, chdbBytesMax))
	if err == nil && n == chdbBytesMax {
		err = fmt.Errorf("%s is larger than %d bytes", chdbLibrary, chdbBytesMax)
	}
	return errors.Join(err, library.Close())
}

// module is the launcher as a Go module of its own: texts by the names of its files.
type module map[string]string

// launcherFiles is the launcher's source, held to the pinned sums.
func launcherFiles() (module, error) {
	files := module{
		"go.mod": "module launcher\n\ngo 1.26\n\nrequire " + puregoModule + " " + puregoVersion + "\n",
		"go.sum": puregoModule + " " + puregoVersion + " " + puregoChecksum + "\n" +
			puregoModule + " " + puregoVersion + "/go.mod " + puregoModSum + "\n",
	}
	for _, name := range []string{"main.go", "shield.go"} {
		text, err := launcherSource.ReadFile("launcher/" + name)
		if err != nil {
			return nil, err
		}
		files[name] = string(text)
	}
	return files, nil
}

// sum names the source: another one is built anew.
func (m module) sum() string {
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(hash, "%s\n%d\n%s", name, len(m[name]), m[name])
	}
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

// build builds the program launcher in dir.
func (m module) build(ctx context.Context, dir string) error {
	work, err := os.MkdirTemp("", "clickledger-launcher-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for name, text := range m {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	_, err = fetch.Run(ctx, work, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off"},
		"go", "build", "-trimpath", "-o", filepath.Join(dir, "launcher"), ".")
	return err
}

func (c *clickHouse) command(context.Context) (command, error) {
	return command{
		args: []string{c.launcher, c.library, c.cfg.address(portClickHouse), c.cfg.address(portClickHouseInner),
			"--path", filepath.Join(c.cfg.data("clickhouse"), "store"),
			"--listen_host", loopback, "--http_port", strconv.Itoa(c.cfg.port(portClickHouseHTTP)),
			"--tcp_port", strconv.Itoa(c.cfg.port(portClickHouseInner)), "--send_logs_level", "warning"},
		environment: plainEnvironment(),
	}, nil
}

// probe asks for a row over HTTP, and greets the native port, which the jobs use.
func (c *clickHouse) probe(ctx context.Context) error {
	answer, err := c.query(ctx, "select 1")
	if err != nil {
		return err
	}
	if answer != "1\n" {
		return fmt.Errorf("select 1: got %q", answer)
	}
	return c.greet(ctx)
}

// query runs a statement over HTTP and returns its result as text.
func (c *clickHouse) query(ctx context.Context, statement string) (string, error) {
	target := url.URL{Scheme: "http", Host: c.cfg.address(portClickHouseHTTP), Path: "/"}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(statement))
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", statement, response.Status, strings.TrimSpace(string(text)))
	}
	return string(text), err
}

// greet sends the hello of the native protocol, and reads the first byte of the answer: 0 is the
// server's hello, 2 an exception.
func (c *clickHouse) greet(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", c.cfg.address(portClickHouse))
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	hello := []byte{0}
	text := func(s string) { hello = append(binary.AppendUvarint(hello, uint64(len(s))), s...) }
	text("clickledger dev")
	for _, number := range []uint64{1, 0, 54451} { // our version, and that of the protocol
		hello = binary.AppendUvarint(hello, number)
	}
	text("default")
	text("default")
	text("")
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	answer := []byte{0xff}
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("native hello: %w", err)
	}
	if answer[0] != 0 {
		return fmt.Errorf("native hello: got packet %d", answer[0])
	}
	return nil
}

// furnish makes the database, without which clients cannot connect to it.
func (c *clickHouse) furnish(ctx context.Context) error {
	_, err := c.query(ctx, "create database if not exists "+ClickHouseDatabase)
	return err
}
