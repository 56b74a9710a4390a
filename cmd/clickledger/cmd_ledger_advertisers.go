package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
)

// advertisersMax bounds a file of advertisers.
const advertisersMax = 5_000_000

type registerFlags struct {
	advertiser, name, limit, file string
	dryRun                        bool
}

type registerResult struct {
	DryRun     bool `json:"dry_run"`
	Given      int  `json:"given"`
	Registered int  `json:"registered"` // who was new; in a dry run all that were given
}

type suspenseResult struct {
	DryRun       bool           `json:"dry_run"`
	MovedEntries int            `json:"moved_entries"`
	MovedMicros  int64          `json:"moved_micros"`
	Suspense     []suspenseItem `json:"suspense"` // what stands there before
}

type suspenseItem struct {
	AdvertiserID  string    `json:"advertiser_id"`
	BillingDate   string    `json:"billing_date"`
	Currency      string    `json:"currency"`
	AmountMicros  int64     `json:"amount_micros"`
	FirstPostedAt time.Time `json:"first_posted_at"`
	IsRegistered  bool      `json:"is_registered"`
}

func newLedgerAdvertisersCommand(a *app) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "advertisers",
		Short: "Register advertisers, and move what stands in suspense for them",
		Long: `What is posted for an advertiser who is not registered stands in suspense. Register
him, then resolve moves it to his account.`,
		Example: `  clickledger ledger advertisers suspense --config clickledger.yaml
  clickledger ledger advertisers register --config clickledger.yaml --advertiser adv-7 --name 'Seven Inc.'
  clickledger ledger advertisers resolve --config clickledger.yaml`,
	}, newRegisterCommand(a), newSuspenseCommand(a), newResolveCommand(a))
}

func newRegisterCommand(a *app) *cobra.Command {
	f := &registerFlags{}
	cmd := &cobra.Command{
		Use:   "register",
		Short: "Add advertisers to the ledger, one or a file of them",
		Long: `Adds an advertiser, or all of a CSV file with the columns id, name and, if wanted,
credit_limit. Who is registered already stays as he is. The credit limit is 1000
where none is given.`,
		Example: `  clickledger ledger advertisers register --config clickledger.yaml --advertiser adv-7 --name 'Seven Inc.' --credit-limit 5000
  clickledger ledger advertisers register --config clickledger.yaml --file advertisers.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRegister(a, cmd, f) },
	}
	addAdvertiser(cmd, &f.advertiser)
	cmd.Flags().StringVar(&f.name, "name", "", "the `name` that statements show")
	cmd.Flags().StringVar(&f.limit, "credit-limit", "", "how much may be owed before it is reported, an `amount`")
	cmd.Flags().StringVar(&f.file, "file", "", "a CSV `file` with a header")
	cmd.MarkFlagsMutuallyExclusive("advertiser", "file")
	cmd.MarkFlagsOneRequired("advertiser", "file")
	cmd.MarkFlagsRequiredTogether("advertiser", "name")
	addLedger(cmd)
	addDryRun(cmd, &f.dryRun)
	return cmd
}

func runRegister(a *app, cmd *cobra.Command, f *registerFlags) error {
	advertisers, problems := f.advertisers()
	_, book, err := a.beginLedger(cmd, problems)
	if err != nil {
		return err
	}
	defer book.Close()
	result := registerResult{DryRun: f.dryRun, Given: len(advertisers), Registered: len(advertisers)}
	if !f.dryRun {
		if result.Registered, err = book.RegisterAdvertisers(cmd.Context(), advertisers); err != nil {
			return asUsage(err)
		}
	}
	return a.result(result, func(w io.Writer) error {
		done := "registered"
		if f.dryRun {
			done = "would be registered unless they are"
		}
		_, err := fmt.Fprintf(w, "%d of %d advertisers %s\n", result.Registered, result.Given, done)
		return err
	})
}

// advertisers are those of the flags, or of the file.
func (f *registerFlags) advertisers() ([]ledgerpg.Advertiser, config.Problems) {
	if f.file == "" {
		limit, err := limitOf(f.limit)
		if err != nil {
			return nil, config.Problems{{Key: "credit-limit", Source: "flag --credit-limit", Value: f.limit, Expected: "an amount above zero like 5000"}}
		}
		return []ledgerpg.Advertiser{{ID: f.advertiser, Name: f.name, CreditLimitMicros: limit}}, nil
	}
	advertisers, err := readAdvertisers(f.file)
	if err != nil {
		return nil, config.Problems{{Key: "file", Source: "flag --file", Value: f.file, Expected: err.Error()}}
	}
	return advertisers, nil
}

func limitOf(text string) (money.Micros, error) {
	if text == "" {
		return 0, nil
	}
	limit, err := money.FromDecimalString(text)
	if err == nil && limit <= 0 {
		err = errors.New("not above zero")
	}
	return limit, err
}

func readAdvertisers(path string) ([]ledgerpg.Advertiser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("a readable file: %w", err)
	}
	defer file.Close()
	in := csv.NewReader(file)
	header, err := in.Read()
	if err != nil || len(header) < 2 || header[0] != "id" || header[1] != "name" || len(header) > 2 && header[2] != "credit_limit" {
		return nil, errors.New("a header of id, name and, if wanted, credit_limit")
	}
	var advertisers []ledgerpg.Advertiser
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return advertisers, nil
		}
		if err != nil {
			return nil, fmt.Errorf("comma-separated values: %w", err)
		}
		if len(advertisers) == advertisersMax {
			return nil, fmt.Errorf("at most %d advertisers", advertisersMax)
		}
		next := ledgerpg.Advertiser{ID: row[0], Name: row[1]}
		if len(row) > 2 {
			if next.CreditLimitMicros, err = limitOf(row[2]); err != nil {
				return nil, fmt.Errorf("a credit limit of %q: %w", row[0], err)
			}
		}
		advertisers = append(advertisers, next)
	}
}

func newSuspenseCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "suspense",
		Short:   "List what stands in suspense, by advertiser and day",
		Long:    `Lists what was posted for advertisers who were not registered, with its first time.`,
		Example: `  clickledger ledger advertisers suspense --config clickledger.yaml --json`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runSuspense(a, cmd, false, true) },
	}
	addLedger(cmd)
	return cmd
}

func newResolveCommand(a *app) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "resolve",
		Short: "Move what stands in suspense to advertisers who are registered by now",
		Long: `Posts one transfer for every day whose charges stand in suspense although the
advertiser is registered by now, and bills it. Running it again moves nothing.`,
		Example: `  clickledger ledger advertisers resolve --config clickledger.yaml --dry-run
  clickledger ledger advertisers resolve --config clickledger.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runSuspense(a, cmd, dryRun, false) },
	}
	addLedger(cmd)
	addDryRun(cmd, &dryRun)
	return cmd
}

func runSuspense(a *app, cmd *cobra.Command, dryRun, onlyList bool) error {
	_, book, err := a.beginLedger(cmd, nil)
	if err != nil {
		return err
	}
	defer book.Close()
	ctx := cmd.Context()
	totals, err := book.Totals(ctx)
	if err != nil {
		return err
	}
	result := suspenseResult{DryRun: dryRun, Suspense: []suspenseItem{}}
	for _, item := range totals.Suspense {
		result.Suspense = append(result.Suspense, suspenseItem{AdvertiserID: item.AdvertiserID, BillingDate: item.BillingDate,
			Currency: item.Currency, AmountMicros: int64(item.AmountMicros), FirstPostedAt: item.FirstPostedAt.UTC(), IsRegistered: item.IsRegistered})
	}
	var moved money.Micros
	switch {
	case onlyList:
	case dryRun:
		result.MovedEntries, moved, err = book.PlanSuspense(ctx)
	default:
		result.MovedEntries, moved, err = book.MoveSuspense(ctx, runID("resolve"))
	}
	if err != nil {
		return err
	}
	result.MovedMicros = int64(moved)
	return a.result(result, func(w io.Writer) error { return writeSuspense(w, &result, onlyList) })
}

func writeSuspense(w io.Writer, r *suspenseResult, onlyList bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, item := range r.Suspense {
		state := "not registered"
		if item.IsRegistered {
			state = "registered"
		}
		fmt.Fprintf(table, "%q\t%s\t%s %s\tsince %s\t%s\n", item.AdvertiserID, item.BillingDate, money.Micros(item.AmountMicros), item.Currency,
			item.FirstPostedAt.Format(time.RFC3339), state)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	done := "moved"
	switch {
	case onlyList:
		_, err := fmt.Fprintf(w, "%d days in suspense\n", len(r.Suspense))
		return err
	case r.DryRun:
		done = "would be moved"
	}
	_, err := fmt.Fprintf(w, "%d entries, %s, %s\n", r.MovedEntries, money.Micros(r.MovedMicros), done)
	return err
}
