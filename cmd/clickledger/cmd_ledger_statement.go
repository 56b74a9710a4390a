package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/jobs/ledger"
)

// documentFormats are the forms of a document.
var documentFormats = []string{"text", "csv", "json", "html"}

// document is what an advertiser gets.
type document interface {
	WriteText(w io.Writer) error
	WriteCSV(w io.Writer) error
	WriteHTML(w io.Writer) error
}

type documentFlags struct{ advertiser, month, format string }

func (f *documentFlags) add(cmd *cobra.Command) {
	addAdvertiser(cmd, &f.advertiser)
	addMonth(cmd, &f.month)
	require(cmd, "advertiser", "month")
	cmd.Flags().StringVar(&f.format, "format", "text", "one of "+strings.Join(documentFormats, ", ")+"; json is --json")
	addLedger(cmd)
	addSettings(cmd, "batch.memory_limit", "batch.threads", "batch.temp_dir")
	addS3(cmd)
}

func newLedgerStatementCommand(a *app) *cobra.Command {
	f := &documentFlags{}
	cmd := &cobra.Command{
		Use:   "statement",
		Short: "Write an advertiser's statement of a month, as text, CSV, JSON or an invoice page",
		Long: `Writes opening and closing balance, the charges by campaign, the invalid clicks that
were not charged by rule, adjustments and credits with their reason, and payments.

The lines come from the batch's results that were posted, which the archive holds;
of a closed month as they were at the close. Without --archive the charges stand as
one sum. The invoice of --format html is one file that needs nothing else, made to be
printed. Nothing is written but the document, to stdout.`,
		Example: `  clickledger ledger statement --config clickledger.yaml --advertiser adv-7 --month 2026-11
  clickledger ledger statement --config clickledger.yaml --advertiser adv-7 --month 2026-10 --format html > invoice.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDocument(a, cmd, f, func(s *ledger.Statement) document { return s })
		},
	}
	f.add(cmd)
	return cmd
}

func newLedgerCreditsCommand(a *app) *cobra.Command {
	f := &documentFlags{}
	cmd := &cobra.Command{
		Use:   "credits",
		Short: "Write an advertiser's invalid-activity credit report of a month",
		Long: `Writes the clicks that were found to be invalid before they were charged, by campaign
and rule with what they would have cost, and the credits for clicks that had been
charged, each with its reason and the entry that it corrects.`,
		Example: `  clickledger ledger credits --config clickledger.yaml --advertiser adv-7 --month 2026-11
  clickledger ledger credits --config clickledger.yaml --advertiser adv-7 --month 2026-11 --format csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDocument(a, cmd, f, func(s *ledger.Statement) document { return s.Activity() })
		},
	}
	f.add(cmd)
	return cmd
}

func runDocument(a *app, cmd *cobra.Command, f *documentFlags, of func(*ledger.Statement) document) error {
	month, problems := parseMonth(f.month)
	if !slices.Contains(documentFormats, f.format) {
		problems = append(problems, config.Problem{Key: "format", Source: "flag --format", Value: f.format,
			Expected: "one of " + strings.Join(documentFormats, ", ")})
	}
	a.json = a.json || f.format == "json"
	cfg, book, err := a.beginLedger(cmd, problems)
	if err != nil {
		return err
	}
	defer book.Close()
	if cfg.Archive != "" {
		if err := archiveExists(cfg.Archive); err != nil {
			return err
		}
	}
	job := ledger.Config{Config: analystConfig(cfg), AdvertiserID: f.advertiser, Month: month}
	statement, err := ledger.Build(cmd.Context(), job, book)
	if err != nil {
		return asUsage(err)
	}
	doc := of(statement)
	return a.result(doc, func(w io.Writer) error {
		switch f.format {
		case "csv":
			return doc.WriteCSV(w)
		case "html":
			return doc.WriteHTML(w)
		}
		return doc.WriteText(w)
	})
}

// asUsage makes bad usage of an error about a request that makes no sense.
func asUsage(err error) error {
	if errors.Is(err, ledgerpg.ErrInvalid) || errors.Is(err, ledgerpg.ErrUnknown) {
		return &config.ExitError{Code: config.ExitUsage, Err: fmt.Errorf("%w", err)}
	}
	return err
}
