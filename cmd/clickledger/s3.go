package main

import (
	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/objectstore"
)

// addS3 defines the flags of how S3 is reached.
func addS3(cmd *cobra.Command) { addGroup(cmd, "s3") }

// useS3 makes all clients of the process reach S3 as configured.
func useS3(cfg config.S3) {
	objectstore.UseS3(objectstore.S3{Endpoint: cfg.Endpoint, Region: cfg.Region, Addressing: cfg.Addressing,
		CredentialsFile: cfg.CredentialsFile, Encryption: cfg.Encryption})
}
