package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCachedAppearsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	cache := filepath.Join(t.TempDir(), "cache")
	errFull := errors.New("disk full")
	if _, err := Cached(t.Context(), cache, "x", func(string) error { return errFull }); !errors.Is(err, errFull) {
		t.Fatal(err)
	}
	// What a killed attempt has left.
	if err := os.MkdirAll(filepath.Join(cache, "x.new", "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	var fills atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := Cached(t.Context(), cache, "x", func(dir string) error {
				fills.Add(1)
				return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o600)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || entries[0].Name() != "whole" {
				t.Errorf("got %v, %v", entries, err)
			}
		})
	}
	wg.Wait()
	if fills.Load() != 1 {
		t.Errorf("filled %d times", fills.Load())
	}
}

func TestNpmPackage(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	entries := tar.NewWriter(zipped)
	for _, entry := range []tar.Header{{Name: "package/a/b", Mode: 0o644, Size: 5}, {Name: "package/link", Typeflag: tar.TypeSymlink, Linkname: "/"}} {
		if err := entries.WriteHeader(&entry); err != nil {
			t.Fatal(err)
		}
		if _, err := entries.Write([]byte("whole")[:entry.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(entries.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "a.tgz")
	if err := os.WriteFile(archive, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	read := func(name string, content io.Reader) error {
		text, err := io.ReadAll(content)
		got[name] = string(text)
		return err
	}
	p := NpmPackage{Name: "p", Integrity: "sha512-AAAA"}
	if err := p.unpack(archive, read); !errors.Is(err, ErrChecksum) || len(got) > 0 {
		t.Errorf("got %v and %v, want a wrong sum and no file", err, got)
	}
	sum := sha512.Sum512(packed.Bytes())
	p.Integrity = "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
	if err := p.unpack(archive, read); err != nil || len(got) != 1 || got["a/b"] != "whole" {
		t.Errorf("got %v and %v", err, got)
	}
}
