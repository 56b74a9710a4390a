package devflink

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	flinkPackage  = "apache-flink-libraries"
	flinkChecksum = "4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60"
	// flinkEntries is where the sdist has the cluster's jars; of those the ones below are needed.
	flinkEntries = flinkPackage + "-" + FlinkVersion + "/deps/lib/"
	// maxJarBytes bounds what one jar may unpack to.
	maxJarBytes = 512 << 20
)

// flinkJars are the prefixes of the jars that run a DataStream job: not those of Table and SQL.
var flinkJars = []string{"flink-dist-", "log4j-"}

//go:embed pom.xml
var pom []byte

// jarChecksums lists every jar of the job server, as sha256sum prints it.
//
//go:embed jars.sha256
var jarChecksums string

// ErrChecksum is returned when something fetched is not what was pinned.
var ErrChecksum = errors.New("checksum differs from the pinned one")

// installation is where the unpacked programs are.
type installation struct{ flink, jobServer string }

// Fetch puts the pinned programs into the cache, unless they are there, so that a later Up needs no
// package manager. The cache may be shared: it is locked meanwhile.
func Fetch(ctx context.Context, cfg Config) error {
	_, err := fetch(ctx, cfg.withDefaults())
	return err
}

func fetch(ctx context.Context, cfg Config) (installation, error) {
	inst := installation{
		flink:     filepath.Join(cfg.CacheDir, "flink-"+FlinkVersion),
		jobServer: filepath.Join(cfg.CacheDir, "beam-flink-job-server-"+BeamVersion),
	}
	if err := os.MkdirAll(cfg.CacheDir, 0o755); err != nil {
		return inst, fmt.Errorf("make the cache directory: %w", err)
	}
	unlock, err := lockFile(filepath.Join(cfg.CacheDir, "flink.lock"))
	if err != nil {
		return inst, err
	}
	defer unlock()
	for _, part := range []struct {
		name, target string
		fill         func(ctx context.Context, work string) error
	}{
		{"flink " + FlinkVersion, inst.flink, fetchFlink},
		{"the beam job server " + BeamVersion, inst.jobServer, fetchJobServer},
	} {
		if err := fetchPart(ctx, cfg.Logger, part.name, part.target, part.fill); err != nil {
			return inst, err
		}
	}
	return inst, nil
}

// fetchPart fills a directory that appears whole or not at all.
func fetchPart(ctx context.Context, logger *slog.Logger, name, target string, fill func(context.Context, string) error) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	logger.Info("fetching", "what", name)
	work, err := os.MkdirTemp(filepath.Dir(target), "fetch-")
	if err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	defer os.RemoveAll(work)
	if err := fill(ctx, work); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	if err := os.Chmod(filepath.Join(work, "lib"), 0o755); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	return os.Rename(filepath.Join(work, "lib"), target)
}

// fetchFlink has pip download the source distribution of Flink's Python package, which holds the
// whole Java distribution, and unpacks the jars that are needed into work/lib.
func fetchFlink(ctx context.Context, work string) error {
	want := fmt.Sprintf("%s==%s --hash=sha256:%s\n", flinkPackage, FlinkVersion, flinkChecksum)
	requirements := filepath.Join(work, "requirements.txt")
	if err := os.WriteFile(requirements, []byte(want), 0o600); err != nil {
		return err
	}
	pip, err := exec.LookPath("pip3")
	if err != nil {
		if pip, err = exec.LookPath("pip"); err != nil {
			return fmt.Errorf("pip is needed to fetch flink: %w", err)
		}
	}
	// The hash is compared before pip looks into the archive.
	if err := run(ctx, work, pip, "download", "--disable-pip-version-check", "--quiet", "--no-deps", "--no-binary", flinkPackage,
		"--require-hashes", "--requirement", requirements, "--dest", work); err != nil {
		return err
	}
	archive := filepath.Join(work, flinkPackage+"-"+FlinkVersion+".tar.gz")
	got, err := fileChecksum(archive)
	if err != nil {
		return err
	}
	if got != flinkChecksum {
		return fmt.Errorf("%s has %s, want %s: %w", filepath.Base(archive), got, flinkChecksum, ErrChecksum)
	}
	return unpackJars(archive, filepath.Join(work, "lib"))
}

func unpackJars(archive, target string) error {
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(archive), err)
	}
	reader, found := tar.NewReader(unzipped), 0
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(archive), err)
		}
		name, ok := strings.CutPrefix(header.Name, flinkEntries)
		if !ok || header.Typeflag != tar.TypeReg || !needed(name) {
			continue
		}
		found++
		if err := writeJar(filepath.Join(target, name), reader); err != nil {
			return fmt.Errorf("unpack %s: %w", name, err)
		}
	}
	if found < len(flinkJars) {
		return fmt.Errorf("unpack %s: found %d jars", filepath.Base(archive), found)
	}
	return nil
}

func needed(name string) bool {
	for _, prefix := range flinkJars {
		if strings.HasPrefix(name, prefix) && path.Base(name) == name && path.Ext(name) == ".jar" {
			return true
		}
	}
	return false
}

func writeJar(target string, content io.Reader) error {
	file, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, io.LimitReader(content, maxJarBytes))
	return errors.Join(err, file.Close())
}

// fetchJobServer has mvn copy the job server's jars into work/lib, and compares each with its pin.
func fetchJobServer(ctx context.Context, work string) error {
	file := filepath.Join(work, "pom.xml")
	if err := os.WriteFile(file, pom, 0o600); err != nil {
		return err
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("mvn is needed to fetch the job server: %w", err)
	}
	lib := filepath.Join(work, "lib")
	if err := run(ctx, work, mvn, "--batch-mode", "--quiet", "--strict-checksums", "--file", file,
		"dependency:copy-dependencies", "-DoutputDirectory="+lib); err != nil {
		return err
	}
	return checkJars(lib, jarChecksums)
}

// checkJars compares a directory with a list: the same files, each with its checksum.
func checkJars(dir, list string) error {
	want := map[string]string{}
	for line := range strings.Lines(list) {
		if sum, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			want[name] = sum
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		got, err := fileChecksum(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if got != want[e.Name()] {
			return fmt.Errorf("%s has %s, want %q: %w", e.Name(), got, want[e.Name()], ErrChecksum)
		}
	}
	if len(entries) != len(want) {
		return fmt.Errorf("got %d jars, want %d", len(entries), len(want))
	}
	return nil
}

func fileChecksum(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// run runs a package manager to its end; what it says becomes part of the error.
func run(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s %s: %w: %s", filepath.Base(program), args[0], err, lastLines(out.String(), 8))
	}
	return nil
}

// lockFile waits for the lock of a file and returns how to let go of it.
func lockFile(name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("take the lock %s: %w", name, err)
	}
	return func() { file.Close() }, nil
}

// lastLines returns the last n lines of text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
