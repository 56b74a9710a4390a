package fetch

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// NpmPackage is a package of npm's registry at a version. Integrity is its sum, as npm's lock files
// have it.
type NpmPackage struct {
	Name, Version, Integrity string
}

// Fetch has npm bring the package, compares its sum, and hands over each of its files, by the name in
// the package. No code of it runs.
func (p NpmPackage) Fetch(ctx context.Context, each func(name string, content io.Reader) error) error {
	work, err := os.MkdirTemp("", "clickledger-npm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if _, err := Run(ctx, work, nil, "npm", "pack", "--silent", "--pack-destination", work, p.Name+"@"+p.Version); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(found) != 1 {
		return errors.Join(fmt.Errorf("npm pack left %d packages", len(found)), err)
	}
	return p.unpack(found[0], each)
}

func (p NpmPackage) unpack(archive string, each func(name string, content io.Reader) error) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	hash := sha512.New()
	if _, err := io.Copy(hash, file); err != nil {
		return err
	}
	if got := "sha512-" + base64.StdEncoding.EncodeToString(hash.Sum(nil)); got != p.Integrity {
		return fmt.Errorf("%s has %s, want %s: %w", p.Name, got, p.Integrity, ErrChecksum)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for entries := tar.NewReader(unzipped); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && entry.Typeflag == tar.TypeReg {
			err = each(strings.TrimPrefix(entry.Name, "package/"), entries)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", p.Name, err)
		}
	}
}
