package embedpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// BinEnvironment names the variable that overrides the search for binaries: a directory that holds
// initdb and postgres, or FetchBinaries.
const BinEnvironment = "CLICKLEDGER_POSTGRES_BIN"

// FetchBinaries asks for the pinned binaries, as Config.BinDir or in BinEnvironment, even where the
// machine has PostgreSQL.
const FetchBinaries = "fetch"

// findBinaries returns a directory with initdb and postgres that the server's user can run and
// that fits the data: data of another major version cannot be opened.
func findBinaries(ctx context.Context, cfg Config, place *place) (string, error) {
	asked := cfg.BinDir
	if asked == "" {
		asked = os.Getenv(BinEnvironment)
	}
	need, err := dataMajor(place.data())
	if err != nil {
		return "", err
	}
	if asked != "" && asked != FetchBinaries {
		return asked, checkBinaries(ctx, asked, place, need)
	}
	var problems []error
	if asked == "" {
		for _, dir := range installed(ctx) {
			err := checkBinaries(ctx, dir, place, need)
			if err == nil {
				return dir, nil
			}
			problems = append(problems, err)
		}
	}
	cfg.Logger.Info("fetching postgresql binaries", "version", string(pinnedVersion))
	dir, err := fetchBinaries(ctx, place)
	if err == nil {
		err = checkBinaries(ctx, dir, place, need)
	}
	if err != nil {
		problems = append(problems, err)
		return "", fmt.Errorf("no usable postgresql (set %s to its bin directory): %w",
			BinEnvironment, errors.Join(problems...))
	}
	return dir, nil
}

// dataMajor is the major version of existing data, "" when there is none.
func dataMajor(data string) (string, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the version of the data: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// checkBinaries runs both programs with --version as the server's user.
func checkBinaries(ctx context.Context, dir string, place *place, needMajor string) error {
	for _, name := range []string{"initdb", "postgres"} {
		out, err := runTool(ctx, place, filepath.Join(dir, name), "--version")
		if err != nil {
			return err
		}
		fields := strings.Fields(out)
		major := ""
		if len(fields) > 2 {
			major, _, _ = strings.Cut(fields[2], ".")
		}
		if needMajor != "" && major != needMajor {
			return fmt.Errorf("%s is of major version %q, the data is of %s", dir, major, needMajor)
		}
	}
	return nil
}

// installed lists the machine's bin directories: packaged ones newest first, then the PATH's.
func installed(ctx context.Context) []string {
	var dirs []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		slices.SortStableFunc(found, func(a, b string) int { return versionIn(b) - versionIn(a) })
		dirs = append(dirs, found...)
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "postgres"))
		return err != nil
	})
}

// versionIn reads the major version from a path such as /usr/lib/postgresql/15/bin.
func versionIn(path string) int {
	name := filepath.Base(filepath.Dir(path))
	version, err := strconv.Atoi(strings.TrimPrefix(name, "pgsql-"))
	if err != nil {
		return 0
	}
	return version
}

// runTool runs a short-lived program as the server's user and returns its output.
func runTool(ctx context.Context, place *place, binary string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = "/"
	cmd.Env = childEnvironment()
	cmd.SysProcAttr = toolAttributes(place.owner)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s: %w: %s", binary, err, lastLines(out.String(), 6))
	}
	return out.String(), nil
}

// initialise makes the data directory, unless it exists. It works in a directory of another name
// and renames it, so that an initialisation that was killed is done again, not half-used.
func initialise(ctx context.Context, place *place, bin, password string) error {
	if major, err := dataMajor(place.data()); err != nil || major != "" {
		return err
	}
	fresh := filepath.Join(place.base, "data.new")
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("clear an unfinished initialisation: %w", err)
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	passwordFile := filepath.Join(place.base, "initdb-password")
	defer os.Remove(passwordFile)
	if err := writeDurably(passwordFile, password+"\n"); err != nil {
		return err
	}
	if place.owner != nil {
		for _, path := range []string{fresh, passwordFile} {
			if err := os.Chown(path, int(place.owner.uid), int(place.owner.gid)); err != nil {
				return fmt.Errorf("hand %s to the server's user: %w", path, err)
			}
		}
	}
	_, err := runTool(ctx, place, filepath.Join(bin, "initdb"), "--pgdata="+fresh, "--username="+superuser,
		"--auth=scram-sha-256", "--pwfile="+passwordFile, "--encoding=UTF8", "--locale=C")
	if err != nil {
		return err
	}
	return os.Rename(fresh, place.data())
}
