package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/s3test"
)

// listingVariable is the number of objects of TestListingAtScale; without it there are fewer.
const listingVariable = "CLICKLEDGER_TEST_S3_OBJECTS"

// realS3 is a fresh place at a real service, reached as s says.
func realS3(t *testing.T, s S3) *s3Store {
	t.Helper()
	service := s3test.Start(t)
	if s.Endpoint == "" {
		s.Endpoint = service.Endpoint
	}
	s.Region, s.CredentialsFile = service.Region, service.CredentialsFile
	u, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	store, err := s.open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// counting is a proxy before the service that counts requests, and may break some.
type counting struct {
	gets, puts atomic.Int64
	fail       func(*http.Request) bool // answers 503
}

// store is a fresh place at a real service, which is reached through the proxy.
func (c *counting) store(t *testing.T, s S3) *s3Store {
	t.Helper()
	direct := realS3(t, s)
	endpoint := direct.client.EndpointURL()
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: endpoint.Scheme, Host: endpoint.Host})
		r.Out.Host = r.In.Host // which is signed
	}}
	s = direct.cfg
	s.Endpoint = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet:
			c.gets.Add(1)
		case http.MethodPut:
			c.puts.Add(1)
		}
		if c.fail != nil && c.fail(r) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	store, err := s.open(t.Context(), &url.URL{Scheme: "s3", Host: direct.bucket, Path: direct.prefix})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// serve answers on the loopback interface until the test ends, and returns the address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(b)
	return b
}

// TestLargeObjects: an object of several parts is put and read whole, and equal bytes are equal
// objects.
func TestLargeObjects(t *testing.T) {
	t.Parallel()
	s := realS3(t, S3{})
	data := random(1, 2*partBytes+12_345)
	for _, key := range []string{"a", "b"} {
		if created, err := s.Put(t.Context(), key, data, PutOptions{IfAbsent: true}); !created || err != nil {
			t.Fatal(created, err)
		}
	}
	got, err := s.Get(t.Context(), "a")
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	listed, err := s.List(t.Context(), "")
	if err != nil || len(listed) != 2 || listed[0].ETag != listed[1].ETag || !strings.HasSuffix(listed[0].ETag, "-3") {
		t.Errorf("listed %v, %v, want two objects of three parts with one ETag", listed, err)
	}
}

// TestLargeConditionalPutHasOneWinner: the condition holds for uploads in parts too, which the client
// library's own do not send.
func TestLargeConditionalPutHasOneWinner(t *testing.T) {
	t.Parallel()
	s := realS3(t, S3{})
	for round := range 3 {
		key := "race/" + strconv.Itoa(round)
		var wg sync.WaitGroup
		var winners atomic.Int64
		var won atomic.Uint64
		for i := range uint64(3) {
			wg.Go(func() {
				created, err := s.Put(t.Context(), key, random(i, partBytes+1000), PutOptions{IfAbsent: true})
				if err != nil {
					t.Error(err)
				}
				if created {
					winners.Add(1)
					won.Store(i)
				}
			})
		}
		wg.Wait()
		got, err := s.Get(t.Context(), key)
		if err != nil || winners.Load() != 1 || !bytes.Equal(got, random(won.Load(), partBytes+1000)) {
			t.Errorf("round %d: %d winners, %v", round, winners.Load(), err)
		}
	}
	for upload := range s.client.ListIncompleteUploads(t.Context(), s.bucket, s.prefix, true) {
		t.Errorf("left behind: %s, %v", upload.Key, upload.Err)
	}
}

// TestRetries: requests that the service refuses for a while are sent again.
func TestRetries(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	c := &counting{fail: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "retried") && n.Add(1)%3 != 0 }}
	s := c.store(t, S3{})
	data := random(2, partBytes+1)
	for key, want := range map[string][]byte{"retried/small": []byte("small"), "retried/large": data} {
		if created, err := s.Put(t.Context(), key, want, PutOptions{IfAbsent: true}); err != nil || !created {
			t.Fatal(created, err)
		}
		if got, err := s.Get(t.Context(), key); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes, %v", key, len(got), err)
		}
	}
	if n.Load() < 6 {
		t.Errorf("only %d requests", n.Load())
	}
}

// TestEncryption: the service is asked to encrypt what is put, in one part or several.
func TestEncryption(t *testing.T) {
	t.Parallel()
	var asked sync.Map
	endpoint := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut || r.Method == http.MethodPost {
			asked.Store(r.Method+" "+r.URL.RawQuery, r.Header.Get("X-Amz-Server-Side-Encryption"))
		}
		w.Header().Set("ETag", `"e"`)
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
			fmt.Fprint(w, "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>large</Key></CompleteMultipartUploadResult>")
		} else if r.Method == http.MethodPost {
			fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
		}
	}))
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Scheme: "s3", Host: "bucket"}
	s, err := S3{Endpoint: endpoint, Region: "r", CredentialsFile: keys, Encryption: EncryptSSES3}.open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	for key, size := range map[string]int{"small": 1, "large": partBytes + 1} {
		if _, err := s.Put(t.Context(), key, make([]byte, size), PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, request := range []string{"PUT ", "POST uploads="} {
		if got, _ := asked.Load(request); got != "AES256" {
			t.Errorf("%s asks for %q", request, got)
		}
	}
	if _, err := (S3{Endpoint: endpoint, Encryption: "rot13"}).open(t.Context(), u); err == nil {
		t.Error("an unknown encryption was taken")
	}
}

// TestCopyFetchesOnce: what is unchanged is fetched once, what is changed again, and the cache stays
// within its bound while copies that were handed out stay.
func TestCopyFetchesOnce(t *testing.T) {
	t.Parallel()
	c := &counting{}
	const size = 300_000
	s := c.store(t, S3{CacheDir: t.TempDir(), CacheBytes: 3 * size})
	out := t.TempDir()
	for i := range 8 {
		if _, err := s.Put(t.Context(), fmt.Sprintf("k/%d", i), random(uint64(i), size), PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	fetch := func(key string, seed uint64, want int64) {
		t.Helper()
		listed, err := s.List(t.Context(), key)
		if err != nil || len(listed) != 1 {
			t.Fatal(listed, err)
		}
		before := c.gets.Load()
		n++
		path := filepath.Join(out, strconv.Itoa(n), key)
		if err := s.Copy(t.Context(), listed[0], path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, random(seed, size)) {
			t.Fatalf("%s: %d bytes, %v", key, len(got), err)
		}
		if got := c.gets.Load() - before; got != want {
			t.Errorf("%s: %d requests, want %d", key, got, want)
		}
	}
	fetch("k/0", 0, 1)
	fetch("k/0", 0, 0)
	if _, err := s.Put(t.Context(), "k/0", random(9, size), PutOptions{}); err != nil {
		t.Fatal(err)
	}
	fetch("k/0", 9, 1)
	for i := range uint64(8) {
		if i > 0 {
			fetch(fmt.Sprintf("k/%d", i), i, 1)
		}
	}
	var bytesCached int64
	if err := filepath.WalkDir(s.cfg.CacheDir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, ierr := d.Info()
			bytesCached, err = bytesCached+info.Size(), ierr
		}
		return err
	}); err != nil || bytesCached == 0 || bytesCached > 3*size {
		t.Errorf("the cache holds %d bytes, %v, want no more than %d", bytesCached, err, 3*size)
	}
	first := filepath.Join(out, "1", "k/0")
	if got, err := os.ReadFile(first); err != nil || !bytes.Equal(got, random(0, size)) {
		t.Errorf("the first copy is gone: %v", err)
	}
	// What changed after it was listed is not passed off as what was listed.
	stale := Object{Key: "k/1", Size: size, ETag: "0123456789abcdef0123456789abcdef"}
	if err := s.Copy(t.Context(), stale, filepath.Join(out, "stale")); err == nil {
		t.Error("another version than the listed one was copied")
	}
}

// TestListingAtScale: a listing of many objects is complete, in order, and takes little memory.
func TestListingAtScale(t *testing.T) {
	count := 3_000 // three pages
	if text := os.Getenv(listingVariable); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	s := realS3(t, S3{})
	var wg sync.WaitGroup
	next := make(chan int)
	for range 16 {
		wg.Go(func() {
			for i := range next {
				key := fmt.Sprintf("clicks/dt=2026-11-%02d/hr=%02d/p=%03d/%020d-%020d.parquet", 1+i/24%28, i%24, i%64, i, i)
				if _, err := s.Put(t.Context(), key, []byte("x"), PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	began := time.Now()
	for i := range count {
		next <- i
	}
	close(next)
	wg.Wait()
	put := time.Since(began)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began = time.Now()
	listed, err := s.List(t.Context(), "clicks/")
	took := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if err != nil || len(listed) != count || !slices.IsSortedFunc(listed, func(a, b Object) int { return strings.Compare(a.Key, b.Key) }) {
		t.Fatalf("%d objects, %v", len(listed), err)
	}
	t.Logf("%d objects put in %s, listed in %s, %d KiB kept", count, put.Round(time.Millisecond), took.Round(time.Millisecond), (after.HeapAlloc-before.HeapAlloc)>>10)
	runtime.KeepAlive(listed)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.List(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled listing: %v", err)
	}
}
