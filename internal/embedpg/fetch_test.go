package embedpg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func pinnedPlatform(t *testing.T) {
	t.Helper()
	if _, ok := pinnedChecksums[runtime.GOOS+"/"+runtime.GOARCH]; !ok {
		t.Skipf("no binaries are pinned for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
}

func TestFetchedBinariesRunAndAreCached(t *testing.T) {
	pinnedPlatform(t)
	// Under root the server's user cannot reach this cache: the binaries go beside the data.
	cacheDir := openDir(t)
	if err := os.Chmod(cacheDir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", cacheDir)
	t.Setenv(BinEnvironment, FetchBinaries)
	dir := openDir(t)
	server, err := Start(t.Context(), Config{Dir: dir})
	if err != nil && len(archives(t, cacheDir)) == 0 {
		t.Skipf("the binaries cannot be fetched here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	version := query[string](t, server.DSN, "show server_version")
	if !strings.HasPrefix(string(pinnedVersion), version) { //nolint:gocritic // the pinned version is the longer one
		t.Errorf("version = %s, want %s", version, pinnedVersion)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	// Data of this version needs these binaries, whatever the machine has.
	t.Setenv(BinEnvironment, "")
	again := start(t, Config{Dir: dir})
	if got := query[string](t, again.DSN, "show server_version"); got != version {
		t.Errorf("version after restart = %s, want %s", got, version)
	}
}

func archives(t *testing.T, cacheDir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cacheDir, "clickledger", "*.txz"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestArchiveWithAnotherChecksumIsRefusedAndDeleted(t *testing.T) {
	pinnedPlatform(t)
	cacheDir := openDir(t)
	t.Setenv("XDG_CACHE_HOME", cacheDir)
	t.Setenv(BinEnvironment, FetchBinaries)
	if err := os.MkdirAll(filepath.Join(cacheDir, "clickledger"), 0o755); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("embedded-postgres-binaries-%s-%s-%s.txz", runtime.GOOS, runtime.GOARCH, pinnedVersion)
	forged := filepath.Join(cacheDir, "clickledger", name)
	if err := os.WriteFile(forged, []byte("not postgresql"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{Dir: openDir(t)})
	if !errors.Is(err, ErrChecksum) {
		t.Errorf("err = %v, want %v", err, ErrChecksum)
	}
	if _, err := os.Stat(forged); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the forged archive is still there: %v", err)
	}
}
