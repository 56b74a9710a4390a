package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/bearer"
	"github.com/clickledger/clickledger/internal/config"
)

// tokenResult is a token as --json prints it.
type tokenResult struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
}

// validForMax is the longest life of a token for development.
const validForMax = 30 * 24 * time.Hour

func newTokenCommand(a *app) *cobra.Command {
	var grant bearer.Grant
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token for the analytics API, for development",
		Long: `Prints a JSON Web Token by HS256 that opens the numbers of one advertiser, or with
--admin of all. The secret is that of api.token_secret_file or of the variable
CLICKLEDGER_API_TOKEN_SECRET, the same that 'clickledger api' checks tokens by.

In production an identity provider signs the tokens, and the API has its public
keys by api.jwks.`,
		Example: `  clickledger token --config clickledger.yaml --advertiser adv-7
  clickledger token --config clickledger.yaml --admin --valid-for 15m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runToken(a, cmd, grant) },
	}
	cmd.Flags().StringVar(&grant.AdvertiserID, "advertiser", "", "the `id` of the advertiser whose numbers it opens")
	cmd.Flags().BoolVar(&grant.IsAdmin, "admin", false, "it opens the numbers of all advertisers")
	cmd.Flags().StringVar(&grant.Subject, "subject", "developer", "whom it is for, which rate limits go by")
	cmd.Flags().DurationVar(&grant.ValidFor, "valid-for", 12*time.Hour, "how long it is valid, at most 720h")
	addSettings(cmd, "api.token_secret_file", "api.audience", "api.issuer")
	return cmd
}

func runToken(a *app, cmd *cobra.Command, grant bearer.Grant) error {
	cfg, err := a.load(cmd)
	if err != nil {
		return err
	}
	usage := func(text string) error { return &config.ExitError{Code: config.ExitUsage, Err: errors.New(text)} }
	if (grant.AdvertiserID == "") == !grant.IsAdmin {
		return usage("takes --advertiser or --admin")
	}
	if grant.ValidFor < time.Second || grant.ValidFor > validForMax {
		return usage("--valid-for is from 1s to 720h")
	}
	secret, err := cfg.APISecret()
	if err != nil {
		return err
	}
	if len(secret) < bearer.SecretBytesMin {
		return usage(fmt.Sprintf("needs a secret of at least %d bytes: set api.token_secret_file or CLICKLEDGER_API_TOKEN_SECRET",
			bearer.SecretBytesMin))
	}
	grant.Audience, grant.Issuer, grant.IssuedAt = cfg.API.Audience, cfg.API.Issuer, time.Now()
	token, err := bearer.Sign(secret, grant)
	if err != nil {
		return err
	}
	return a.result(tokenResult{Token: token, ExpiresAt: grant.IssuedAt.Add(grant.ValidFor).UTC().Truncate(time.Second)}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, token)
		return err
	})
}
