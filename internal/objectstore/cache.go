package objectstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
)

// DefaultCacheBytes bounds the cache where S3.CacheBytes does not.
const DefaultCacheBytes = 8 << 30

// cacheLow is the share of the bound down to which the cache is emptied when it is full.
const cacheLow = 0.9

// Copy writes the object to a file that is not there yet, whose folders are made. It is streamed, and
// fetched only if no copy of these bytes is in the cache: there a file is named by place, key and
// ETag. The copy outlives the cache's, so that a cache may be emptied under a run that reads.
func (s *s3Store) Copy(ctx context.Context, o Object, path string) error {
	err := s.copy(ctx, o, path)
	if err != nil {
		return fmt.Errorf("copy %s: %w", s.URL(o.Key), err)
	}
	return nil
}

func (s *s3Store) copy(ctx context.Context, o Object, path string) error {
	full, err := s.key(o.Key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if o.ETag == "" {
		info, err := s.client.StatObject(ctx, s.bucket, full, minio.StatObjectOptions{})
		if err != nil {
			return s3Error(err)
		}
		o.ETag, o.Size = info.ETag, info.Size
	}
	if s.cache == nil {
		return s.download(ctx, full, o, path)
	}
	cached := s.cache.path(s.client.EndpointURL().Host+"/"+s.bucket+"/"+full, o.ETag)
	for range 3 { // another process may empty the cache between two steps
		if info, err := os.Stat(cached); err != nil || info.Size() != o.Size {
			if err := s.download(ctx, full, o, cached); err != nil {
				return err
			}
			if err := s.cache.grown(o.Size); err != nil {
				return err
			}
		}
		if err = place(cached, path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// download streams these very bytes of the object into a file, which appears when it is whole.
func (s *s3Store) download(ctx context.Context, full string, o Object, path string) (err error) {
	opts := minio.GetObjectOptions{}
	if err := opts.SetMatchETag(o.ETag); err != nil {
		return err
	}
	r, err := s.client.GetObject(ctx, s.bucket, full, opts)
	if err != nil {
		return s3Error(err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return writeWhole(path, func(w io.Writer) error {
		n, err := io.Copy(w, r)
		if err == nil && n != o.Size {
			err = fmt.Errorf("%d bytes, want %d: %w", n, o.Size, io.ErrUnexpectedEOF)
		}
		return s3Error(err)
	})
}

// writeWhole writes a file under another name and then gives it its own.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".partial-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// place gives a cached file a second name, or copies it to another file system.
func place(cached, path string) error {
	now := time.Now()
	_ = os.Chtimes(cached, now, now) // what was used last goes last; losing that costs a fetch
	err := os.Link(cached, path)
	switch {
	case err == nil, errors.Is(err, fs.ErrExist):
		return nil
	case !errors.Is(err, syscall.EXDEV) && !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOTSUP):
		return err
	}
	src, err := os.Open(cached)
	if err != nil {
		return err
	}
	defer src.Close()
	return writeWhole(path, func(w io.Writer) error {
		_, err := io.Copy(w, src)
		return err
	})
}

// cache is a folder of copies, bounded in bytes. Several processes may share it.
type cache struct {
	dir string
	max int64

	mu    sync.Mutex
	bytes int64 // in the folder, as far as this process knows; -1 before the first look
}

func (c *cache) path(object, etag string) string {
	sum := sha256.Sum256([]byte(object))
	name := hex.EncodeToString(sum[:16])
	plain := strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, etag)
	return filepath.Join(c.dir, name[:2], name+"-"+plain)
}

// grown notes that a file was added, and removes those that were used longest ago once the cache is
// over its bound.
func (c *cache) grown(size int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes >= 0 {
		c.bytes += size
		if c.bytes <= c.max {
			return nil
		}
	}
	type file struct {
		path string
		size int64
		used time.Time
	}
	var files []file
	c.bytes = 0
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		if strings.HasPrefix(d.Name(), ".partial-") && time.Since(info.ModTime()) < partialAge {
			return nil // another process writes it
		}
		files = append(files, file{path, info.Size(), info.ModTime()})
		c.bytes += info.Size()
		return nil
	})
	if err != nil || c.bytes <= c.max {
		return err
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.path, b.path)) })
	for _, f := range files {
		if float64(c.bytes) <= cacheLow*float64(c.max) {
			break
		}
		if err := ignoreGone(os.Remove(f.path)); err != nil {
			return err
		}
		c.bytes -= f.size
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

var (
	cachesMu sync.Mutex
	caches   = map[string]*cache{}
)

// cacheOf returns the process's cache in the folder; nil where there is none.
func cacheOf(s S3) *cache {
	if s.CacheDir == "" {
		return nil
	}
	cachesMu.Lock()
	defer cachesMu.Unlock()
	c := caches[s.CacheDir]
	if c == nil {
		c = &cache{dir: s.CacheDir, bytes: -1}
		caches[s.CacheDir] = c
	}
	c.max = cmp.Or(s.CacheBytes, DefaultCacheBytes)
	return c
}
