package ledgerpg

import (
	"errors"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// statementsOf reads all that accounts and statements are made of.
func statementsOf(t *testing.T, reader *Ledger, id string) Balance {
	t.Helper()
	balance, err := reader.Balance(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	_, before := reader.BalanceBefore(t.Context(), id, firstDay)
	_, entries := reader.EntriesBetween(t.Context(), id, firstDay, firstDay)
	_, _, period := reader.FindPeriod(t.Context(), firstDay)
	_, suspense := reader.InSuspense(t.Context(), id)
	_, settled := reader.SettledResults(t.Context(), SettledQuery{First: firstDay, Last: firstDay, AdvertiserID: id, AsOfClose: true})
	if err := errors.Join(before, entries, period, suspense, settled); err != nil {
		t.Error(err)
	}
	return balance
}

// TestReader reads with the role that may do nothing else: by the owner, who takes it on, and by a login
// that is no more than a member of it. All that writes is refused, and all that reads more.
func TestReader(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a")
	f.post(request(firstDay, charge("a", 22_345_600, 3)))
	if err := f.execute(`do $$ begin
		create role ledger_test_reader login password 'secret' in role clickledger_read;
		exception when duplicate_object then null; end $$`); err != nil {
		t.Fatal(err)
	}
	location, err := url.Parse(f.dsn)
	if err != nil {
		t.Fatal(err)
	}
	location.User = url.UserPassword("ledger_test_reader", "secret")
	for name, dsn := range map[string]string{"by the owner": f.dsn, "by a login of its own": location.String()} {
		t.Run(name, func(t *testing.T) {
			reader, err := OpenReader(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			if got := statementsOf(t, reader, "a"); got.BalanceDecimal4 != -223_456 || got.ChargedMicros != 22_345_600 {
				t.Errorf("balance %+v", got)
			}
			if _, err := reader.Post(t.Context(), request(firstDay, charge("a", 100, 1))); err == nil {
				t.Error("a reader posts")
			}
			// Without the transaction's own guard it is the role that refuses.
			for _, statement := range []string{
				"insert into advertisers (id, name) values ('b', 'B')", "update advertisers set current_balance = 0",
				"update advertisers set credit_limit = 0", "delete from advertisers", "insert into billing_ledger select * from billing_ledger",
				"update billing_ledger set amount = 0", "delete from journal_entries", "truncate billing_ledger", "drop table settlements",
				"insert into closed_periods select * from closed_periods", "select append_chain_link()", "create table mine (n int)",
				"select * from postings", "select * from advertiser_events", "select * from sealed_days", "select * from pending_checks",
				"alter table advertisers disable trigger all", "set session_replication_role = replica",
				"lock table advertisers in exclusive mode", "select id from advertisers for update",
			} {
				var refused *pgconn.PgError
				_, err := reader.pool.Exec(t.Context(), "set transaction read write; "+statement)
				if !errors.As(err, &refused) || refused.Code != codeInsufficientPrivilege {
					t.Errorf("%s: err = %v", statement, err)
				}
			}
			const readOnly = "25006"
			var refused *pgconn.PgError
			if _, err := reader.pool.Exec(t.Context(), "update advertisers set current_balance = 0 where false"); !errors.As(err, &refused) ||
				refused.Code != readOnly && refused.Code != codeInsufficientPrivilege {
				t.Errorf("in a read-only transaction: err = %v", err)
			}
		})
	}
	f.sound()
}

// TestReaderWithoutItsRole: a login that is a member of the application role alone reads all the same,
// and cannot write.
func TestReaderWithoutItsRole(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a")
	f.post(request(firstDay, charge("a", 100, 1)))
	if err := f.execute(`do $$ begin
		create role ledger_test_poster login password 'secret' in role clickledger_app;
		exception when duplicate_object then null; end $$`); err != nil {
		t.Fatal(err)
	}
	location, err := url.Parse(f.dsn)
	if err != nil {
		t.Fatal(err)
	}
	location.User = url.UserPassword("ledger_test_poster", "secret")
	reader, err := OpenReader(t.Context(), location.String())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	statementsOf(t, reader, "a")
	if _, err := reader.Post(t.Context(), request(firstDay, charge("a", 200, 1))); err == nil {
		t.Error("a reader posts")
	}
	f.sound()
}
