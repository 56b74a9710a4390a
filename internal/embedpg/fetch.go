package embedpg

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
	"github.com/xi2/xz"
)

// pinnedVersion is the PostgreSQL that is fetched where the machine has none.
const pinnedVersion = embeddedpostgres.PostgresVersion("18.3.0")

// pinnedChecksums are the SHA-256 of the pinned version's archives, by operating system and
// architecture as Go names them.
var pinnedChecksums = map[string]string{
	"linux/amd64": "e09b13df10e9df257275d498b19b8c214a3e86d7a5d8cd263b0860e308e8b0b6",
	"linux/arm64": "f9695b61cff9e5c9b8e02a938158740a711c7a55304dd49ca634c8b947bf6b27",
}

// maxUnpackedBytes bounds what an archive may unpack to.
const maxUnpackedBytes = 1 << 30

// ErrChecksum is returned when fetched binaries are not the pinned ones.
var ErrChecksum = errors.New("checksum of the fetched postgresql binaries differs from the pinned one")

// fetchBinaries returns the bin directory of the pinned version. The archive is kept in the user's
// cache directory; it is unpacked there too, or beside the data where the server's user cannot
// reach the cache.
func fetchBinaries(ctx context.Context, place *place) (string, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	checksum, ok := pinnedChecksums[platform]
	if !ok {
		return "", fmt.Errorf("no pinned postgresql binaries for %s", platform)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = place.base
	}
	cache = filepath.Join(cache, "clickledger")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache directory: %w", err)
	}
	lock, err := lockFile(filepath.Join(cache, "postgresql.lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	unpackParent := cache
	if place.owner != nil && !reachable(cache, place.owner) {
		unpackParent = place.base
	}
	target := filepath.Join(unpackParent, "postgresql-"+string(pinnedVersion))
	if _, err := os.Stat(filepath.Join(target, "bin", "postgres")); err == nil {
		return filepath.Join(target, "bin"), nil
	}
	archive, err := fetchArchive(ctx, cache, checksum)
	if err != nil {
		return "", err
	}
	if err := unpack(archive, target); err != nil {
		return "", fmt.Errorf("unpack %s: %w", archive, err)
	}
	return filepath.Join(target, "bin"), nil
}

// fetchArchive returns the path of the archive in the cache, fetching it when it is not there. An
// archive with another checksum is deleted, and nothing of it is unpacked or run.
func fetchArchive(ctx context.Context, cache, checksum string) (string, error) {
	pattern := filepath.Join(cache, fmt.Sprintf("embedded-postgres-binaries-*-%s.txz", pinnedVersion))
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	var fetchErr error
	if len(found) == 0 {
		fetchErr = libraryFetch(ctx, cache)
		if found, err = filepath.Glob(pattern); err != nil {
			return "", err
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("fetch postgresql %s: %w", pinnedVersion, fetchErr)
	}
	got, err := fileChecksum(found[0])
	if err != nil {
		return "", err
	}
	if got != checksum {
		return "", errors.Join(fmt.Errorf("%s has %s, want %s: %w", found[0], got, checksum, ErrChecksum),
			os.Remove(found[0]))
	}
	return found[0], nil
}

// libraryFetch has the library, which knows its repository, put the archive into the cache.
//
// The library offers no fetch alone, and its Start would unpack and run what it fetched before we
// have compared it with our checksum. So it gets a directory for the binaries that cannot be made
// (below a dangling link): Start fetches, then fails there. That failure is the expected outcome;
// whether the archive has come is seen in the cache.
func libraryFetch(ctx context.Context, cache string) error {
	work, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return fmt.Errorf("make a directory for fetching: %w", err)
	}
	dangling := filepath.Join(work, "dangling")
	if err := os.Symlink(filepath.Join(work, "missing", "missing"), dangling); err != nil {
		return errors.Join(fmt.Errorf("prepare fetching: %w", err), os.RemoveAll(work))
	}
	port, err := freePort()
	if err != nil {
		return errors.Join(err, os.RemoveAll(work))
	}
	library := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().Version(pinnedVersion).
		Port(uint32(port)).CachePath(cache).RuntimePath(filepath.Join(work, "runtime")).
		BinariesPath(filepath.Join(dangling, "binaries")).Logger(io.Discard))
	finished := make(chan error, 1)
	// The library cannot be cancelled; on ctx's end the goroutine is left to its own HTTP time-out.
	go func() {
		defer os.RemoveAll(work)
		finished <- library.Start()
	}()
	select {
	case err := <-finished:
		return err
	case <-ctx.Done():
		return fmt.Errorf("fetch postgresql: %w", ctx.Err())
	}
}

func fileChecksum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the fetched archive: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// unpack writes the archive's files under target, which appears whole or not at all.
func unpack(archive, target string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	decompressed, err := xz.NewReader(file, 0)
	if err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(target), "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := os.Chmod(temporary, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(temporary)
	if err != nil {
		return err
	}
	defer root.Close()
	// os.Root refuses every name and link that leads out of the directory.
	reader := tar.NewReader(io.LimitReader(decompressed, maxUnpackedBytes))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return os.Rename(temporary, target)
		}
		if err != nil {
			return err
		}
		if err := unpackOne(root, header, reader); err != nil {
			return fmt.Errorf("entry %q: %w", header.Name, err)
		}
	}
}

func unpackOne(root *os.Root, header *tar.Header, content io.Reader) error {
	name := filepath.Clean(strings.TrimPrefix(header.Name, "./"))
	if name == "." {
		return nil
	}
	if header.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeReg:
		file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, os.FileMode(header.Mode)&0o755|0o444)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	case tar.TypeSymlink:
		return root.Symlink(header.Linkname, name)
	case tar.TypeLink:
		return root.Link(filepath.Clean(strings.TrimPrefix(header.Linkname, "./")), name)
	default:
		return fmt.Errorf("unexpected type %q", header.Typeflag)
	}
}
