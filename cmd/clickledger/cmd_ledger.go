package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/ledgerpg"
)

func newLedgerCommand(a *app) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "ledger",
		Short: "Verify and close the ledger, and write statements from it",
		Long: `The ledger holds what was billed, by double entry, in a chain of hashes. Bills come
from reconcile --post; these commands prove them, close months, take payments and
write the documents that advertisers get.`,
		Example: `  clickledger ledger verify --config clickledger.yaml
  clickledger ledger statement --config clickledger.yaml --advertiser adv-7 --month 2026-11`,
	},
		newLedgerVerifyCommand(a),
		newLedgerHeadCommand(a),
		newLedgerBalanceCommand(a),
		newLedgerEntriesCommand(a),
		newLedgerStatementCommand(a),
		newLedgerCreditsCommand(a),
		newLedgerAdvertisersCommand(a),
		newLedgerPaymentCommand(a),
		newLedgerCreditCommand(a),
		newLedgerReverseCommand(a),
		newLedgerCloseCommand(a),
	)
}

// beginLedger is begin for a command that works on the ledger, which the caller closes.
func (a *app) beginLedger(cmd *cobra.Command, problems config.Problems) (*config.Config, *ledgerpg.Ledger, error) {
	cfg, _, err := a.begin(cmd, "ledger")
	if err := withProblems(err, problems); err != nil {
		return nil, nil, err
	}
	ledger, err := openLedger(cmd.Context(), cfg)
	return cfg, ledger, err
}

// withProblems adds a command's own problems to those of the configuration.
func withProblems(err error, problems config.Problems) error {
	if len(problems) == 0 {
		return err
	}
	if others, ok := err.(config.Problems); ok { //nolint:errorlint // Load returns them bare
		return append(problems, others...)
	}
	if err != nil {
		return err
	}
	return problems
}

// addLedger defines the flags of a command that works on the ledger.
func addLedger(cmd *cobra.Command) { addSettings(cmd, "ledger_password_file") }

func addAdvertiser(cmd *cobra.Command, advertiser *string) {
	cmd.Flags().StringVar(advertiser, "advertiser", "", "the `id` of the advertiser")
}

func addMonth(cmd *cobra.Command, month *string) {
	cmd.Flags().StringVar(month, "month", "", "the `month`, YYYY-MM in UTC")
}

func require(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic(err)
		}
	}
}

// parseMonth reads the flag of a month.
func parseMonth(text string) (time.Time, config.Problems) {
	month, err := time.Parse("2006-01", text)
	if err != nil {
		return month, config.Problems{{Key: "month", Source: "flag --month", Value: text, Expected: "a month like 2026-11"}}
	}
	return month, nil
}

// parseDay reads the flag of a day; empty is today.
func parseDay(text string) (time.Time, config.Problems) {
	if text == "" {
		return time.Now().UTC(), nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return day, config.Problems{{Key: "date", Source: "flag --date", Value: text, Expected: "a day like 2026-11-01"}}
	}
	return day, nil
}

func newLedgerHeadCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "head",
		Short: "Print the newest link of the ledger's chain, to be kept elsewhere",
		Long: `Prints the number and the hash of the newest link of the chain. Its hash covers all
that the ledger held then. Kept elsewhere, it lets ledger verify --head prove later
that nothing of that was changed or taken away.`,
		Example: `  clickledger ledger head --config clickledger.yaml
  clickledger ledger head --config clickledger.yaml --json >> heads.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, ledger, err := a.beginLedger(cmd, nil)
			if err != nil {
				return err
			}
			defer ledger.Close()
			head, err := ledger.Head(cmd.Context())
			if err != nil {
				return err
			}
			return a.result(head, func(w io.Writer) error { return writeHead(w, head) })
		},
	}
	addLedger(cmd)
	return cmd
}

func writeHead(w io.Writer, head ledgerpg.Head) error {
	if head.LinkID == 0 {
		_, err := fmt.Fprintln(w, "the ledger is empty")
		return err
	}
	_, err := fmt.Fprintf(w, "link %d of %s, through entry %d\n%s\n", head.LinkID, head.LinkedAt.Format(time.RFC3339), head.LastEntryID, head.LinkHash)
	return err
}
