package ledgerpg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/clickledger/clickledger/internal/money"
	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

// Limits of what is written by hand, those of the columns.
const (
	maxReferenceCharacters = 128
	maxReasonCharacters    = 255
)

// microsPerCent is what a payment is a multiple of. Whole cents are an even number of the ledger's
// units of 1e-4, so that rounding half to even does not depend on them.
const microsPerCent = money.PerUnit / 100

// ErrUnknown is wrapped where an advertiser or an entry is not in the ledger.
var ErrUnknown = errors.New("not in the ledger")

// Receipt is money that an advertiser gets back or has paid, and that no batch knows of.
type Receipt struct {
	// Kind is KindPayment or KindCredit.
	Kind         string
	AdvertiserID string
	// Date is any instant of its UTC day. In a closed period it is booked on the first open day.
	Date time.Time
	// Currency is that of an advertiser who was never billed; else it is his own.
	Currency string
	// AmountMicros is above 0, in whole cents.
	AmountMicros money.Micros
	// Reference is its identity for the advertiser: posting it again, on whatever date, does nothing;
	// posting it with another amount or reason is a conflict.
	Reference string
	// Reason is needed for a credit.
	Reason string
	RunID  string
	DryRun bool
}

// Kinds of entries that are made by hand.
const (
	KindPayment = "payment"
	KindCredit  = "credit"
)

// ReferenceResult is what became of an entry made by hand.
type ReferenceResult struct {
	Entry Entry
	// WasPosted: the ledger had it already, and nothing was done.
	WasPosted   bool
	LimitEvents []LimitEvent
}

// PostReceipt posts a payment, or a credit for invalid traffic. The error wraps ErrInvalid,
// ErrUnknown, ErrConflict, or is the database's, after which repeating is safe.
func (l *Ledger) PostReceipt(ctx context.Context, receipt Receipt) (ReferenceResult, error) {
	label := fmt.Sprintf("post %s %q of advertiser %q", receipt.Kind, receipt.Reference, receipt.AdvertiserID)
	if err := receipt.validate(); err != nil {
		return ReferenceResult{}, fmt.Errorf("%s: %w", label, err)
	}
	var result ReferenceResult
	err := l.inTransaction(ctx, func(tx pgx.Tx) (bool, error) {
		if err := beginPosting(ctx, tx); err != nil {
			return false, err
		}
		currency, err := currencyOf(ctx, tx, receipt.AdvertiserID, receipt.Currency)
		if err != nil {
			return false, err
		}
		result, err = postReference(ctx, tx, referencePlan{kind: receipt.Kind, advertiserID: receipt.AdvertiserID,
			date: utcDay(receipt.Date), currency: currency, amount: -receipt.AmountMicros,
			reference: receipt.Reference, reason: receipt.Reason, runID: receipt.RunID})
		return finishReference(ctx, tx, result, receipt.DryRun, err)
	})
	if err != nil {
		return ReferenceResult{}, fmt.Errorf("%s: %w", label, asConflict(l.explain(err)))
	}
	return result, nil
}

// Reverse takes back a payment or a credit that was made by hand, by an entry of the opposite. What
// the batch has posted is corrected by judging the day again, or by a credit. Reversing again does
// nothing. The error is as for PostReceipt.
func (l *Ledger) Reverse(ctx context.Context, request ReverseRequest) (ReferenceResult, error) {
	label := fmt.Sprintf("reverse entry %d", request.EntryID)
	if request.Reason == "" || !validText(request.Reason, maxReasonCharacters) || request.RunID == "" || request.Date.IsZero() {
		return ReferenceResult{}, fmt.Errorf("%s: reason, date or run id is missing or no text: %w", label, ErrInvalid)
	}
	var result ReferenceResult
	err := l.inTransaction(ctx, func(tx pgx.Tx) (bool, error) {
		if err := beginPosting(ctx, tx); err != nil {
			return false, err
		}
		entries, err := collect[Entry](ctx, tx, "select_entry", request.EntryID)
		if err != nil {
			return false, err
		}
		if len(entries) == 0 {
			return false, fmt.Errorf("entry %d: %w", request.EntryID, ErrUnknown)
		}
		original := entries[0]
		if original.Reference == nil || original.Kind != KindPayment && original.Kind != KindCredit {
			return false, fmt.Errorf("entry %d is a %s: only payments and credits made by hand are reversed: %w",
				request.EntryID, original.Kind, ErrInvalid)
		}
		day := utcDay(request.Date)
		if day.Before(original.BillingDate) {
			return false, fmt.Errorf("entry %d is of %s, after the reversal: %w", request.EntryID,
				original.BillingDate.Format(time.DateOnly), ErrInvalid)
		}
		result, err = postReference(ctx, tx, referencePlan{kind: "reversal", advertiserID: original.AdvertiserID,
			date: day, currency: original.Currency, amount: -original.AmountMicros,
			reference: fmt.Sprintf("of entry %d", request.EntryID), reason: request.Reason,
			original: &request.EntryID, runID: request.RunID})
		return finishReference(ctx, tx, result, request.DryRun, err)
	})
	if err != nil {
		return ReferenceResult{}, fmt.Errorf("%s: %w", label, asConflict(l.explain(err)))
	}
	return result, nil
}

// ReverseRequest says what to take back.
type ReverseRequest struct {
	EntryID int64
	// Date is any instant of its UTC day, not before the original's.
	Date   time.Time
	Reason string
	RunID  string
	DryRun bool
}

// referencePlan is one entry made by hand.
type referencePlan struct {
	kind, advertiserID, currency, reference, reason, runID string

	date     time.Time
	amount   money.Micros // what the advertiser owes more
	original *int64
}

// postReference posts one entry made by hand, unless the ledger has it, and returns it.
func postReference(ctx context.Context, tx pgx.Tx, plan referencePlan) (ReferenceResult, error) {
	if _, err := tx.Exec(ctx, sqlpostgres.Query("insert_house_accounts"), plan.currency); err != nil {
		return ReferenceResult{}, fmt.Errorf("open the house's accounts: %w", err)
	}
	var reason any
	if plan.reason != "" {
		reason = plan.reason
	}
	_, err := tx.Exec(ctx, sqlpostgres.Query("plan_reference_entry"), plan.kind, plan.advertiserID, plan.date,
		plan.currency, int64(plan.amount), plan.reference, reason, plan.original)
	if err != nil {
		return ReferenceResult{}, fmt.Errorf("plan the entry: %w", err)
	}
	written, err := writePlan(ctx, tx, plan.runID)
	if err != nil {
		return ReferenceResult{}, err
	}
	entries, err := collect[Entry](ctx, tx, "select_reference_entry", plan.kind, plan.advertiserID, plan.reference)
	if err != nil {
		return ReferenceResult{}, err
	}
	if len(entries) != 1 {
		return ReferenceResult{}, fmt.Errorf("%d entries have the reference", len(entries))
	}
	return ReferenceResult{Entry: entries[0], WasPosted: written.PostedEntries == 0, LimitEvents: written.LimitEvents}, nil
}

// finishReference ends the transaction of an entry made by hand.
func finishReference(ctx context.Context, tx pgx.Tx, result ReferenceResult, isDryRun bool, err error) (bool, error) {
	if err != nil || result.WasPosted {
		return false, err
	}
	if isDryRun {
		_, err := tx.Exec(ctx, "set constraints all immediate")
		return false, err
	}
	return true, appendLink(ctx, tx)
}

// currencyOf is the advertiser's currency, or wanted where he has none yet.
func currencyOf(ctx context.Context, tx pgx.Tx, advertiserID, wanted string) (string, error) {
	var isRegistered bool
	var billed string
	err := tx.QueryRow(ctx, sqlpostgres.Query("select_currency"), advertiserID).Scan(&isRegistered, &billed)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the advertiser: %w", err)
	case !isRegistered:
		return "", fmt.Errorf("the advertiser is not registered: %w", ErrUnknown)
	case billed == "" && !currencyPattern.MatchString(wanted):
		return "", fmt.Errorf("currency %q is not an ISO 4217 code: %w", wanted, ErrInvalid)
	case billed == "":
		return wanted, nil
	}
	return billed, nil
}

// validate reports every problem of the receipt at once.
func (r Receipt) validate() error {
	var problems []error
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(format+": %w", append(args, ErrInvalid)...))
	}
	if r.Kind != KindPayment && r.Kind != KindCredit {
		report("kind %q", r.Kind)
	}
	if !validID(r.AdvertiserID) {
		report("%q is no advertiser id", r.AdvertiserID)
	}
	if r.Date.IsZero() {
		report("date is missing")
	}
	if r.AmountMicros <= 0 || r.AmountMicros%microsPerCent != 0 {
		report("amount %s is not above zero and in whole cents", r.AmountMicros)
	}
	if r.Reference == "" || !validText(r.Reference, maxReferenceCharacters) {
		report("reference %q is not a text of 1 to %d characters", r.Reference, maxReferenceCharacters)
	}
	if !validText(r.Reason, maxReasonCharacters) || r.Reason == "" && r.Kind == KindCredit {
		report("reason %q is not a text of 1 to %d characters", r.Reason, maxReasonCharacters)
	}
	if r.RunID == "" {
		report("run id is missing")
	}
	return errors.Join(problems...)
}

// validText accepts valid UTF-8 without controls, up to a number of characters.
func validText(text string, most int) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= most && !strings.ContainsFunc(text, unicode.IsControl)
}
