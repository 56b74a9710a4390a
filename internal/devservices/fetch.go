package devservices

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/clickledger/clickledger/internal/fetch"
)

// ErrChecksum is returned when something that was fetched is not what was pinned.
var ErrChecksum = fetch.ErrChecksum

// checkFiles compares the files of a directory with a list as sha256sum prints it: each must be on
// the list with its sum, and none may be missing.
func checkFiles(dir, list string) error {
	pinned := map[string]string{}
	for line := range strings.Lines(list) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			return fmt.Errorf("list of checksums: %q is no line of it", line)
		}
		pinned[name] = sum
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		want, ok := pinned[entry.Name()]
		if !ok {
			return fmt.Errorf("%s is not on the list: %w", entry.Name(), ErrChecksum)
		}
		got, err := sumFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s has %s, want %s: %w", entry.Name(), got, want, ErrChecksum)
		}
	}
	if len(entries) != len(pinned) {
		return fmt.Errorf("%d of %d files were fetched", len(entries), len(pinned))
	}
	return nil
}

func sumFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// plainEnvironment keeps the caller's settings away from a service.
func plainEnvironment(more ...string) []string {
	environment := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	for _, name := range []string{"HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			environment = append(environment, name+"="+value)
		}
	}
	return append(environment, more...)
}
