package devservices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/clickledger/clickledger/internal/fetch"
)

const (
	s3Module  = "github.com/versity/versitygw"
	s3Version = "v1.8.0"
	// s3Checksum is the module's sum, as go.sum has it. The sums of all that it is built of stand in
	// its own go.sum, which this one covers.
	s3Checksum = "h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc="
)

// s3 is a gateway that keeps objects as files.
type s3 struct {
	cfg    Config
	binary string
}

func newS3(cfg Config) *program {
	return &program{
		cfg: cfg, name: "s3", version: s3Version[1:], service: &s3{cfg: cfg},
		address: "http://" + cfg.address(portS3), ports: []int{cfg.port(portS3)},
	}
}

func (s *s3) fetch(ctx context.Context, note func(string)) error {
	dir, err := fetch.Cached(ctx, s.cfg.CacheDir, "versitygw-"+s3Version, func(dir string) error {
		note("fetching and building " + s3Version[1:] + " with go, which takes some minutes")
		source, err := fetchModule(ctx, dir, s3Module, s3Version, s3Checksum)
		if err != nil {
			return err
		}
		// Built where the module lies, its own go.sum holds for all that it needs.
		_, err = fetch.Run(ctx, source, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off"},
			"go", "build", "-trimpath", "-o", filepath.Join(dir, "versitygw"), "./cmd/versitygw")
		return err
	})
	s.binary = filepath.Join(dir, "versitygw")
	return err
}

// fetchModule has go fetch a module, and returns where it lies once its sum is the pinned one.
func fetchModule(ctx context.Context, dir, module, version, checksum string) (string, error) {
	out, err := fetch.Run(ctx, dir, []string{"GOFLAGS=", "GOWORK=off"}, "go", "mod", "download", "-json", module+"@"+version)
	if err != nil {
		return "", err
	}
	var fetched struct{ Dir, Sum string }
	if err := json.Unmarshal([]byte(out), &fetched); err != nil {
		return "", fmt.Errorf("go mod download: %w", err)
	}
	if fetched.Sum != checksum {
		return "", fmt.Errorf("%s has %s, want %s: %w", module, fetched.Sum, checksum, ErrChecksum)
	}
	return fetched.Dir, nil
}

func (s *s3) command(context.Context) (command, error) {
	dir := s.cfg.data("s3")
	buckets, sidecar := filepath.Join(dir, "buckets"), filepath.Join(dir, "metadata")
	if err := os.MkdirAll(buckets, 0o755); err != nil {
		return command{}, err
	}
	args := []string{s.binary, "--port", s.cfg.address(portS3), "--region", S3Region, "--quiet",
		"--max-connections", "4096", "--max-requests", "2048", "posix"}
	// Metadata of objects is kept beside the files where the file system has no attributes for it;
	// what was begun so must go on so.
	_, err := os.Stat(sidecar)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return command{}, err
	}
	if err == nil || !hasUserAttributes(buckets) {
		if err := os.MkdirAll(sidecar, 0o755); err != nil {
			return command{}, err
		}
		args = append(args, "--sidecar", sidecar)
	}
	return command{
		args:        append(args, buckets),
		environment: plainEnvironment("ROOT_ACCESS_KEY="+S3AccessKey, "ROOT_SECRET_KEY="+S3SecretKey),
	}, nil
}

func (s *s3) client() (*minio.Client, error) {
	return minio.New(s.cfg.address(portS3), &minio.Options{
		Creds: credentials.NewStaticV4(S3AccessKey, S3SecretKey, ""), Region: S3Region, MaxRetries: 1,
	})
}

// probe lists the buckets.
func (s *s3) probe(ctx context.Context) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	_, err = client.ListBuckets(ctx)
	return err
}

// furnish makes the bucket.
func (s *s3) furnish(ctx context.Context) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	exists, err := client.BucketExists(ctx, S3Bucket)
	if err != nil || exists {
		return err
	}
	return client.MakeBucket(ctx, S3Bucket, minio.MakeBucketOptions{Region: S3Region})
}

// S3Command fetches the gateway if need be, and returns the command line and the environment of one
// on an address, over a directory: for tests that kill it. It has the credentials of the development
// services, and no bucket.
func S3Command(ctx context.Context, cacheDir, dir, address string) (args, environment []string, err error) {
	s := &s3{cfg: Config{CacheDir: cacheDir, Dir: dir}}
	if err := s.fetch(ctx, func(string) {}); err != nil {
		return nil, nil, err
	}
	c, err := s.command(ctx)
	if err != nil {
		return nil, nil, err
	}
	c.args[slices.Index(c.args, "--port")+1] = address
	return c.args, c.environment, nil
}
