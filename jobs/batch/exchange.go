package batch

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/clickledger/clickledger/internal/objectstore"
)

// objectBytes is the size from which on an object of the exchange is written.
const objectBytes = 8 << 20

// exchange names the place where a run on Flink and its workers hand blocks to each other. It is
// part of the job, and holds no secret. Objects are written whole and never changed.
type exchange struct {
	URL    string         // of the object store
	Prefix string         // of the run in it, with a slash at its end
	S3     objectstore.S3 // how a store of that kind is reached
}

func (x exchange) open(ctx context.Context) (objectstore.Store, error) {
	if objectstore.CurrentS3() == (objectstore.S3{}) {
		objectstore.UseS3(x.S3) // this is a worker of another process; the submitter's own are set
	}
	return objectstore.Open(ctx, x.URL)
}

// input is the name of the n-th object of a folder that the submitter writes.
func (x exchange) input(folder string, n int64) string {
	return fmt.Sprintf("%s%s/%06d", x.Prefix, folder, n)
}

// records writes records, each with a key, into objects of bounded size.
type records struct {
	store objectstore.Store
	name  func(data []byte) string // of the next object
	buf   []byte
}

// inputs writes the objects that workers read.
func (x exchange) inputs(store objectstore.Store, folder string) (w *records, count *int64) {
	count = new(int64)
	return &records{store: store, name: func([]byte) string {
		*count++
		return x.input(folder, *count-1)
	}}, count
}

// outputs writes the objects that the submitter collects. They are named by their content: what a
// bundle wrote that runs again is there twice, or once if it comes out the same.
func (x exchange) outputs(store objectstore.Store, folder string) *records {
	return &records{store: store, name: func(data []byte) string {
		sum := sha256.Sum256(data)
		return x.Prefix + folder + "/" + hex.EncodeToString(sum[:])
	}}
}

func (r *records) add(ctx context.Context, key int64, data []byte) error {
	r.buf = binary.AppendUvarint(binary.AppendVarint(r.buf, key), uint64(len(data)))
	r.buf = append(r.buf, data...)
	if len(r.buf) < objectBytes {
		return nil
	}
	return r.flush(ctx)
}

func (r *records) flush(ctx context.Context) error {
	if len(r.buf) == 0 {
		return nil
	}
	_, err := r.store.Put(ctx, r.name(r.buf), r.buf, objectstore.PutOptions{IfAbsent: true})
	r.buf = r.buf[:0]
	return err
}

func (r *records) drop() { r.buf = r.buf[:0] }

// readRecords calls f with every record of an object, which f may keep.
func readRecords(ctx context.Context, store objectstore.Store, name string, f func(key int64, data []byte) error) error {
	rest, err := store.Get(ctx, name)
	if err != nil {
		return err
	}
	for len(rest) > 0 {
		key, k := binary.Varint(rest)
		size, n := binary.Uvarint(rest[max(k, 0):])
		if k <= 0 || n <= 0 || size > uint64(len(rest)-k-n) {
			return fmt.Errorf("read %s: %w", store.URL(name), io.ErrUnexpectedEOF)
		}
		rest = rest[k+n:]
		if err := f(key, rest[:size:size]); err != nil {
			return err
		}
		rest = rest[size:]
	}
	return nil
}

// collect calls f with every record of a folder.
func (x exchange) collect(ctx context.Context, store objectstore.Store, folder string, f func(data []byte) error) error {
	objects, err := store.List(ctx, x.Prefix+folder+"/")
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := readRecords(ctx, store, o.Key, func(_ int64, data []byte) error { return f(data) }); err != nil {
			return err
		}
	}
	return nil
}

// clear removes all that the run has put there.
func (x exchange) clear(ctx context.Context, store objectstore.Store) error {
	objects, err := store.List(ctx, x.Prefix)
	if err != nil {
		return err
	}
	var problems []error
	for _, o := range objects {
		problems = append(problems, store.Delete(ctx, o.Key))
	}
	return errors.Join(problems...)
}
