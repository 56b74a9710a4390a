package devservices

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/clickledger/clickledger/internal/fetch"
)

const (
	redisPackage  = "redis-server"
	redisMajorMin = 7
)

// redis is one server that appends every write to a file.
type redis struct {
	cfg    Config
	binary string
}

func newRedis(cfg Config) *program {
	return &program{
		cfg: cfg, name: "redis", version: fmt.Sprintf(">= %d", redisMajorMin), service: &redis{cfg: cfg},
		address: "redis://" + cfg.address(portRedis) + "/0", ports: []int{cfg.port(portRedis)},
	}
}

// fetch finds the server, or installs the system's package, which apt verifies by its signature.
func (r *redis) fetch(ctx context.Context, note func(string)) error {
	path, err := exec.LookPath(redisPackage)
	if errors.Is(err, exec.ErrNotFound) {
		if err := installRedis(ctx, note); err != nil {
			return err
		}
		path, err = exec.LookPath(redisPackage)
	}
	if err != nil {
		return err
	}
	if r.binary, err = filepath.Abs(path); err != nil {
		return err
	}
	return checkRedis(ctx, r.binary)
}

func installRedis(ctx context.Context, note func(string)) error {
	if _, err := exec.LookPath("apt-get"); err != nil || runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return fmt.Errorf("%s %d or newer is not on the PATH, and can be installed here only by root with apt: "+
			"install it, e.g. `sudo apt-get install %s`", redisPackage, redisMajorMin, redisPackage)
	}
	note("installing with apt")
	environment := []string{"DEBIAN_FRONTEND=noninteractive"}
	install := []string{"install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", redisPackage}
	_, err := fetch.Run(ctx, "/", environment, "apt-get", install...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// The machine may have an old list of packages, or none.
	if _, err := fetch.Run(ctx, "/", environment, "apt-get", "update"); err != nil {
		return err
	}
	_, err = fetch.Run(ctx, "/", environment, "apt-get", install...)
	return err
}

var redisVersion = regexp.MustCompile(`v=(\d+)\.`)

func checkRedis(ctx context.Context, binary string) error {
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return fmt.Errorf("run %s --version: %w", binary, err)
	}
	found := redisVersion.FindSubmatch(out)
	if found == nil {
		return fmt.Errorf("%s --version says no version", binary)
	}
	if major, err := strconv.Atoi(string(found[1])); err != nil || major < redisMajorMin {
		return fmt.Errorf("%s %d or newer is needed, %s is %s", redisPackage, redisMajorMin, binary, found[1])
	}
	return nil
}

func (r *redis) command(context.Context) (command, error) {
	return command{
		args: []string{r.binary, "--bind", loopback, "--port", strconv.Itoa(r.cfg.port(portRedis)),
			"--daemonize", "no", "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
			"--dir", r.cfg.data("redis")},
		environment: plainEnvironment(),
	}, nil
}

// probe sends PING, as a line of its own, which needs no client. A server that is still loading its
// data answers with an error.
func (r *redis) probe(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", r.cfg.address(portRedis))
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("PING: %w", err)
	}
	if answer = strings.TrimSpace(answer); answer != "+PONG" {
		return fmt.Errorf("PING: got %q", answer)
	}
	return nil
}

func (r *redis) furnish(context.Context) error { return nil }
