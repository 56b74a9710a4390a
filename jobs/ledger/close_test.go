package ledger

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
)

// book is a ledger that knows which days lack.
type book struct {
	unsettled []string
	closed    int
}

func (b *book) UnsettledDays(context.Context, time.Time) ([]string, error) { return b.unsettled, nil }

func (b *book) HeldDays(context.Context, time.Time) ([]ledgerpg.HeldDay, error) {
	return []ledgerpg.HeldDay{{BillingDate: "2026-10-05", Advertisers: []string{"a"}}}, nil
}

func (b *book) ClosePeriod(_ context.Context, r ledgerpg.CloseRequest) (ledgerpg.Period, error) {
	b.closed++
	if r.Now.Before(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) {
		return ledgerpg.Period{}, ledgerpg.ErrNotClosable
	}
	return ledgerpg.Period{Month: "2026-10"}, nil
}

func TestClose(t *testing.T) {
	t.Parallel()
	request := ledgerpg.CloseRequest{Month: time.Date(2026, 10, 9, 0, 0, 0, 0, time.UTC), Now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	b := &book{unsettled: []string{"2026-10-01", "2026-10-03", "2026-10-04", "2026-10-29", "2026-10-30", "2026-10-31"}}
	_, err := Close(t.Context(), b, request)
	var unsettled *UnsettledError
	if !errors.As(err, &unsettled) || !errors.Is(err, ledgerpg.ErrNotClosable) || b.closed != 0 ||
		!strings.Contains(err.Error(), "6 days are not settled to the end: 2026-10-01, 2026-10-03, 2026-10-04, 2026-10-29 to 2026-10-31:") ||
		!strings.Contains(err.Error(), "clickledger reconcile --date D --post") {
		t.Errorf("closed %d times: %v", b.closed, err)
	}
	early := request
	early.Now = early.Now.Add(-time.Second)
	if _, err := Close(t.Context(), b, early); errors.As(err, &unsettled) || !errors.Is(err, ledgerpg.ErrNotClosable) {
		t.Errorf("a month that is not over: %v", err)
	}
	b.unsettled = nil
	closed, err := Close(t.Context(), b, request)
	if err != nil || closed.Month != "2026-10" || len(closed.Held) != 1 {
		t.Errorf("closed %+v, %v", closed, err)
	}
}
