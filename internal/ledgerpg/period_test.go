package ledgerpg

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

func TestClosedPeriodTakesNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a")
	f.post(request(date("2026-09-29"), Charge{AdvertiserID: "a", SpendMicros: 500, Clicks: 5}))
	f.post(request(date("2026-10-05"), charge("a", 100, 1)))
	for name, request := range map[string]CloseRequest{
		"a month before is open": {Month: date("2026-10-01"), RunID: "r", Now: date("2026-12-01")},
		"the month is not over":  {Month: date("2026-09-01"), RunID: "r", Now: date("2026-09-30")},
	} {
		if _, err := f.ledger.ClosePeriod(t.Context(), request); !errors.Is(err, ErrNotClosable) {
			t.Errorf("%s: err = %v", name, err)
		}
	}
	dry, err := f.ledger.ClosePeriod(t.Context(), CloseRequest{Month: date("2026-09-01"), RunID: "r", Now: date("2026-12-01"), DryRun: true})
	if err != nil || dry.Entries != 1 {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
	closed := f.closeMonth(date("2026-09-15"))
	if closed.WasClosed || closed.Entries != 1 || closed.AmountMicros != 500 || closed.Month != "2026-09" {
		t.Errorf("closed %+v", closed)
	}
	if again := f.closeMonth(date("2026-09-15")); !again.WasClosed || again.PeriodHash != closed.PeriodHash {
		t.Errorf("closed again %+v", again)
	}
	if _, err := f.ledger.ClosePeriod(t.Context(), CloseRequest{Month: date("2026-08-01"), RunID: "r", Now: date("2026-12-01")}); !errors.Is(err, ErrNotClosable) {
		t.Errorf("a month before the closed one: err = %v", err)
	}
	// Two late clicks and one that is found invalid: both are booked on the first open day.
	f.post(request(date("2026-09-29"), Charge{AdvertiserID: "a", SpendMicros: 700, Clicks: 7}))
	f.post(request(date("2026-09-29"), Charge{AdvertiserID: "a", SpendMicros: 600, Clicks: 6, InvalidClicks: 1}))
	entries, err := f.ledger.EntriesFor(t.Context(), date("2026-09-29"), "a")
	if err != nil || len(entries) != 3 {
		t.Fatalf("entries %+v, %v", entries, err)
	}
	for i, want := range []struct {
		kind    string
		booking string
	}{{"charge", "2026-09-29"}, {"adjustment", "2026-10-01"}, {"credit", "2026-10-01"}} {
		got := entries[i]
		if got.Kind != want.kind || !got.BookingDate.Equal(date(want.booking)) ||
			i > 0 && (got.OriginalEntryID == nil || *got.OriginalEntryID != entries[0].EntryID || got.Reason == nil) {
			t.Errorf("entry %d: %+v, want %+v", i, got, want)
		}
	}
	// Whoever books into the closed month, it is refused.
	err = f.execute(`insert into journal_entries (entry_id, idempotency_key, payload_hash, billing_date, booking_date, advertiser_id, kind,
		revision, currency, amount_micros, day_micros, day_clicks, is_suspense, cumulative_micros, policy_hash, run_id, entry_hash)
		values (99, 'k', 'h', '2026-09-30', '2026-09-30', 'z', 'charge', 1, 'USD', 5, 5, 1, true, 0, 'p', 'r', '')`)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.ConstraintName != "closed_period" {
		t.Errorf("booked into a closed month: %v", err)
	}
	f.sound()
}

// TestUnsettledDays: a day is settled by a run that covers all of it, though it had nobody to bill.
func TestUnsettledDays(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a")
	month := date("2026-10-01")
	settle := func(day time.Time, cut time.Duration, held ...string) {
		r := request(day, charge("a", 100, 1))
		if day.Day() == 31 {
			r.Charges = nil
		}
		r.Result, r.ResultHash, r.CutAt, r.Held = "results/x", "00", day.Add(cut), held
		f.post(r)
	}
	for day := month; day.Month() == month.Month(); day = day.AddDate(0, 0, 1) {
		switch day.Day() {
		case 7: // never
		case 9:
			settle(day, 24*time.Hour-time.Minute) // in progress
		case 11:
			settle(day, 24*time.Hour)
			settle(day, time.Hour) // an earlier cut takes nothing back
		case 13:
			settle(day, 24*time.Hour, "b", "c")
		case 14:
			settle(day, 24*time.Hour, "b")
			settle(day, 24*time.Hour)
		default:
			settle(day, 24*time.Hour)
		}
	}
	f.post(request(date("2026-10-07"), charge("a", 5, 1))) // one that does not say how far it came
	days, err := f.ledger.UnsettledDays(t.Context(), month.AddDate(0, 0, 20))
	if want := []string{"2026-10-07", "2026-10-09"}; err != nil || !slices.Equal(days, want) {
		t.Errorf("unsettled: %v, %v, want %v", days, err, want)
	}
	held, err := f.ledger.HeldDays(t.Context(), month)
	if err != nil || len(held) != 1 || held[0].BillingDate != "2026-10-13" || !slices.Equal(held[0].Advertisers, []string{"b", "c"}) {
		t.Errorf("held: %+v, %v", held, err)
	}
	f.closeMonth(month)
	if days, err := f.ledger.UnsettledDays(t.Context(), month); err != nil || len(days) != 0 {
		t.Errorf("of a closed month: %v, %v", days, err)
	}
}

func TestCreditLimitIsReportedWhenCrossed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	if _, err := f.ledger.RegisterAdvertisers(t.Context(), []Advertiser{{ID: "a", Name: "A", CreditLimitMicros: 10_000_000}}); err != nil {
		t.Fatal(err)
	}
	if got := f.post(request(firstDay, charge("a", 10_000_000, 1))); len(got.LimitEvents) != 0 {
		t.Errorf("at the limit: %+v", got.LimitEvents)
	}
	got := f.post(request(firstDay, charge("a", 10_000_100, 1)))
	if len(got.LimitEvents) != 1 || got.LimitEvents[0].Kind != "limit_crossed" || got.LimitEvents[0].BalanceDecimal4 != -100_001 {
		t.Errorf("over the limit: %+v", got.LimitEvents)
	}
	if got := f.post(request(firstDay.AddDate(0, 0, 1), charge("a", 100, 1))); len(got.LimitEvents) != 0 {
		t.Errorf("still over it: %+v", got.LimitEvents)
	}
	if got := f.receipt(KindPayment, "a", firstDay, 5_000_000, "bank", ""); len(got.LimitEvents) != 1 || got.LimitEvents[0].Kind != "limit_cleared" {
		t.Errorf("paid: %+v", got.LimitEvents)
	}
	if n := scalar[int](f, "select count(*)::int from advertiser_events where advertiser_id = 'a'"); n != 3 {
		t.Errorf("%d events, want registration and two crossings", n)
	}
	f.sound()
}

// TestLeastPrivilege posts as a login that is no more than a member of the application role.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a")
	if err := f.execute(`do $$ begin
		create role ledger_test_login login password 'secret' in role clickledger_app;
		exception when duplicate_object then null; end $$`); err != nil {
		t.Fatal(err)
	}
	location, err := url.Parse(f.dsn)
	if err != nil {
		t.Fatal(err)
	}
	location.User = url.UserPassword("ledger_test_login", "secret")
	ledger, err := Open(t.Context(), location.String())
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	if _, err := ledger.Post(t.Context(), request(firstDay, charge("a", 100, 1), charge("ghost", 5, 1))); err != nil {
		t.Error(err)
	}
	if _, err := ledger.PostReceipt(t.Context(), receipt(KindPayment, "a", firstDay, 10_000, "bank", "")); err != nil {
		t.Error(err)
	}
	if _, err := ledger.RegisterAdvertisers(t.Context(), []Advertiser{{ID: "ghost", Name: "Known"}}); err != nil {
		t.Error(err)
	}
	if _, err := ledger.ClosePeriod(t.Context(), CloseRequest{Month: firstDay, RunID: "r", Now: date("2026-12-01")}); err != nil {
		t.Error(err)
	}
	for _, statement := range []string{
		"update postings set amount_micros = 1", "delete from journal_entries", "insert into chain_links select * from chain_links",
		"insert into pending_checks values (default, 1, 1)", "update advertisers set credit_limit = 0", "drop table accounts",
		"set session_replication_role = replica", "truncate billing_ledger",
	} {
		var refused *pgconn.PgError
		if _, err := ledger.pool.Exec(t.Context(), statement); !errors.As(err, &refused) || refused.Code != codeInsufficientPrivilege {
			t.Errorf("%s: err = %v", statement, err)
		}
	}
	f.sound()
}

// TestMigratesWhatIsThere brings a ledger of the first version with entries up to date.
func TestMigratesWhatIsThere(t *testing.T) {
	t.Parallel()
	const name = "migrated_with_entries"
	if err := createDatabase(t.Context(), name, "template1"); err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(dsnOf(name))
	if err != nil {
		t.Fatal(err)
	}
	setRuntime(config)
	db := stdlib.OpenDB(*config)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, sqlpostgres.Migrations())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	// What the program of that version wrote for one charge and its adjustment.
	if _, err := db.ExecContext(t.Context(), strings.Join([]string{
		"insert into advertisers (id, name, current_balance) values ('a', 'A', -0.0150)",
		"insert into accounts values (1, 'revenue', null, 'USD'), (2, 'suspense', null, 'USD'), (3, 'receivable', 'a', 'USD')",
		`insert into journal_entries (entry_id, idempotency_key, payload_hash, billing_date, advertiser_id, kind, revision,
			original_entry_id, currency, amount_micros, day_micros, day_clicks, is_suspense, cumulative_micros, policy_hash, run_id)
			select n, k, ledger_payload_hash(k, 'USD', m, d, n, 'p'), '2026-11-20', 'a', kind, n, o, 'USD', m, d, n, false, d, 'p', 'r'
			from (values (1, 'charge', null::bigint, 10000::bigint, 10000::bigint), (2, 'adjustment', 1, 5000, 15000)) as v (n, kind, o, m, d)
			cross join lateral (select ledger_idempotency_key('2026-11-20', 'a', kind, n)) as k (k)`,
		`insert into postings select n, l, case l when 1 then 3 else 1 end, 'USD', case l when 1 then 'D' else 'C' end, 15000 - 5000 * n
			from generate_series(1, 2) as n, generate_series(1, 2) as l`,
		`insert into billing_ledger (transaction_id, advertiser_id, amount, version_id, description)
			select idempotency_key, 'a', -amount_micros::decimal / 1000000, revision, kind || ' for clicks of 2026-11-20, USD'
			|| coalesce(', to entry ' || original_entry_id, '') from journal_entries`,
		`insert into settlements (run_id, billing_date, currency, policy_hash, advertisers, held_advertisers, suspense_advertisers,
			posted_entries, delta_micros) values ('r', '2026-11-20', 'USD', 'p', 1, 0, 0, 2, 15000)`,
	}, ";")); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "update billing_ledger set created_at = created_at where false"); err == nil {
		t.Error("the guards of the first version are missing")
	}
	if err := Migrate(t.Context(), dsnOf(name)); err != nil {
		t.Fatal(err)
	}
	ledger, err := Open(t.Context(), dsnOf(name))
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	f := &fixture{t: t, ledger: ledger}
	f.sound()
	// Down to the first version and up again, while it holds nothing that that version did not know.
	if _, err := provider.DownTo(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.sound()
	f.post(request(firstDay, charge("a", 20_000, 3)))
	f.sound()
}
