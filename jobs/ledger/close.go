package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
)

// Closer is what closing a month needs of the ledger.
type Closer interface {
	UnsettledDays(ctx context.Context, month time.Time) ([]string, error)
	HeldDays(ctx context.Context, month time.Time) ([]ledgerpg.HeldDay, error)
	ClosePeriod(ctx context.Context, request ledgerpg.CloseRequest) (ledgerpg.Period, error)
}

// UnsettledError says that a month cannot be closed before these days are settled. It wraps
// ledgerpg.ErrNotClosable.
type UnsettledError struct {
	Month string   // YYYY-MM
	Days  []string // YYYY-MM-DD, in order
}

func (e *UnsettledError) Error() string {
	days := "days are"
	if len(e.Days) == 1 {
		days = "day is"
	}
	return fmt.Sprintf("close %s: %d %s not settled to the end: %s: settle each with `clickledger batch --date D` and then "+
		"`clickledger reconcile --date D --post`, one without clicks too: %v", e.Month, len(e.Days), days, spans(e.Days), ledgerpg.ErrNotClosable)
}

// Unwrap returns ledgerpg.ErrNotClosable.
func (e *UnsettledError) Unwrap() error { return ledgerpg.ErrNotClosable }

// Closed is a closed month.
type Closed struct {
	ledgerpg.Period

	// Held are the days of which somebody was not posted. What they owe becomes an adjustment.
	Held []ledgerpg.HeldDay `json:"held"`
}

// Close closes a month of which every day is settled to its end; *UnsettledError where one is not.
func Close(ctx context.Context, book Closer, request ledgerpg.CloseRequest) (*Closed, error) {
	year, month, _ := request.Month.UTC().Date()
	first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	if isOver := !request.Now.Before(first.AddDate(0, 1, 0)); isOver { // else ClosePeriod says so
		days, err := book.UnsettledDays(ctx, first)
		if err != nil {
			return nil, err
		}
		if len(days) > 0 {
			return nil, &UnsettledError{Month: first.Format("2006-01"), Days: days}
		}
	}
	period, err := book.ClosePeriod(ctx, request)
	if err != nil {
		return nil, err
	}
	held, err := book.HeldDays(ctx, first)
	if err != nil {
		return nil, err
	}
	return &Closed{period, held}, nil
}

// spans writes days in order, those that follow each other as "first to last".
func spans(days []string) string {
	var parts []string
	for i := 0; i < len(days); {
		j := i
		for j+1 < len(days) && follows(days[j], days[j+1]) {
			j++
		}
		switch j - i {
		case 0:
			parts = append(parts, days[i])
		case 1:
			parts = append(parts, days[i], days[j])
		default:
			parts = append(parts, days[i]+" to "+days[j])
		}
		i = j + 1
	}
	return strings.Join(parts, ", ")
}

func follows(day, next string) bool {
	at, err := time.Parse(time.DateOnly, day)
	return err == nil && at.AddDate(0, 0, 1).Format(time.DateOnly) == next
}
