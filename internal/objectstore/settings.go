package objectstore

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"
)

// S3 says how s3:// places are reached. The URL of a bucket has no place for any of this. The zero
// value takes everything from the standard environment.
type S3 struct {
	// Endpoint is http://host:port or https://host. Default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or
	// Amazon's.
	Endpoint string
	// Region defaults to AWS_REGION, AWS_DEFAULT_REGION, or what the service says.
	Region string
	// Addressing is AddressPath, AddressHost or AddressAuto, the default.
	Addressing string
	// CredentialsFile is a shared credentials file, whose default profile is taken and nothing else.
	// Default: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, the user's shared
	// credentials file, or the machine's role.
	CredentialsFile string
	// Encryption is EncryptSSES3, or EncryptNone, the default.
	Encryption string
	// CacheDir holds copies of objects for readers that need files. Default: none is kept.
	CacheDir string
	// CacheBytes bounds CacheDir. Default: DefaultCacheBytes.
	CacheBytes int64
	// HTTPFSExtension is the file of DuckDB's extension httpfs, of the very version of the engine, with
	// which it reads objects itself. Default: they are copied first.
	HTTPFSExtension string
}

// Where the bucket stands in a request: in its path, or in its host. Auto is path for every endpoint
// but Amazon's.
const (
	AddressAuto = "auto"
	AddressPath = "path"
	AddressHost = "host"
)

// What the service is asked to encrypt new objects with: nothing, or keys of its own.
const (
	EncryptNone  = "none"
	EncryptSSES3 = "sse-s3"
)

var settings atomic.Pointer[S3]

// UseS3 sets how every Open that comes later reaches s3:// places. There is one S3 service a process,
// as there is one environment that it is named by.
func UseS3(s S3) { settings.Store(&s) }

// CurrentS3 returns what UseS3 has set.
func CurrentS3() S3 {
	if s := settings.Load(); s != nil {
		return *s
	}
	return S3{}
}

// endpoint is the service's address; isAmazon says that nobody has named another.
func (s S3) endpoint() (u *url.URL, isAmazon bool, err error) {
	raw := cmp.Or(s.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), awsEndpoint)
	u, err = url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, false, errors.New("the endpoint (s3.endpoint, AWS_ENDPOINT_URL) is not of the form http://host:port")
	}
	return u, raw == awsEndpoint, nil
}

func (s S3) region() string {
	return cmp.Or(s.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
}

func (s S3) credentials() (*credentials.Credentials, error) {
	if s.CredentialsFile == "" {
		return credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{},
			&credentials.IAM{Client: &http.Client{Timeout: s3ConnectTimeout}},
		}), nil
	}
	creds := credentials.NewFileAWSCredentials(s.CredentialsFile, "")
	value, err := creds.GetWithContext(&credentials.CredContext{})
	if err != nil || value.AccessKeyID == "" || value.SecretAccessKey == "" {
		return nil, fmt.Errorf("credentials file %s: no aws_access_key_id and aws_secret_access_key in its profile default", s.CredentialsFile)
	}
	return creds, nil
}

func (s S3) lookup(isAmazon bool) (minio.BucketLookupType, error) {
	switch s.Addressing {
	case AddressPath:
		return minio.BucketLookupPath, nil
	case AddressHost:
		return minio.BucketLookupDNS, nil
	case "", AddressAuto:
		if isAmazon {
			return minio.BucketLookupAuto, nil
		}
		return minio.BucketLookupPath, nil
	}
	return 0, fmt.Errorf("addressing %q: expected %s, %s or %s", s.Addressing, AddressAuto, AddressPath, AddressHost)
}

// encryption is what is asked of the service; nil is nothing.
func (s S3) encryption() (sse encrypt.ServerSide, err error) {
	switch strings.ToLower(s.Encryption) {
	case "", EncryptNone:
		return sse, nil
	case EncryptSSES3:
		return encrypt.NewSSE(), nil
	}
	return nil, fmt.Errorf("encryption %q: expected %s or %s", s.Encryption, EncryptNone, EncryptSSES3)
}

// client returns a client of the service, and its host for messages.
func (s S3) client() (*minio.Client, string, error) {
	endpoint, isAmazon, err := s.endpoint()
	if err != nil {
		return nil, "", err
	}
	lookup, err := s.lookup(isAmazon)
	if err != nil {
		return nil, "", err
	}
	creds, err := s.credentials()
	if err != nil {
		return nil, "", err
	}
	client, err := minio.New(endpoint.Host, &minio.Options{Creds: creds, Secure: endpoint.Scheme == "https",
		BucketLookup: lookup, MaxRetries: s3Retries, Region: s.region()})
	return client, endpoint.Host, err
}
