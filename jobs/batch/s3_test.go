package batch_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/s3test"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas/policy"
)

// httpfsVariable names the file of DuckDB's extension, which the tests do not fetch.
const httpfsVariable = "CLICKLEDGER_TEST_HTTPFS"

// upload copies a folder into a place of S3.
func upload(t *testing.T, dir string, store objectstore.Store) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		key, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		_, err = store.Put(t.Context(), filepath.ToSlash(key), data, objectstore.PutOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBatchReadsS3: out of a bucket come the bytes that come out of a folder, by copies and by httpfs;
// of days that do not matter nothing but footers is read.
func TestBatchReadsS3(t *testing.T) {
	service := s3test.Start(t)
	p := policy.Default()
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	dir := writeArchive(t, records(t, loadgen.DefaultConfig(5, 20_000, day.Add(12*time.Hour).UnixMilli(), 50), byKey), p, 2_000)
	later := writeArchive(t, records(t, loadgen.DefaultConfig(6, 5_000, day.AddDate(0, 0, 9).UnixMilli(), 50), func(key []byte, n int) int32 { return partitions + byKey(key, n) }), p, 2_000)
	if err := os.CopyFS(dir, os.DirFS(later)); err != nil {
		t.Fatal(err)
	}
	s3 := objectstore.S3{Endpoint: service.Endpoint, Region: service.Region, CredentialsFile: service.CredentialsFile}
	use := func(s objectstore.S3) {
		t.Cleanup(func() { objectstore.UseS3(objectstore.S3{}) })
		objectstore.UseS3(s)
	}
	run := func(archive, name string) (string, string) {
		t.Helper()
		out := filepath.Join(t.TempDir(), name)
		var log bytes.Buffer
		_, err := batch.Run(t.Context(), batch.Config{Archive: archive, Date: day, Policy: p, Out: out, RunID: t.Name() + name, TempDir: t.TempDir()},
			batch.Deps{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		if err != nil {
			t.Fatal(err)
		}
		return out, log.String()
	}
	same := func(got, want string) {
		t.Helper()
		for _, name := range []string{batch.MinutesFile, batch.DecisionsFile, batch.DeadLettersFile, batch.ManifestFile} {
			a, aerr := os.ReadFile(filepath.Join(got, name))
			b, berr := os.ReadFile(filepath.Join(want, name))
			if aerr != nil || berr != nil || len(a) == 0 || !bytes.Equal(a, b) {
				t.Errorf("%s: %d bytes, %v, want the %d of the folder, %v", name, len(a), aerr, len(b), berr)
			}
		}
	}
	want, _ := run("file://"+dir, "file")
	s3.CacheDir = t.TempDir()
	use(s3)
	store, err := objectstore.Open(t.Context(), service.URL)
	if err != nil {
		t.Fatal(err)
	}
	upload(t, dir, store)
	byCopy, _ := run(service.URL, "copy")
	same(byCopy, want)
	// Half of the files are of a day that does not matter.
	copies, err := filepath.Glob(filepath.Join(s3.CacheDir, "*", "*"))
	objects, listErr := store.List(t.Context(), "")
	ofDay, _ := filepath.Glob(filepath.Join(dir, "*", "dt=2026-03-01", "*", "*", "*.parquet"))
	if err != nil || listErr != nil || len(copies) != len(ofDay) || len(copies) >= len(objects) {
		t.Errorf("%d copies of %d objects, %v, %v, want %d", len(copies), len(objects), err, listErr, len(ofDay))
	}
	days, err := batch.Days(t.Context(), service.URL)
	fromFolder, folderErr := batch.Days(t.Context(), "file://"+dir)
	if err != nil || folderErr != nil || len(days) != len(fromFolder) || len(days) < 2 {
		t.Errorf("days %v, %v, want %v, %v", days, err, fromFolder, folderErr)
	}
	t.Run("httpfs", func(t *testing.T) {
		extension := os.Getenv(httpfsVariable)
		if extension == "" {
			t.Skipf("%s is not set: no extension to read S3 with", httpfsVariable)
		}
		s3.CacheDir, s3.HTTPFSExtension = t.TempDir(), extension
		use(s3)
		direct, log := run(service.URL, "httpfs")
		same(direct, want)
		if copies, err := filepath.Glob(filepath.Join(s3.CacheDir, "*", "*")); err != nil || len(copies) > 0 {
			t.Errorf("%d objects were copied, %v", len(copies), err)
		}
		if strings.Contains(log, "clickledger-dev") {
			t.Error("the log holds a secret")
		}
		s3.HTTPFSExtension = service.CredentialsFile
		use(s3)
		_, err := batch.Run(t.Context(), batch.Config{Archive: service.URL, Date: day, Policy: p, Out: t.TempDir(), RunID: t.Name()}, batch.Deps{})
		if err == nil || strings.Contains(err.Error(), "clickledger-dev") {
			t.Errorf("a file that is no extension: %v", err)
		}
	})
}
