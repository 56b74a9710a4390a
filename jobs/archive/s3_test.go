package archive

import (
	"errors"
	"testing"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/s3test"
)

// TestArchivesToS3 does what the tests on a directory do, with faults, in a bucket.
func TestArchivesToS3(t *testing.T) {
	t.Parallel()
	service := s3test.Start(t)
	objectstore.UseS3(objectstore.S3{Endpoint: service.Endpoint, Region: service.Region, CredentialsFile: service.CredentialsFile})
	r := newRig(t, 2)
	r.cfg.Archive = service.URL
	var err error
	if r.store, err = objectstore.Open(r.ctx, r.cfg.Archive); err != nil {
		t.Fatal(err)
	}
	r.produce(clicks(2, 0, 100, startMicros, 6_000_000))
	r.cfg.MaxRecords = 20
	for runs := 0; ; runs++ {
		deps := r.deps()
		deps.Store = &failing{Store: r.store, left: 3 + runs%7, after: runs%2 == 0}
		_, err := Run(r.ctx, r.cfg, deps)
		if err == nil {
			break
		}
		if !errors.Is(err, errInjected) || runs > 200 {
			t.Fatal(err)
		}
	}
	r.verify()
	r.same(2)
}
