package ledger

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
)

// shelf is a ledger of one advertiser; balances are by day.
type shelf struct {
	entries  []ledgerpg.Entry
	balances map[string]int64
}

func (s *shelf) Balance(_ context.Context, id string) (ledgerpg.Balance, error) {
	if id != "=adv" {
		return ledgerpg.Balance{}, ledgerpg.ErrUnknown
	}
	return ledgerpg.Balance{AdvertiserID: id, Name: "<b>Seven</b>", Currency: "USD"}, nil
}

func (s *shelf) BalanceBefore(_ context.Context, _ string, day time.Time) (int64, error) {
	return s.balances[day.Format(time.DateOnly)], nil
}

func (s *shelf) EntriesBetween(context.Context, string, time.Time, time.Time) ([]ledgerpg.Entry, error) {
	return s.entries, nil
}

func (s *shelf) FindPeriod(context.Context, time.Time) (ledgerpg.Period, bool, error) {
	return ledgerpg.Period{}, true, nil
}

func (s *shelf) InSuspense(context.Context, string) (money.Micros, error) { return 5, nil }

func (s *shelf) SettledResults(context.Context, ledgerpg.SettledQuery) ([]ledgerpg.SettledResult, error) {
	return nil, nil
}

func setup(t *testing.T) (*shelf, Config) {
	t.Helper()
	day := func(text string) time.Time {
		d, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	entry := func(id int64, kind, billing string, micros int64) ledgerpg.Entry {
		billed := -micros / 100
		return ledgerpg.Entry{EntryID: id, Kind: kind, BillingDate: day(billing), BookingDate: day("2026-11-02"), Currency: "USD",
			AmountMicros: money.Micros(micros), BilledDecimal4: &billed}
	}
	reference, reason, original := "=cmd", "clicks found to be invalid after they were charged", int64(1)
	payment := entry(13, "payment", "2026-11-02", -2_000_000)
	payment.Reference = &reference
	credit := entry(14, "credit", "2026-10-30", -500_000)
	credit.Reason, credit.OriginalEntryID = &reason, &original
	return &shelf{
		entries: []ledgerpg.Entry{entry(11, "charge", "2026-11-02", 3_000_000), entry(12, "adjustment", "2026-11-02", -1_000_000), payment, credit},
		// Owed 1 before, 2 more by charges, 2 paid, 0.5 credited.
		balances: map[string]int64{"2026-11-01": -10_000, "2026-12-01": -5_000},
	}, Config{AdvertiserID: "=adv", Month: day("2026-11-17")}
}

func TestStatementLeadsFromBalanceToBalance(t *testing.T) {
	t.Parallel()
	book, cfg := setup(t)
	s, err := Build(t.Context(), cfg, book)
	if err != nil {
		t.Fatal(err)
	}
	if s.OpeningBalance != "-1.0000" || s.ClosingBalance != "-0.5000" || s.ChargedMicros != 2_000_000 ||
		s.UnattributedMicros != 2_000_000 || len(s.Payments) != 1 || len(s.Adjustments) != 1 || s.SuspenseMicros != 5 || !s.IsClosed {
		t.Errorf("statement %+v", s)
	}
	if a := s.Activity(); len(a.Credits) != 1 || a.CreditedMicros != 500_000 {
		t.Errorf("activity %+v", a)
	}
	book.balances["2026-12-01"]++
	if _, err := Build(t.Context(), cfg, book); err == nil {
		t.Error("a balance that the entries do not lead to was stated")
	}
	cfg.AdvertiserID = "nobody"
	if _, err := Build(t.Context(), cfg, book); !errors.Is(err, ErrNoBill) {
		t.Errorf("err = %v", err)
	}
	if _, err := Build(t.Context(), Config{}, book); err == nil || !strings.Contains(err.Error(), "month") {
		t.Errorf("err = %v", err)
	}
}

func TestDocumentsEscapeNames(t *testing.T) {
	t.Parallel()
	book, cfg := setup(t)
	s, err := Build(t.Context(), cfg, book)
	if err != nil {
		t.Fatal(err)
	}
	s.Campaigns = []Campaign{{CampaignID: "=1+1", Clicks: 3, BillableClicks: 2, SpendMicros: 7}, {CampaignID: "a\nb"}}
	var page, table, text strings.Builder
	if err := errors.Join(s.WriteHTML(&page), s.WriteCSV(&table), s.WriteText(&text)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<b>Seven") || !strings.Contains(page.String(), "&lt;b&gt;Seven") || strings.Contains(page.String(), "http") {
		t.Errorf("page %s", page.String())
	}
	if !strings.Contains(table.String(), "campaign,'=1+1,") || !strings.Contains(table.String(), ",'=cmd") {
		t.Errorf("table %s", table.String())
	}
	if !strings.Contains(text.String(), `"a\nb"`) || !strings.Contains(text.String(), "to entry 1: clicks found") {
		t.Errorf("text %s", text.String())
	}
}
