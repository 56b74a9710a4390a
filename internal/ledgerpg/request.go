package ledgerpg

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/clickledger/clickledger/internal/money"
)

// maxIDCharacters is the length of an advertiser's ID, as in the lesson's VARCHAR(64).
const maxIDCharacters = 64

// ErrInvalid is wrapped by errors about a request that makes no sense; nothing was tried.
var ErrInvalid = errors.New("invalid request")

var currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)

// Charge is one advertiser's billable total of a day.
type Charge struct {
	AdvertiserID string
	// SpendMicros is absolute, not a difference; at least 0.
	SpendMicros money.Micros
	// Clicks is the number of billable clicks in the total.
	Clicks int64
	// InvalidClicks is the number of clicks of the day that are not billed as invalid. Where it has
	// grown and the total has fallen, the difference is a credit.
	InvalidClicks int64
}

// PostRequest is what the newest batch says about one billing day.
type PostRequest struct {
	// BillingDate is any instant of the UTC day.
	BillingDate time.Time
	// Currency is an ISO 4217 code such as "USD".
	Currency string
	// PolicyHash is the hash of the policy that judged the clicks.
	PolicyHash string
	// RunID names the run in the entries; it is no part of their identity.
	RunID string
	// Charges are all advertisers of the day, in any order, each once. An advertiser that was
	// posted for the day before and is absent is taken to owe nothing for it.
	Charges []Charge
	// Held are advertisers that are left as they are, whether they are in Charges or not.
	Held []string
	// Result names the batch's result that Charges are taken from, and ResultHash its manifest; CutAt ends
	// what was taken. Empty: verification cannot tie the day to a result.
	Result, ResultHash string
	CutAt              time.Time
	// DryRun works everything out, checks included, and rolls it back.
	DryRun bool
}

// validate reports every problem of the request at once.
func (r PostRequest) validate() error {
	var problems []error
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(format+": %w", append(args, ErrInvalid)...))
	}
	if r.BillingDate.IsZero() {
		report("billing date is missing")
	}
	if !currencyPattern.MatchString(r.Currency) {
		report("currency %q is not an ISO 4217 code", r.Currency)
	}
	if r.RunID == "" {
		report("run id is missing")
	}
	if r.PolicyHash == "" {
		report("policy hash is missing")
	}
	if strings.ContainsFunc(r.RunID+r.PolicyHash+r.Result+r.ResultHash, unicode.IsControl) {
		report("run id, policy hash or result holds a control character")
	}
	ids := make([]string, 0, len(r.Charges))
	for _, charge := range r.Charges {
		if charge.SpendMicros < 0 || charge.Clicks < 0 || charge.InvalidClicks < 0 {
			report("advertiser %q has negative spend or clicks", charge.AdvertiserID)
		}
		if !validID(charge.AdvertiserID) {
			report("%q is no advertiser id", charge.AdvertiserID)
		}
		ids = append(ids, charge.AdvertiserID)
	}
	slices.Sort(ids)
	for i := 1; i < len(ids); i++ {
		if ids[i] == ids[i-1] {
			report("advertiser %q is charged twice", ids[i])
		}
	}
	for _, id := range r.Held {
		if !validID(id) {
			report("held %q is no advertiser id", id)
		}
	}
	const shown = 10
	if len(problems) > shown {
		problems = append(problems[:shown], fmt.Errorf("and %d more: %w", len(problems)-shown, ErrInvalid))
	}
	return errors.Join(problems...)
}

// validID accepts what the wire contract accepts: 1 to 64 characters of valid UTF-8, no controls.
func validID(id string) bool {
	return id != "" && utf8.ValidString(id) && utf8.RuneCountInString(id) <= maxIDCharacters &&
		!strings.ContainsFunc(id, unicode.IsControl)
}

// utcDay is the midnight that starts the instant's UTC day.
func utcDay(instant time.Time) time.Time {
	year, month, day := instant.UTC().Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}
