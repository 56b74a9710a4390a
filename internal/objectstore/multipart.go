package objectstore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

const (
	// partBytes is the size of a part, and the largest object that is put in one request. The size is
	// fixed, so that equal objects have equal parts and equal ETags.
	partBytes = 16 << 20
	// partsAtOnce bounds the parts of one object that are under way.
	partsAtOnce = 3
	// abortTimeout bounds the removal of the parts of an upload that failed.
	abortTimeout = 10 * time.Second
)

// putParts puts a large object part by part. The object appears when the last request is answered,
// and that one carries the condition: the client's own multipart upload drops it, and would replace
// an object that another writer has put meanwhile.
func (s *s3Store) putParts(ctx context.Context, key string, data []byte, po minio.PutObjectOptions) (err error) {
	core := minio.Core{Client: s.client}
	id, err := core.NewMultipartUpload(ctx, s.bucket, key, minio.PutObjectOptions{
		ContentType: po.ContentType, ServerSideEncryption: po.ServerSideEncryption,
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
			defer cancel()
			abort := core.AbortMultipartUpload(ctx, s.bucket, key, id)
			if code := minio.ToErrorResponse(abort).Code; abort != nil && code != minio.NoSuchUpload {
				err = errors.Join(err, abort)
			}
		}
	}()
	parts := make([]minio.CompletePart, 0, 1+len(data)/partBytes)
	for range slices.Chunk(data, partBytes) {
		parts = append(parts, minio.CompletePart{PartNumber: len(parts) + 1})
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(partsAtOnce)
	for i := range parts {
		g.Go(func() error {
			part := data[i*partBytes : min((i+1)*partBytes, len(data))]
			put, err := core.PutObjectPart(gctx, s.bucket, key, id, i+1, bytes.NewReader(part), int64(len(part)), minio.PutObjectPartOptions{})
			parts[i].ETag = put.ETag
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err = core.CompleteMultipartUpload(ctx, s.bucket, key, id, parts, po)
	return err
}
