package ledgerpg

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/clickledger/clickledger/internal/embedpg"
	"github.com/clickledger/clickledger/internal/money"
)

// The property: whatever totals come in whatever order, the sum of an advertiser's billing_ledger
// is the rounded sum of his days. Roundings never add up.
func TestRoundingNeverDrifts(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ids := []string{"a", "b", "c", "d"}
	f.register(ids...)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	latest := map[string]map[int]int64{}
	for _, id := range ids {
		latest[id] = map[int]int64{}
	}
	for range 60 {
		day := random.IntN(5)
		var charges []Charge
		for _, id := range ids {
			delete(latest[id], day)
			if random.IntN(5) == 0 {
				continue
			}
			micros := random.Int64N(1000)
			if random.IntN(2) == 0 {
				micros = random.Int64N(12) * 50 // ties
			}
			latest[id][day] = micros
			charges = append(charges, charge(id, micros, 1))
		}
		random.Shuffle(len(charges), func(i, j int) { charges[i], charges[j] = charges[j], charges[i] })
		f.post(request(firstDay.AddDate(0, 0, day), charges...))
		for _, id := range ids {
			var sum int64
			for _, micros := range latest[id] {
				sum += micros
			}
			want := -money.RoundHalfEvenToDecimal4(sum)
			got := scalar[int64](f,
				"select coalesce(sum(amount) * 10000, 0)::bigint from billing_ledger where advertiser_id = $1", id)
			if got != want {
				t.Fatalf("seed %d: %s was billed %d, want %d of %d micros", seed, id, got, want, sum)
			}
		}
	}
	f.sound()
}

func TestSQLRoundsLikeGo(t *testing.T) {
	t.Parallel()
	f := setup(t)
	values := []int64{1<<63 - 1, -1 << 62}
	for v := int64(-1100); v <= 1100; v++ {
		values = append(values, v)
	}
	rows, err := f.admin.Query(t.Context(), "select v, round_half_even_decimal4(v) from unnest($1::bigint[]) as v", values)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var value, got int64
		if err := rows.Scan(&value, &got); err != nil {
			t.Fatal(err)
		}
		if want := money.RoundHalfEvenToDecimal4(value); got != want {
			t.Errorf("round(%d) = %d, want %d", value, got, want)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestNothingPostedCanBeEdited(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a")
	f.post(request(firstDay, charge("a", 100, 1)))
	for _, statement := range []string{
		"update journal_entries set amount_micros = 1",
		"delete from journal_entries",
		"truncate journal_entries cascade",
		"update postings set amount_micros = amount_micros + 1",
		"delete from postings",
		"truncate postings",
		"update billing_ledger set amount = 0",
		"delete from billing_ledger where false",
		"truncate billing_ledger",
		"delete from settlements",
		"update accounts set currency = 'EUR'",
	} {
		// Even the owner and superuser is refused.
		var refused *pgconn.PgError
		if err := f.execute(statement); !errors.As(err, &refused) || !strings.Contains(refused.Message, "refused") {
			t.Errorf("%s: err = %v", statement, err)
		}
		if _, err := f.ledger.pool.Exec(t.Context(), statement); err == nil {
			t.Errorf("%s: done by the application role", statement)
		}
	}
	for _, statement := range []string{
		"update advertisers set credit_limit = 0", "delete from advertisers", "drop table postings",
		"alter table postings disable trigger all",
	} {
		var refused *pgconn.PgError
		_, err := f.ledger.pool.Exec(t.Context(), statement)
		if !errors.As(err, &refused) || refused.Code != codeInsufficientPrivilege {
			t.Errorf("%s by the application role: err = %v", statement, err)
		}
	}
	if err := f.execute("delete from advertisers where id = 'a'"); err == nil {
		t.Error("an advertiser with postings was deleted")
	}
	f.sound()
}

func TestUnbalancedEntriesAreRefusedAtCommit(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register("a")
	f.post(request(firstDay, charge("a", 100, 1)))
	const entry = `insert into journal_entries (entry_id, idempotency_key, payload_hash, billing_date, booking_date,
		advertiser_id, kind, revision, currency, amount_micros, day_micros, day_clicks, is_suspense, cumulative_micros,
		policy_hash, run_id, entry_hash) values (99, 'k', 'h', '2026-11-20', '2026-11-20', 'z', 'charge', 1, 'USD', 5, 5, 1,
		true, 0, 'p', 'r', '');`
	revenue := scalar[string](f, "select account_id::text from accounts where account_kind = 'revenue'")
	suspense := scalar[string](f, "select account_id::text from accounts where account_kind = 'suspense'")
	leg := func(id, leg, account, side, amount string) string {
		return "insert into postings values (" + id + ", " + leg + ", " + account + ", 'USD', '" + side + "', " + amount + ");"
	}
	for name, statements := range map[string]string{
		"no legs":            entry,
		"one leg":            entry + leg("99", "1", suspense, "D", "5"),
		"unequal":            entry + leg("99", "1", suspense, "D", "5") + leg("99", "2", revenue, "C", "4"),
		"same side":          entry + leg("99", "1", suspense, "D", "5") + leg("99", "2", revenue, "D", "5"),
		"a gap in the legs":  entry + leg("99", "1", suspense, "D", "5") + leg("99", "3", revenue, "C", "5"),
		"other amount":       entry + leg("99", "1", suspense, "D", "4") + leg("99", "2", revenue, "C", "4"),
		"unknown account":    entry + leg("99", "1", "4711", "D", "5") + leg("99", "2", revenue, "C", "5"),
		"third leg later":    leg("1", "3", revenue, "C", "5"),
		"two legs later":     leg("1", "3", suspense, "D", "5") + leg("1", "4", revenue, "C", "5"),
		"taken leg later":    leg("1", "2", revenue, "C", "5"),
		"another currency":   entry + leg("99", "1", suspense, "D", "5") + strings.ReplaceAll(leg("99", "2", revenue, "C", "5"), "USD", "EUR"),
		"posting to nowhere": leg("1234", "1", revenue, "C", "5"),
	} {
		if err := f.execute("begin;" + statements + "commit;"); err == nil {
			t.Errorf("%s: committed", name)
		}
		if err := f.execute("rollback"); err != nil {
			t.Fatal(err)
		}
	}
	// The role that posts cannot lift the check by taking the note of it away.
	if _, err := f.ledger.pool.Exec(t.Context(), "begin;"+entry+"delete from pending_checks; commit"); err == nil {
		t.Error("the application role deleted the note of a check")
	}
	if err := f.execute("begin;" + entry + leg("99", "1", suspense, "D", "5") + leg("99", "2", revenue, "C", "5") + "commit;"); err != nil {
		t.Errorf("a balanced entry was refused: %v", err)
	}
}

func TestVerifySeesTampering(t *testing.T) {
	t.Parallel()
	for name, tamper := range map[string]string{
		"balances":      "update advertisers set current_balance = current_balance + 0.0001 where id = 'a'",
		"hashes":        "update journal_entries set day_clicks = day_clicks + 1 where entry_id = 1",
		"entry_balance": "update postings set amount_micros = amount_micros + 1 where entry_id = 1 and leg = 2",
		"entry_legs":    "update postings set side = case side when 'D' then 'C' else 'D' end where entry_id = 1",
		"billing_rows":  "delete from billing_ledger where version_id = 2",
		"rounding":      "update billing_ledger set amount = amount + 0.0001 where version_id = 2",
		"revisions":     "update journal_entries set original_entry_id = 2 where kind = 'adjustment'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.register("a", "b")
			f.post(request(firstDay, charge("a", 100, 1), charge("b", 100, 1)))
			f.post(request(firstDay, charge("a", 250, 2), charge("b", 100, 1)))
			f.sound()
			// As only a superuser can: triggers off.
			if err := f.execute("set session_replication_role = replica"); err != nil {
				t.Fatal(err)
			}
			if err := f.execute(tamper); err != nil {
				t.Fatal(err)
			}
			report, err := f.ledger.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, check := range report.Checks {
				if check.Name == name && check.Violations > 0 && len(check.Samples) > 0 {
					found = true
				}
			}
			if !found || report.OK() {
				t.Errorf("not seen: %+v", report)
			}
		})
	}
}

func TestMigrateIsIdempotentAndConcurrent(t *testing.T) {
	t.Parallel()
	const name = "migrated_at_once"
	if err := createDatabase(t.Context(), name, "template1"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dsnOf(name)); !errors.Is(err, ErrNotMigrated) {
		t.Errorf("open before migrating: err = %v", err)
	}
	errs := make([]error, 3)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = Migrate(t.Context(), dsnOf(name)) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), dsnOf(name)); err != nil {
		t.Fatal(err)
	}
}

func TestUnreachableServerIsOneLineWithoutThePassword(t *testing.T) {
	t.Parallel()
	const dsn = "postgres://someone:s3cr3t-password@127.0.0.1:1/ledger?sslmode=prefer"
	_, openErr := Open(t.Context(), dsn)
	for what, err := range map[string]error{"open": openErr, "migrate": Migrate(t.Context(), dsn)} {
		if !errors.Is(err, ErrUnreachable) {
			t.Fatalf("%s: err = %v", what, err)
		}
		text := err.Error()
		if strings.Contains(text, "s3cr3t") || strings.Contains(text, "\n") ||
			!strings.Contains(text, "postgres://someone@127.0.0.1:1/ledger") {
			t.Errorf("%s: %q", what, text)
		}
	}
	wrong := strings.Replace(server.DSN, "clickledger:", "clickledger:wrong", 1)
	if _, err := Open(t.Context(), wrong); !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v", err)
	}
	for _, broken := range []string{"postgres://u:s3cr3t@host:notaport/db", "://s3cr3t", "postgres://u:s3cr3t@%zz/"} {
		if _, err := Open(t.Context(), broken); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: err = %v", broken, err)
		}
	}
}

func TestKilledServerLosesNothingPosted(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "ledgerpg-kill")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := embedpg.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	first, err := embedpg.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Stop() }()
	if err := Migrate(t.Context(), first.DSN); err != nil {
		t.Fatal(err)
	}
	ledger, err := Open(t.Context(), first.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	posted := int64(0)
	dead := make(chan error, 1)
	// Days are posted until the server is killed under them.
	go func() {
		for day := 0; ; day++ {
			result, err := ledger.Post(context.Background(), request(firstDay.AddDate(0, 0, day), charge("ghost", 77, 1)))
			if err != nil {
				dead <- err
				return
			}
			posted += int64(result.DeltaMicros)
			if day == 20 {
				_ = syscall.Kill(first.PID, syscall.SIGKILL)
			}
		}
	}()
	select {
	case <-dead:
	case <-time.After(30 * time.Second):
		t.Fatal("posting does not notice that the server is gone")
	}
	<-first.Done()
	second, err := embedpg.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Stop() }()
	reopened, err := Open(t.Context(), second.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer reopened.Close()
	f := &fixture{t: t, ledger: reopened}
	// The last one may have been committed without an answer.
	totals := f.sound()
	if got := int64(totals.DebitMicros); got != posted && got != posted+77 {
		t.Errorf("ledger holds %d micros, %d were acknowledged", got, posted)
	}
}
