package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
)

type receiptFlags struct {
	advertiser, amount, reference, reason, date string
	dryRun                                      bool
}

// receiptResult is what became of an entry made by hand.
type receiptResult struct {
	DryRun    bool `json:"dry_run"`
	WasPosted bool `json:"was_posted"` // the ledger had it already
	entryResult
	LimitEvents []ledgerpg.LimitEvent `json:"limit_events,omitempty"`
}

func (f *receiptFlags) add(cmd *cobra.Command) {
	addAdvertiser(cmd, &f.advertiser)
	flags := cmd.Flags()
	flags.StringVar(&f.amount, "amount", "", "the `amount` in the advertiser's currency, in whole cents")
	flags.StringVar(&f.reference, "reference", "", "what names it for the advertiser, such as the bank's `text`")
	flags.StringVar(&f.reason, "reason", "", "a `text` for the statement")
	flags.StringVar(&f.date, "date", "", "its `day`, YYYY-MM-DD in UTC (default today)")
	addLedger(cmd)
	addSettings(cmd, "ledger_currency")
	addDryRun(cmd, &f.dryRun)
	require(cmd, "advertiser", "amount", "reference")
}

func newLedgerPaymentCommand(a *app) *cobra.Command {
	f := &receiptFlags{}
	cmd := &cobra.Command{
		Use:   "payment",
		Short: "Post an advertiser's payment",
		Long: `Posts a payment to the advertiser's account. The reference is its identity: posting
it again does nothing, posting it with another amount or reason is an error.`,
		Example: `  clickledger ledger payment --config clickledger.yaml --advertiser adv-7 --amount 1250.00 --reference BANK-2026-118
  clickledger ledger payment --config clickledger.yaml --advertiser adv-7 --amount 5 --reference X1 --date 2026-11-02 --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runReceipt(a, cmd, f, ledgerpg.KindPayment) },
	}
	f.add(cmd)
	return cmd
}

func newLedgerCreditCommand(a *app) *cobra.Command {
	f := &receiptFlags{}
	cmd := &cobra.Command{
		Use:   "credit",
		Short: "Post a credit for invalid traffic by hand",
		Long: `Posts a credit to the advertiser's account, for clicks that were charged and are held
to be invalid though no rule says so. Credits that a rule brings about are posted by
reconcile. The reference is its identity, as with a payment; the reason is printed on
statements.`,
		Example: `  clickledger ledger credit --config clickledger.yaml --advertiser adv-7 --amount 12.50 --reference T-81 --reason 'clicks of a crawler'`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runReceipt(a, cmd, f, ledgerpg.KindCredit) },
	}
	f.add(cmd)
	require(cmd, "reason")
	return cmd
}

func runReceipt(a *app, cmd *cobra.Command, f *receiptFlags, kind string) error {
	day, problems := parseDay(f.date)
	amount, err := money.FromDecimalString(f.amount)
	if err != nil || amount <= 0 {
		problems = append(problems, config.Problem{Key: "amount", Source: "flag --amount", Value: f.amount,
			Expected: "an amount above zero like 1250.00"})
	}
	cfg, book, err := a.beginLedger(cmd, problems)
	if err != nil {
		return err
	}
	defer book.Close()
	posted, err := book.PostReceipt(cmd.Context(), ledgerpg.Receipt{Kind: kind, AdvertiserID: f.advertiser, Date: day,
		Currency: cfg.LedgerCurrency, AmountMicros: amount, Reference: f.reference, Reason: f.reason, RunID: runID(kind), DryRun: f.dryRun})
	if err != nil {
		return asUsage(err)
	}
	return a.receipt(posted, f.dryRun)
}

func (a *app) receipt(posted ledgerpg.ReferenceResult, dryRun bool) error {
	result := receiptResult{DryRun: dryRun, WasPosted: posted.WasPosted, entryResult: entryOf(&posted.Entry), LimitEvents: posted.LimitEvents}
	return a.result(result, func(w io.Writer) error {
		done := "posted"
		switch {
		case posted.WasPosted:
			done = "was posted before"
		case dryRun:
			done = "would be posted"
		}
		_, err := fmt.Fprintf(w, "%s %s: entry %d, %s %s, booked on %s\n", result.Kind, done, result.EntryID,
			money.Micros(-result.AmountMicros), result.Currency, result.BookingDate)
		return err
	})
}

func newLedgerReverseCommand(a *app) *cobra.Command {
	var entry int64
	var reason, date string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "reverse",
		Short: "Take back a payment or a credit that was posted by hand",
		Long: `Posts the opposite of a payment or a credit that was made by hand. What reconcile has
posted is not reversed: judge the day again, or post a credit. Reversing an entry
again does nothing.`,
		Example: `  clickledger ledger reverse --config clickledger.yaml --entry 4711 --reason 'the bank took it back'`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			day, problems := parseDay(date)
			_, book, err := a.beginLedger(cmd, problems)
			if err != nil {
				return err
			}
			defer book.Close()
			posted, err := book.Reverse(cmd.Context(), ledgerpg.ReverseRequest{EntryID: entry, Date: day, Reason: reason,
				RunID: runID("reverse"), DryRun: dryRun})
			if err != nil {
				return asUsage(err)
			}
			return a.receipt(posted, dryRun)
		},
	}
	cmd.Flags().Int64Var(&entry, "entry", 0, "the `number` of the entry")
	cmd.Flags().StringVar(&reason, "reason", "", "a `text` for the statement")
	cmd.Flags().StringVar(&date, "date", "", "the `day` of the reversal, YYYY-MM-DD in UTC (default today)")
	require(cmd, "entry", "reason")
	addLedger(cmd)
	addDryRun(cmd, &dryRun)
	return cmd
}

// entryResult is an entry as --json prints it.
type entryResult struct {
	EntryID         int64     `json:"entry_id"`
	IdempotencyKey  string    `json:"idempotency_key"`
	AdvertiserID    string    `json:"advertiser_id"`
	Kind            string    `json:"kind"`
	Revision        int       `json:"revision"`
	OriginalEntryID *int64    `json:"original_entry_id,omitempty"`
	BillingDate     string    `json:"billing_date"`
	BookingDate     string    `json:"booking_date"`
	Currency        string    `json:"currency"`
	AmountMicros    int64     `json:"amount_micros"` // what is owed more
	IsSuspense      bool      `json:"is_suspense"`
	Reference       *string   `json:"reference,omitempty"`
	Reason          *string   `json:"reason,omitempty"`
	RunID           string    `json:"run_id"`
	PostedAt        time.Time `json:"posted_at"`
	LinkID          int64     `json:"link_id"` // of the chain; 0 in a dry run
}

func entryOf(e *ledgerpg.Entry) entryResult {
	return entryResult{EntryID: e.EntryID, IdempotencyKey: e.IdempotencyKey, AdvertiserID: e.AdvertiserID, Kind: e.Kind,
		Revision: e.Revision, OriginalEntryID: e.OriginalEntryID, BillingDate: e.BillingDate.Format(time.DateOnly),
		BookingDate: e.BookingDate.Format(time.DateOnly), Currency: e.Currency, AmountMicros: int64(e.AmountMicros),
		IsSuspense: e.IsSuspense, Reference: e.Reference, Reason: e.Reason, RunID: e.RunID, PostedAt: e.PostedAt.UTC(), LinkID: e.LinkID}
}
