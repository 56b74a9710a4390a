// Package objectstore keeps objects under a URL: file:///dir or s3://bucket/prefix.
//
// Guarantees of every store: an object appears whole or not at all, and is on disk (or at the S3
// service) when Put returns; of several Puts of one key with IfAbsent exactly one creates it; List
// sees every object whose Put has returned. Keys are slash-separated, without a leading slash and
// without "." or ".." or empty parts.
package objectstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// ErrNotFound says that there is no object of that key.
var ErrNotFound = errors.New("no such object")

// KeyBytesMax is the longest key, as S3 has it, prefix included.
const KeyBytesMax = 1024

// Object is one entry of a listing.
type Object struct {
	Key  string
	Size int64 // bytes
	// ETag changes with the object's bytes; empty where the store has none.
	ETag string
}

// PutOptions say how an object is put.
type PutOptions struct {
	// IfAbsent leaves an object that is there as it is.
	IfAbsent bool
}

// Store is a place for objects. It is safe for use by several goroutines and processes.
type Store interface {
	// Put stores the object; created is false where opts.IfAbsent is set and it was there already.
	Put(ctx context.Context, key string, data []byte, opts PutOptions) (created bool, err error)
	// Get returns the whole object; ErrNotFound where there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// ReadAt opens the object for random reads; ErrNotFound where there is none.
	ReadAt(ctx context.Context, key string) (ReaderAt, error)
	// List returns the objects whose key has the prefix, sorted by key.
	List(ctx context.Context, prefix string) ([]Object, error)
	// Copy writes the object, as it was listed, to a file that is not there yet. An Object without an
	// ETag stands for what is there now.
	Copy(ctx context.Context, o Object, path string) error
	// Delete removes the object; it is no error if there is none.
	Delete(ctx context.Context, key string) error
	// URL is the address of a key, for DuckDB, for logs and for people.
	URL(key string) string
	// LocalPath is the file of a key; false where the store is not in the file system.
	LocalPath(key string) (string, bool)
}

// ReaderAt reads parts of one object.
type ReaderAt interface {
	ReadAt(p []byte, off int64) (int, error)
	// Size is the object's size in bytes.
	Size() int64
	Close() error
}

// Open returns the store at the URL. A directory is created if need be; a bucket is not. How S3 is
// reached is what UseS3 has set, else the standard environment. Errors name the URL.
func Open(ctx context.Context, rawURL string) (Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("object store %q: not a URL", rawURL)
	}
	var s Store
	switch {
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		err = errors.New("only a scheme, a host and a path are allowed")
	case u.Scheme == "file":
		s, err = openFile(u)
	case u.Scheme == "s3":
		s, err = CurrentS3().open(ctx, u)
	default:
		err = errors.New("not of the form file:///dir or s3://bucket/prefix")
	}
	if err != nil {
		return nil, fmt.Errorf("object store %q: %w", u.Redacted(), err)
	}
	return s, nil
}

// Validate reports whether Open could make sense of the URL, without touching anything.
func Validate(rawURL string) error {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a URL", rawURL)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q: only a scheme, a host and a path are allowed", u.Redacted())
	case u.Scheme == "file" && (u.Host != "" && u.Host != "localhost" || !path.IsAbs(u.Path)):
		return fmt.Errorf("%q: not of the form file:///dir", rawURL)
	case u.Scheme == "s3" && u.Host == "":
		return fmt.Errorf("%q: not of the form s3://bucket/prefix", rawURL)
	case u.Scheme != "file" && u.Scheme != "s3":
		return fmt.Errorf("%q: not of the form file:///dir or s3://bucket/prefix", rawURL)
	}
	return nil
}

// checkKey refuses keys that mean another place, or nothing.
func checkKey(key string) error {
	if key == "" || len(key) > KeyBytesMax || path.Clean("/"+key) != "/"+key || strings.Contains(key, "\x00") {
		return fmt.Errorf("bad object key %q", key)
	}
	return nil
}

// checkPrefix is checkKey for a prefix, which may be empty or end with a slash.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return checkKey(strings.TrimSuffix(prefix, "/"))
}
