package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/objectstore"
)

// addS3 defines the flags of how S3 is reached.
func addS3(cmd *cobra.Command) { addGroup(cmd, "s3") }

// useS3 makes all clients of the process reach S3 as configured.
func useS3(cfg *config.Config) {
	s3 := cfg.S3
	if s3.CacheDir == "" {
		if dir, err := os.UserCacheDir(); err == nil { // without a home there is no cache
			s3.CacheDir = filepath.Join(dir, "clickledger", "objects")
		}
	}
	objectstore.UseS3(objectstore.S3{Endpoint: s3.Endpoint, Region: s3.Region, Addressing: s3.Addressing,
		CredentialsFile: s3.CredentialsFile, Encryption: s3.Encryption, CacheDir: s3.CacheDir,
		CacheBytes: int64(s3.CacheSize), HTTPFSExtension: cfg.DuckDB.HTTPFSExtension})
}
