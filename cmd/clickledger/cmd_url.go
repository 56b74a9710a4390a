package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/signedurl"
	"github.com/clickledger/clickledger/jobs/gateway"
)

// signedFor is how long a signed URL is good unless a flag says otherwise.
const signedFor = 24 * time.Hour

func newURLCommand(a *app) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "url",
		Short: "Make and check signed URLs of clicks and impressions",
		Long: `A gateway with keys takes only URLs that carry a signature over price, ids and
target: HMAC-SHA256, with the id of its key and a time of expiry.`,
		Example: "  clickledger url key 2026-11 >> keys.txt\n  clickledger url sign --url-keys-file keys.txt 'https://gw.example/api/v1/clicks?click_id=…'",
	}, newURLKeyCommand(a), newURLSignCommand(a), newURLCheckCommand(a))
}

func newURLKeyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "key ID",
		Short: "Make a new key, as a line for the file of keys",
		Long: `Prints a line id:secret with a random secret of 32 bytes. The first line of a
file of keys signs, all check. To rotate: append the new line on every gateway,
put it first where URLs are signed, and take the old one away when its last URL
has expired.`,
		Example: "  clickledger url key 2026-11 >> keys.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			line, err := signedurl.NewKey(args[0])
			if err != nil {
				return &config.ExitError{Code: config.ExitUsage, Err: err}
			}
			return a.result(struct {
				Key string `json:"key"`
			}{line}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, line)
				return err
			})
		},
	}
}

func newURLSignCommand(a *app) *cobra.Command {
	valid := signedFor
	cmd := &cobra.Command{
		Use:   "sign URL",
		Short: "Sign a URL with the first key",
		Long: `Adds key_id, expires and signature to the URL of a click or an impression. The
signature covers the path and every parameter that the gateway knows; nobody can
change, add or take away one. A URL without a timestamp should not be good for
longer than a day: one that is used again after the policy's dedup lookback is
another click, and billed. Keys come from --url-keys-file or the variable
CLICK_URL_KEYS, never from the command line.`,
		Example: "  clickledger url sign --url-keys-file keys.txt --valid 12h 'https://gw.example/api/v1/clicks?click_id=c1&redirect_url=https%3A%2F%2Fshop.example%2F'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, u, _, err := a.signing(cmd, args[0])
			if err != nil {
				return err
			}
			if valid <= 0 {
				return &config.ExitError{Code: config.ExitUsage, Err: errors.New("--valid must be more than 0")}
			}
			expires := time.Now().Add(valid).UTC().Truncate(time.Second)
			signed, err := keys.Sign(u, expires)
			if err != nil {
				return &config.ExitError{Code: config.ExitUsage, Err: err}
			}
			return a.result(struct {
				URL     string    `json:"url"`
				KeyID   string    `json:"key_id"`
				Expires time.Time `json:"expires"`
			}{signed.String(), keys.IDs()[0], expires}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, signed)
				return err
			})
		},
	}
	addSettings(cmd, "gateway.url_keys_file")
	cmd.Flags().DurationVar(&valid, "valid", signedFor, "how long the URL is good")
	return cmd
}

func newURLCheckCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check URL",
		Short: "Say whether a gateway with these keys takes a URL, or why not",
		Long: `Checks a URL as the gateway would, at this moment. Exit code 1 if it is not
signed, not as it was signed, or has expired, and if it is none of a click or an
impression, is too long, or its redirect leads where none may.`,
		Example: "  clickledger url check --url-keys-file keys.txt 'https://gw.example/api/v1/clicks?…&signature=…'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, u, hosts, err := a.signing(cmd, args[0])
			if err != nil {
				return err
			}
			checked, err := keys.Check(u.Path, u.RawQuery, time.Now())
			if err == nil {
				err = gateway.CheckURL(u, hosts)
			}
			if err != nil {
				return err
			}
			return a.result(struct {
				KeyID   string    `json:"key_id"`
				Expires time.Time `json:"expires"`
			}{checked.KeyID, checked.Expires}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "signed with key %s, good until %s\n", checked.KeyID, checked.Expires.Format(time.RFC3339))
				return err
			})
		},
	}
	addSettings(cmd, "gateway.url_keys_file", "gateway.redirect_hosts")
	return cmd
}

// signing reads what sign and check need: the keys, the URL, and the hosts that redirects may lead to.
func (a *app) signing(cmd *cobra.Command, text string) (keys *signedurl.Keys, u *url.URL, hosts []string, err error) {
	cfg, err := a.load(cmd)
	if err != nil {
		return nil, nil, nil, err
	}
	keys, err = readURLKeys(cfg.Gateway)
	if err != nil {
		return nil, nil, nil, err
	}
	if keys == nil {
		return nil, nil, nil, &config.ExitError{Code: config.ExitUsage, Err: fmt.Errorf("no keys: set gateway.url_keys_file or %s", urlKeys)}
	}
	u, err = url.Parse(text)
	if err != nil || u.Path == "" {
		return nil, nil, nil, &config.ExitError{Code: config.ExitUsage, Err: errors.New("the argument is not the URL of a click or an impression")}
	}
	return keys, u, cfg.Gateway.RedirectHosts, nil
}
