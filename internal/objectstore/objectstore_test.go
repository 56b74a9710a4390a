package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stores runs f on a fresh store of every kind.
func stores(t *testing.T, f func(t *testing.T, s Store)) {
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		s, err := Open(t.Context(), "file://"+t.TempDir()+"/a/b")
		if err != nil {
			t.Fatal(err)
		}
		f(t, s)
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		f(t, realS3(t, S3{}))
	})
}

func TestPutGetListDelete(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		put := func(key, data string, ifAbsent, want bool) {
			t.Helper()
			got, err := s.Put(ctx, key, []byte(data), PutOptions{IfAbsent: ifAbsent})
			if err != nil || got != want {
				t.Fatalf("put %s: got created %t, %v, want %t", key, got, err, want)
			}
		}
		put("a/p=1/x", "one", true, true)
		put("a/p=1/x", "two", true, false)
		put("a/p=1/y", "", true, true)
		put("a/p=10/z", "ten", false, true)
		put("b", "bee", false, true)
		put("b", "bees", false, true)
		if b, err := s.Get(ctx, "a/p=1/x"); err != nil || string(b) != "one" {
			t.Fatalf("got %q, %v", b, err)
		}
		if b, err := s.Get(ctx, "b"); err != nil || string(b) != "bees" {
			t.Fatalf("got %q, %v", b, err)
		}
		if b, err := s.Get(ctx, "a/p=1/y"); err != nil || len(b) != 0 {
			t.Fatalf("got %q, %v", b, err)
		}
		for prefix, want := range map[string]string{
			"": "[{a/p=1/x 3} {a/p=1/y 0} {a/p=10/z 3} {b 4}]", "a/p=1": "[{a/p=1/x 3} {a/p=1/y 0} {a/p=10/z 3}]",
			"a/p=1/": "[{a/p=1/x 3} {a/p=1/y 0}]", "a/q": "[]", "q/r/": "[]",
		} {
			got, err := s.List(ctx, prefix)
			for i := range got {
				got[i].ETag = ""
			}
			if err != nil || fmt.Sprint(got) != strings.ReplaceAll(want, "}", " }") {
				t.Errorf("list %q: got %v, %v, want %s", prefix, got, err, want)
			}
		}
		r, err := s.ReadAt(ctx, "b")
		if err != nil {
			t.Fatal(err)
		}
		part := make([]byte, 2)
		if _, err := r.ReadAt(part, 1); err != nil || string(part) != "ee" || r.Size() != 4 {
			t.Fatalf("got %q of %d, %v", part, r.Size(), err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Delete(ctx, "b"); err != nil {
				t.Fatal(err)
			}
		}
		_, gerr := s.Get(ctx, "b")
		_, rerr := s.ReadAt(ctx, "b")
		for _, err := range []error{gerr, rerr} {
			if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), s.URL("b")) {
				t.Fatalf("got %v, want ErrNotFound with the url", err)
			}
		}
	})
}

func TestConditionalPutHasOneWinner(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s Store) {
		for round := range 10 {
			key := fmt.Sprintf("race/%d/object", round)
			var winners atomic.Int32
			var winner atomic.Pointer[[]byte]
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					data := bytes.Repeat([]byte{byte('a' + i)}, 100_000)
					created, err := s.Put(t.Context(), key, data, PutOptions{IfAbsent: true})
					if err != nil {
						t.Error(err)
					}
					if created {
						winners.Add(1)
						winner.Store(&data)
					}
				})
			}
			wg.Wait()
			got, err := s.Get(t.Context(), key)
			if err != nil || winners.Load() != 1 || !bytes.Equal(got, *winner.Load()) {
				t.Fatalf("round %d: %d winners, %v", round, winners.Load(), err)
			}
		}
	})
}

func TestBadKeysAreRefused(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s Store) {
		for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", ".", "a/./b", strings.Repeat("k", 2000)} {
			if _, err := s.Put(t.Context(), key, nil, PutOptions{}); err == nil {
				t.Errorf("key %.20q was taken", key)
			}
			if _, err := s.Get(t.Context(), key); err == nil || errors.Is(err, ErrNotFound) {
				t.Errorf("key %.20q: got %v", key, err)
			}
		}
		if _, err := s.List(t.Context(), "../"); err == nil {
			t.Error("a prefix outside of the store was listed")
		}
	})
}

func TestFileStoreLeavesNoPartialFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := filepath.Join(dir, partialDir, "put-old")
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-2*partialAge)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, opts := range []PutOptions{{}, {IfAbsent: true}, {IfAbsent: true}} {
		if _, err := s.Put(t.Context(), "k/"+fmt.Sprint(opts.IfAbsent), []byte("x"), opts); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, partialDir))
	if err != nil || len(left) != 0 {
		t.Fatalf("left over: %v, %v", left, err)
	}
	if p, ok := s.LocalPath("k/true"); !ok || p != filepath.Join(dir, "k", "true") {
		t.Fatalf("got %s", p)
	}
}

func TestOpenErrorsNameTheURL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
	for _, url := range []string{
		"", "archive", "/dir", "file://host/dir", "file:dir", "s3:///prefix", "s3://bucket/a/../b", "ftp://a/b",
		"file://" + file + "/below", "s3://bucket/prefix", "file:///dir?x=1",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := Open(ctx, url)
		cancel()
		if err == nil || !strings.Contains(err.Error(), url) || strings.Contains(err.Error(), "very-secret") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want one line that names the url", url, err)
		}
		t.Log(err)
	}
	for url, ok := range map[string]bool{
		"file:///a": true, "s3://b": true, "s3://b/c": true, "": false, "s3://": false, "file://x/y": false, "x": false,
	} {
		if err := Validate(url); (err == nil) != ok {
			t.Errorf("validate %q: got %v", url, err)
		}
	}
}
