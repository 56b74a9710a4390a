package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"
)

const (
	awsEndpoint = "https://s3.amazonaws.com"
	// s3Retries bounds the tries of one request; the client waits longer between each.
	s3Retries = 5
	// s3ConnectTimeout bounds the first look at the bucket.
	s3ConnectTimeout = 10 * time.Second
	conflictDelay    = 200 * time.Millisecond
)

// s3Store keeps objects in a bucket, below a prefix.
type s3Store struct {
	client *minio.Client
	cfg    S3
	cache  *cache             // nil keeps no copies
	sse    encrypt.ServerSide // nil asks for none
	bucket string
	prefix string // "" or ends with a slash
}

func (s S3) open(ctx context.Context, u *url.URL) (*s3Store, error) {
	if u.Host == "" {
		return nil, errors.New("not of the form s3://bucket/prefix")
	}
	client, host, err := s.client()
	if err != nil {
		return nil, err
	}
	sse, err := s.encryption()
	if err != nil {
		return nil, err
	}
	prefix := strings.Trim(u.Path, "/")
	if prefix != "" {
		if err := checkKey(prefix); err != nil {
			return nil, err
		}
		prefix += "/"
	}
	store := &s3Store{client: client, cfg: s, cache: cacheOf(s), sse: sse, bucket: u.Host, prefix: prefix}
	ctx, cancel := context.WithTimeout(ctx, s3ConnectTimeout)
	defer cancel()
	ok, err := client.BucketExists(ctx, store.bucket)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", host, err)
	}
	if !ok {
		return nil, fmt.Errorf("endpoint %s: no such bucket", host)
	}
	return store, nil
}

func (s *s3Store) key(key string) (string, error) { return s.prefix + key, checkKey(s.prefix + key) }

// Put sends a small object in one request and a large one in parts, with "if absent" in the request
// that makes it appear.
func (s *s3Store) Put(ctx context.Context, key string, data []byte, opts PutOptions) (bool, error) {
	full, err := s.key(key)
	if err != nil {
		return false, err
	}
	po := minio.PutObjectOptions{DisableMultipart: true, ContentType: "application/octet-stream", ServerSideEncryption: s.sse}
	if opts.IfAbsent {
		po.SetMatchETagExcept("*")
	}
	for try := 1; ; try++ {
		if len(data) > partBytes {
			err = s.putParts(ctx, full, data, po)
		} else {
			_, err = s.client.PutObject(ctx, s.bucket, full, bytes.NewReader(data), int64(len(data)), po)
		}
		if err == nil {
			return true, nil
		}
		code := minio.ToErrorResponse(err).StatusCode
		// A 412 is also the answer to our own second try, where the first one was stored and its
		// answer lost. The object is there either way; created then says "not by us" although it was.
		if opts.IfAbsent && code == http.StatusPreconditionFailed {
			return false, nil
		}
		// A 409 says that another conditional put of the key is under way: see who wins.
		if !opts.IfAbsent || code != http.StatusConflict || try == s3Retries {
			return false, fmt.Errorf("put %s: %w", s.URL(key), err)
		}
		select {
		case <-time.After(time.Duration(try) * conflictDelay):
		case <-ctx.Done():
			return false, fmt.Errorf("put %s: %w", s.URL(key), ctx.Err())
		}
	}
}

func (s *s3Store) Get(ctx context.Context, key string) ([]byte, error) {
	r, err := s.ReadAt(ctx, key)
	if err != nil {
		return nil, err
	}
	b := make([]byte, r.Size())
	_, err = io.ReadFull(io.NewSectionReader(r, 0, r.Size()), b)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("get %s: %w", s.URL(key), err)
	}
	return b, nil
}

func (s *s3Store) ReadAt(ctx context.Context, key string) (ReaderAt, error) {
	full, err := s.key(key)
	if err != nil {
		return nil, err
	}
	o, err := s.client.GetObject(ctx, s.bucket, full, minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", s.URL(key), err)
	}
	info, err := o.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", s.URL(key), s3Error(err)), o.Close())
	}
	return s3Reader{o, info.Size}, nil
}

// s3Error is the error of a request, ErrNotFound where that is what it says.
func s3Error(err error) error {
	if res := minio.ToErrorResponse(err); err != nil && (res.StatusCode == http.StatusNotFound || res.Code == minio.NoSuchKey) {
		return ErrNotFound
	}
	return err
}

type s3Reader struct {
	*minio.Object
	size int64
}

func (r s3Reader) Size() int64 { return r.size }

func (s *s3Store) List(ctx context.Context, prefix string) ([]Object, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing's goroutine on an early return
	var objects []Object
	for info := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{
		Prefix: s.prefix + prefix, Recursive: true,
	}) {
		if info.Err != nil {
			return nil, fmt.Errorf("list %s: %w", s.URL(prefix), info.Err)
		}
		objects = append(objects, Object{Key: strings.TrimPrefix(info.Key, s.prefix), Size: info.Size, ETag: info.ETag})
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list %s: %w", s.URL(prefix), err)
	}
	sort.Slice(objects, func(i, j int) bool { return objects[i].Key < objects[j].Key })
	return objects, nil
}

func (s *s3Store) Delete(ctx context.Context, key string) error {
	full, err := s.key(key)
	if err != nil {
		return err
	}
	if err := s.client.RemoveObject(ctx, s.bucket, full, minio.RemoveObjectOptions{}); err != nil {
		return fmt.Errorf("delete %s: %w", s.URL(key), err)
	}
	return nil
}

func (s *s3Store) URL(key string) string { return "s3://" + s.bucket + "/" + s.prefix + key }

func (s *s3Store) LocalPath(string) (string, bool) { return "", false }
