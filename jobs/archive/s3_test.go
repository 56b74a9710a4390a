package archive

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/objectstore"
)

// s3Variable names a bucket and prefix of a real S3 service, s3://bucket/prefix; endpoint and
// credentials come from the usual environment.
const s3Variable = "CLICKLEDGER_TEST_S3"

// TestArchivesToS3 does what the tests on a directory do, with faults, in a bucket.
func TestArchivesToS3(t *testing.T) {
	t.Parallel()
	base := os.Getenv(s3Variable)
	if base == "" {
		t.Skipf("%s is not set: no S3 service to test with", s3Variable)
	}
	r := newRig(t, 2)
	r.cfg.Archive = fmt.Sprintf("%s/archive-%d", base, time.Now().UnixNano())
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
