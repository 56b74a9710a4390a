package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
)

// balanceResult is an advertiser's account as --json prints it.
type balanceResult struct {
	AdvertiserID string `json:"advertiser_id"`
	Name         string `json:"name"`
	Currency     string `json:"currency"` // empty: never billed
	// Balance is decimal text with four places, negative for what is owed.
	Balance           string `json:"balance"`
	ChargedMicros     int64  `json:"charged_micros"`
	PaidMicros        int64  `json:"paid_micros"`
	CreditedMicros    int64  `json:"credited_micros"` // by hand; those of the batch are part of the charges
	CreditLimitMicros int64  `json:"credit_limit_micros"`
	IsOverLimit       bool   `json:"is_over_limit"`
}

type balancesResult struct {
	Advertisers []balanceResult `json:"advertisers"`
	OverLimit   int             `json:"over_limit"`
}

func newLedgerBalanceCommand(a *app) *cobra.Command {
	var advertiser string
	var onlyOver bool
	cmd := &cobra.Command{
		Use:   "balance",
		Short: "Print balances, and who is over the credit limit",
		Long: `Prints the balance of one advertiser or of all, with what was charged, paid and
credited. A negative balance is owed. Who owes more than the credit limit is marked;
the ledger has an event of when that happened (table advertiser_events).`,
		Example: `  clickledger ledger balance --config clickledger.yaml --advertiser adv-7
  clickledger ledger balance --config clickledger.yaml --over-limit --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBalance(a, cmd, advertiser, onlyOver) },
	}
	addAdvertiser(cmd, &advertiser)
	cmd.Flags().BoolVar(&onlyOver, "over-limit", false, "only those over their credit limit")
	addLedger(cmd)
	return cmd
}

func runBalance(a *app, cmd *cobra.Command, advertiser string, onlyOver bool) error {
	_, book, err := a.beginLedger(cmd, nil)
	if err != nil {
		return err
	}
	defer book.Close()
	var balances []ledgerpg.Balance
	if advertiser == "" {
		balances, err = book.Balances(cmd.Context())
	} else {
		balances = make([]ledgerpg.Balance, 1)
		balances[0], err = book.Balance(cmd.Context(), advertiser)
	}
	if err != nil {
		return asUsage(err)
	}
	result := balancesResult{Advertisers: []balanceResult{}}
	for i := range balances {
		b := &balances[i]
		if b.IsOverLimit {
			result.OverLimit++
		} else if onlyOver {
			continue
		}
		result.Advertisers = append(result.Advertisers, balanceResult{AdvertiserID: b.AdvertiserID, Name: b.Name, Currency: b.Currency,
			Balance: money.FormatDecimal4(b.BalanceDecimal4), ChargedMicros: int64(b.ChargedMicros), PaidMicros: int64(b.PaidMicros),
			CreditedMicros: int64(b.CreditedMicros), CreditLimitMicros: int64(b.CreditLimitMicros), IsOverLimit: b.IsOverLimit})
	}
	return a.result(result, func(w io.Writer) error { return writeBalances(w, &result) })
}

func writeBalances(w io.Writer, r *balancesResult) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "advertiser\tbalance\tcharged\tpaid\tcredited\tlimit\t\t\n")
	for _, b := range r.Advertisers {
		over := ""
		if b.IsOverLimit {
			over = "OVER LIMIT"
		}
		fmt.Fprintf(table, "%q\t%s %s\t%s\t%s\t%s\t%s\t%s\t\n", b.AdvertiserID, b.Balance, b.Currency, money.Micros(b.ChargedMicros),
			money.Micros(b.PaidMicros), money.Micros(b.CreditedMicros), money.Micros(b.CreditLimitMicros), over)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d advertisers, %d over their credit limit\n", len(r.Advertisers), r.OverLimit)
	return err
}

type entriesResult struct {
	Entries []entryResult `json:"entries"`
}

func newLedgerEntriesCommand(a *app) *cobra.Command {
	var advertiser, month string
	cmd := &cobra.Command{
		Use:   "entries",
		Short: "List an advertiser's journal entries of a month",
		Long: `Lists the entries that are booked in the month, oldest first, with the day that each
is about, the entry that it corrects, and the link of the chain that covers it.`,
		Example: `  clickledger ledger entries --config clickledger.yaml --advertiser adv-7 --month 2026-11`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			first, problems := parseMonth(month)
			_, book, err := a.beginLedger(cmd, problems)
			if err != nil {
				return err
			}
			defer book.Close()
			entries, err := book.EntriesBetween(cmd.Context(), advertiser, first, first.AddDate(0, 1, -1))
			if err != nil {
				return err
			}
			result := entriesResult{Entries: make([]entryResult, len(entries))}
			for i := range entries {
				result.Entries[i] = entryOf(&entries[i])
			}
			return a.result(result, func(w io.Writer) error { return writeEntries(w, &result) })
		},
	}
	addAdvertiser(cmd, &advertiser)
	addMonth(cmd, &month)
	require(cmd, "advertiser", "month")
	addLedger(cmd)
	return cmd
}

func writeEntries(w io.Writer, r *entriesResult) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "entry\tbooked\tkind\tabout\towed more\tcorrects\tlink\n")
	for _, e := range r.Entries {
		about, corrects := e.BillingDate, "-"
		if e.Reference != nil {
			about = fmt.Sprintf("%q", *e.Reference)
		}
		if e.OriginalEntryID != nil {
			corrects = fmt.Sprint(*e.OriginalEntryID)
		}
		kind := e.Kind
		if e.IsSuspense {
			kind += " (suspense)"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s %s\t%s\t%d\n", e.EntryID, e.BookingDate, kind, about, money.Micros(e.AmountMicros), e.Currency, corrects, e.LinkID)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d entries\n", len(r.Entries))
	return err
}
