// Package s3test gives tests a real S3 service: the gateway of `clickledger dev up`, in a temporary
// folder and on a free port, or a service of the user's own.
package s3test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/internal/servicestest"
)

const (
	// Place names a bucket and prefix of a service of one's own, s3://bucket/prefix, with endpoint and
	// keys in the standard environment. It is taken where it is set.
	Place = "CLICKLEDGER_TEST_S3"
)

const startLimit = 30 * time.Second

// Service is a running service.
type Service struct {
	// URL is s3://bucket/prefix, of a prefix that no other test uses.
	URL string
	// Endpoint, Region and CredentialsFile say how it is reached; empty is the standard environment.
	Endpoint, Region, CredentialsFile string

	tb      testing.TB
	address string
	dir     string
	cmd     *exec.Cmd
}

// Start returns a service, which ends with the test. The test is skipped where there is none.
func Start(tb testing.TB) *Service {
	tb.Helper()
	prefix := fmt.Sprintf("%s-%d", tb.Name(), time.Now().UnixNano())
	if place := os.Getenv(Place); place != "" {
		return &Service{URL: place + "/" + prefix, tb: tb}
	}
	if os.Getenv(servicestest.Variable) != "1" {
		tb.Skipf("neither %s is 1 nor %s is set: no S3 service to test with", servicestest.Variable, Place)
	}
	servicestest.Need(tb, "s3")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	s := &Service{tb: tb, address: address, dir: tb.TempDir(), Endpoint: "http://" + address, Region: devservices.S3Region}
	s.CredentialsFile = filepath.Join(s.dir, "keys")
	if err := os.WriteFile(s.CredentialsFile, []byte(devservices.Config{}.RenderCredentials()), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.Run()
	tb.Cleanup(s.Kill)
	client, err := s.client()
	if err == nil {
		err = client.MakeBucket(tb.Context(), devservices.S3Bucket, minio.MakeBucketOptions{Region: s.Region})
	}
	if err != nil {
		tb.Fatal(err)
	}
	s.URL = "s3://" + devservices.S3Bucket + "/" + prefix
	return s
}

// IsOurs says that the test may kill the service.
func (s *Service) IsOurs() bool { return s.address != "" }

func (s *Service) client() (*minio.Client, error) {
	return minio.New(s.address, &minio.Options{Creds: credentials.NewFileAWSCredentials(s.CredentialsFile, ""), Region: s.Region})
}

// Run starts the service again after Kill, with what it had.
func (s *Service) Run() {
	s.tb.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		s.tb.Fatal(err)
	}
	// The test's context ends before its clean-ups; Kill ends the service.
	ctx := context.WithoutCancel(s.tb.Context())
	args, environment, err := devservices.S3Command(ctx, filepath.Join(cache, "clickledger"), s.dir, s.address)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	s.cmd.Env = environment
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	for deadline := time.Now().Add(startLimit); ; {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			s.Kill()
			s.tb.Fatalf("S3 at %s does not answer: %v", s.address, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Kill ends the service by SIGKILL, if it runs.
func (s *Service) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may have ended
		_ = s.cmd.Wait()         // says that it was killed
		s.cmd = nil
	}
}
