package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

const (
	// partialDir holds files that are being written; no listing shows it.
	partialDir = ".partial"
	// partialAge is how old a left-over of a killed process must be to be removed.
	partialAge = 24 * time.Hour
)

// fileStore keeps objects as files below a directory.
type fileStore struct{ root string }

func openFile(u *url.URL) (*fileStore, error) {
	if err := Validate(u.String()); err != nil {
		return nil, errors.New("not of the form file:///dir")
	}
	s := &fileStore{root: filepath.Clean(filepath.FromSlash(u.Path))}
	if err := os.MkdirAll(filepath.Join(s.root, partialDir), 0o755); err != nil {
		return nil, err
	}
	return s, s.sweep()
}

// sweep removes what processes that were killed left half-written, long ago.
func (s *fileStore) sweep() error {
	entries, err := os.ReadDir(filepath.Join(s.root, partialDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > partialAge {
			_ = os.Remove(filepath.Join(s.root, partialDir, e.Name())) // another process may have
		}
	}
	return nil
}

func (s *fileStore) path(key string) string { return filepath.Join(s.root, filepath.FromSlash(key)) }

// Put writes a file of another name, makes it durable, and then gives it the key's name: by a link,
// which fails where the name is taken, or by a rename, which does not.
func (s *fileStore) Put(ctx context.Context, key string, data []byte, opts PutOptions) (bool, error) {
	created, err := s.put(ctx, key, data, opts)
	if err != nil {
		return false, fmt.Errorf("put %s: %w", s.URL(key), err)
	}
	return created, nil
}

func (s *fileStore) put(ctx context.Context, key string, data []byte, opts PutOptions) (created bool, err error) {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return false, err
	}
	target := s.path(key)
	if err := s.mkdirSync(filepath.Dir(target)); err != nil {
		return false, err
	}
	tmp, err := s.writeTemp(data)
	if err != nil {
		return false, err
	}
	defer func() {
		if rerr := os.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) && err == nil {
			err = rerr
		}
	}()
	if opts.IfAbsent {
		err = os.Link(tmp, target)
		if errors.Is(err, fs.ErrExist) {
			return false, nil
		}
	} else {
		err = os.Rename(tmp, target)
	}
	if err != nil {
		return false, err
	}
	return true, syncDir(filepath.Dir(target))
}

func (s *fileStore) writeTemp(data []byte) (name string, err error) {
	f, err := os.CreateTemp(filepath.Join(s.root, partialDir), "put-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			_ = os.Remove(f.Name()) // the first error says what is wrong
		}
	}()
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if err := f.Chmod(0o644); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

// mkdirSync creates a directory and its parents up to the root, so that they survive a crash.
func (s *fileStore) mkdirSync(dir string) error {
	if _, err := os.Stat(dir); err == nil || dir == s.root {
		return err
	}
	if err := s.mkdirSync(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *fileStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(s.path(key))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", s.URL(key), notFound(err))
	}
	return b, nil
}

func (s *fileStore) ReadAt(ctx context.Context, key string) (ReaderAt, error) {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return nil, err
	}
	r, err := OpenFile(s.path(key))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", s.URL(key), notFound(err))
	}
	return r, nil
}

// OpenFile opens a file of this machine, as a copy of an object is one.
func OpenFile(path string) (ReaderAt, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return fileReader{f, info.Size()}, nil
}

// Copy streams the file.
func (s *fileStore) Copy(ctx context.Context, o Object, path string) (err error) {
	src, err := s.ReadAt(ctx, o.Key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	err = writeWhole(path, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(src, 0, src.Size()))
		return err
	})
	if err != nil {
		return fmt.Errorf("copy %s: %w", s.URL(o.Key), err)
	}
	return nil
}

type fileReader struct {
	*os.File
	size int64
}

func (r fileReader) Size() int64 { return r.size }

func (s *fileStore) List(ctx context.Context, prefix string) ([]Object, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	var objects []Object
	// Walk no more than the directory that the prefix lies in.
	start := s.path(prefix[:strings.LastIndexByte(prefix, '/')+1])
	err := filepath.WalkDir(start, func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile, or nothing there yet
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && p == filepath.Join(s.root, partialDir):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		rel, err := filepath.Rel(s.root, p)
		if err != nil {
			return err
		}
		key := filepath.ToSlash(rel)
		if !strings.HasPrefix(key, prefix) {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			objects = append(objects, Object{Key: key, Size: info.Size()})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.URL(prefix), err)
	}
	sort.Slice(objects, func(i, j int) bool { return objects[i].Key < objects[j].Key })
	return objects, nil
}

func (s *fileStore) Delete(ctx context.Context, key string) error {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return err
	}
	if err := os.Remove(s.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", s.URL(key), err)
	}
	return nil
}

func (s *fileStore) URL(key string) string { return "file://" + filepath.ToSlash(s.path(key)) }

func (s *fileStore) LocalPath(key string) (string, bool) { return s.path(key), true }

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return err
}
