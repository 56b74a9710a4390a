package ledgerpg

import (
	"errors"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/clickledger/clickledger/internal/money"
)

func TestPostsDifferencesOnly(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a", "b", "c", "h")
	charges := []Charge{charge("b", 2_000_000, 20), charge("a", 1_234_567, 10), charge("c", 0, 0), charge("h", 5_000_000, 5)}

	first := f.post(request(firstDay.Add(23*time.Hour), charges...))
	if first.PostedEntries != 3 || first.Charges != 3 || first.Adjustments != 0 || first.DeltaMicros != 8_234_567 {
		t.Fatalf("first = %+v", first)
	}
	again := request(firstDay, charges...)
	again.RunID = "run-2"
	if got := f.post(again); got.PostedEntries != 0 || got.DeltaMicros != 0 {
		t.Fatalf("again = %+v", got)
	}
	// a goes up, b is absent and goes down to zero, c gets its first charge, h is held.
	changed := request(firstDay, charge("a", 1_500_000, 12), charge("c", 10, 1))
	changed.Held = []string{"h", "nobody"}
	third := f.post(changed)
	if third.PostedEntries != 3 || third.Charges != 1 || third.Adjustments != 2 ||
		third.DeltaMicros != 1_500_000-1_234_567-2_000_000+10 {
		t.Fatalf("third = %+v", third)
	}
	want := map[string]int64{"a": 1_500_000, "b": 0, "c": 10, "h": 5_000_000}
	if got := f.dayMicros(firstDay); !maps.Equal(got, want) {
		t.Errorf("day totals = %v, want %v", got, want)
	}
	// Up again after zero: a third revision.
	f.post(request(firstDay, charge("a", 1_500_000, 12), charge("b", 70, 1), charge("c", 10, 1), charge("h", 5_000_000, 5)))
	entries, err := f.ledger.EntriesFor(t.Context(), firstDay, "b")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3 {
		t.Fatalf("entries = %+v", entries)
	}
	for i, want := range []struct {
		kind           string
		amount, billed int64
	}{{"charge", 2_000_000, -20_000}, {"adjustment", -2_000_000, 20_000}, {"adjustment", 70, -1}} {
		got := entries[i]
		if got.Kind != want.kind || int64(got.AmountMicros) != want.amount || got.Revision != i+1 ||
			got.BilledDecimal4 == nil || *got.BilledDecimal4 != want.billed {
			t.Errorf("entry %d = %+v, want %+v", i, got, want)
		}
		if i > 0 && (got.OriginalEntryID == nil || *got.OriginalEntryID != entries[0].EntryID) {
			t.Errorf("entry %d names %v, want %d", i, got.OriginalEntryID, entries[0].EntryID)
		}
	}
	// Another day is not touched by the first.
	f.post(request(firstDay.AddDate(0, 0, 1), charge("a", 7, 1)))
	if got := f.dayMicros(firstDay)["a"]; got != 1_500_000 {
		t.Errorf("first day of a = %d", got)
	}
	if totals := f.sound(); totals.Entries != 8 || len(totals.Suspense) != 0 {
		t.Errorf("totals = %+v", totals)
	}
	balances, err := f.ledger.Balances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := balances[0]; got.AdvertiserID != "a" || got.BalanceDecimal4 != -15_000 || got.ChargedMicros != 1_500_007 {
		t.Errorf("balance = %+v", got)
	}
	settlements, err := f.ledger.Settlements(t.Context(), 10)
	if err != nil || len(settlements) != 5 || settlements[3].PostedEntries != 0 || settlements[3].RunID != "run-2" {
		t.Errorf("settlements = %+v, %v", settlements, err)
	}
}

func TestTwoPostsAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a", "b")
	const runs = 4
	results := make([]PostResult, runs)
	errs := make([]error, runs)
	var group sync.WaitGroup
	for i := range runs {
		group.Go(func() {
			results[i], errs[i] = f.ledger.Post(t.Context(), request(firstDay, charge("a", 100, 1), charge("b", 300, 1)))
		})
	}
	group.Wait()
	posted := 0
	for i := range runs {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if n := results[i].PostedEntries; n != 0 && n != 2 {
			t.Errorf("run %d posted %d entries", i, n)
		}
		posted += results[i].PostedEntries
	}
	if posted != 2 {
		t.Errorf("posted %d entries in all, want 2", posted)
	}
	f.sound()
}

func TestUnknownAdvertisersGoToSuspenseAndMove(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("known")
	before := time.Now().Add(-time.Minute)
	result := f.post(request(firstDay, charge("known", 100, 1), charge("ghost", 555_555, 5)))
	if result.PostedEntries != 2 || result.SuspenseEntries != 1 || result.SuspenseMicros != 555_555 {
		t.Fatalf("result = %+v", result)
	}
	f.post(request(firstDay, charge("known", 100, 1), charge("ghost", 500_050, 4)))
	f.post(request(firstDay.AddDate(0, 0, 1), charge("ghost", 50, 1)))
	totals := f.sound()
	if len(totals.Suspense) != 2 {
		t.Fatalf("suspense = %+v", totals.Suspense)
	}
	item := totals.Suspense[0]
	if item.AdvertiserID != "ghost" || item.BillingDate != "2026-11-20" || item.AmountMicros != 500_050 ||
		item.Currency != "USD" || item.IsRegistered || item.FirstPostedAt.Before(before) {
		t.Errorf("item = %+v", item)
	}
	if entries, moved, err := f.ledger.MoveSuspense(t.Context(), "move-0"); err != nil || entries != 0 || moved != 0 {
		t.Errorf("nobody is registered, moved %d entries, %d, %v", entries, moved, err)
	}
	f.register("ghost")
	// A correction after the registration and before the move goes to the receivable.
	f.post(request(firstDay, charge("known", 100, 1), charge("ghost", 500_000, 4)))
	entries, moved, err := f.ledger.MoveSuspense(t.Context(), "move-1")
	if err != nil || entries != 2 || moved != 500_100 {
		t.Fatalf("moved %d entries, %d, %v", entries, moved, err)
	}
	if totals := f.sound(); len(totals.Suspense) != 0 {
		t.Errorf("suspense = %+v", totals.Suspense)
	}
	if entries, _, err := f.ledger.MoveSuspense(t.Context(), "move-2"); err != nil || entries != 0 {
		t.Errorf("moved again: %d, %v", entries, err)
	}
	want := "-0.5000" // 500,050 micros in all, half to even
	if got := scalar[string](f, "select current_balance::text from advertisers where id = 'ghost'"); got != want {
		t.Errorf("balance = %s, want %s", got, want)
	}
	if got := f.dayMicros(firstDay)["ghost"]; got != 500_000 {
		t.Errorf("day total = %d", got)
	}
	if got := f.post(request(firstDay, charge("known", 100, 1), charge("ghost", 500_000, 4))); got.PostedEntries != 0 {
		t.Errorf("again = %+v", got)
	}
	f.sound()
}

func TestSameKeyWithAnotherPayloadIsAConflict(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a", "b")
	// The key of (first day, a, charge, 1), filed under another day: what only a broken program or
	// a hand could do.
	err := f.execute(`
		with account as (
			insert into accounts values (1, 'revenue', null, 'USD', ''), (2, 'suspense', null, 'USD', '')
		), entry as (
			insert into journal_entries (entry_id, idempotency_key, payload_hash, billing_date, booking_date,
				advertiser_id, kind, revision, currency, amount_micros, day_micros, day_clicks, is_suspense,
				cumulative_micros, policy_hash, run_id, entry_hash)
			values (1, ledger_idempotency_key('2026-11-20', 'a', 'charge', 1), 'other', '2026-11-01',
				'2026-11-01', 'a', 'charge', 1, 'USD', 5, 5, 1, true, 0, 'p', 'r', '')
		)
		insert into postings values (1, 1, 2, 'USD', 'D', 5), (1, 2, 1, 'USD', 'C', 5)`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.ledger.Post(t.Context(), request(firstDay, charge("a", 100, 1), charge("b", 100, 1)))
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), `advertiser "a"`) {
		t.Fatalf("err = %v, want %v", err, ErrConflict)
	}
	if got := scalar[int](f, "select count(*)::int from journal_entries"); got != 1 {
		t.Errorf("%d entries after a conflict, want the forged one alone", got)
	}
	report, err := f.ledger.Verify(t.Context())
	if err != nil || report.OK() {
		t.Errorf("verify did not see the forged entry: %+v, %v", report, err)
	}
}

func TestAnotherCurrencyIsAConflict(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a")
	f.post(request(firstDay, charge("a", 100, 1), charge("ghost", 100, 1)))
	for _, charge := range []Charge{charge("a", 100, 1), charge("ghost", 100, 1)} {
		euro := request(firstDay, charge)
		euro.Currency = "EUR"
		if _, err := f.ledger.Post(t.Context(), euro); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: err = %v, want %v", charge.AdvertiserID, err, ErrConflict)
		}
	}
	f.sound()
}

func TestIdempotencyKeysAreDistinctAndFit(t *testing.T) {
	t.Parallel()
	f := setup(t)
	long := strings.Repeat("x", 63)
	seen := map[string]string{}
	for _, id := range []string{
		"a", "A", "a/1", "1/a", "#a", strings.Repeat("x", 32), strings.Repeat("x", 33), long + "1", long + "2",
		strings.Repeat("é", 32), strings.Repeat("é", 64),
	} {
		for _, day := range []string{"2026-11-20", "2026-11-21"} {
			for _, kind := range []string{"charge", "adjustment", "transfer"} {
				for _, revision := range []int{1, 11, 2147483647} {
					key := scalar[string](f, "select ledger_idempotency_key($1::date, $2, $3, $4)",
						day, id, kind, revision)
					tuple := strings.Join([]string{day, id, kind, strconv.Itoa(revision)}, "\x1f")
					if other, ok := seen[key]; ok || utf8.RuneCountInString(key) > 64 {
						t.Fatalf("key %q of %q, also of %q", key, tuple, other)
					}
					seen[key] = tuple
				}
			}
		}
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a")
	dry := request(firstDay, charge("a", 100, 1))
	dry.DryRun = true
	if got := f.post(dry); got.PostedEntries != 1 || got.DeltaMicros != 100 {
		t.Errorf("dry run = %+v", got)
	}
	if totals := f.sound(); totals.Entries != 0 {
		t.Errorf("totals = %+v", totals)
	}
}

func TestInvalidRequests(t *testing.T) {
	t.Parallel()
	f := setup(t)
	bad := PostRequest{
		Currency: "usd",
		Charges: []Charge{
			charge("a", -1, 0), charge("a", 1, 1), charge("", 1, 1), charge("x\x1fy", 1, 1), charge(strings.Repeat("é", 65), 1, 1),
		},
	}
	_, err := f.ledger.Post(t.Context(), bad)
	if !errors.Is(err, ErrInvalid) {
		t.Fatalf("err = %v", err)
	}
	for _, want := range []string{
		"billing date", `currency "usd"`, "run id", "policy hash", `"a" has negative`, `"a" is charged twice`,
		`"x\x1fy" is no advertiser id`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	ok := request(firstDay, charge(strings.Repeat("é", 64), 1, 1))
	f.post(ok)
	if _, err := f.ledger.RegisterAdvertisers(t.Context(), []Advertiser{{ID: "x"}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("register without a name: %v", err)
	}
	// More than DECIMAL(15,4) holds: refused as a whole.
	f.register("rich")
	huge := request(firstDay, charge("rich", 200_000_000_000*money.PerUnit, 1))
	if _, err := f.ledger.Post(t.Context(), huge); err == nil {
		t.Error("an amount over the column's range was posted")
	}
	f.sound()
}
