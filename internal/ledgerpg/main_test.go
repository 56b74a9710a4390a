package ledgerpg

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clickledger/clickledger/internal/embedpg"
	"github.com/clickledger/clickledger/internal/money"
)

// server is one real PostgreSQL for the package; every test has its own database, copied from a
// migrated template.
var server *embedpg.Server

const template = "migrated_template"

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ledgerpg")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the server's user is not root
		fmt.Println(err)
		return 1
	}
	ctx := context.Background()
	server, err = embedpg.Start(ctx, embedpg.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() {
		if err := server.Stop(); err != nil {
			fmt.Println(err)
		}
	}()
	if err := createDatabase(ctx, template, "template1"); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := Migrate(ctx, dsnOf(template)); err != nil {
		fmt.Println(err)
		return 1
	}
	return m.Run()
}

func dsnOf(database string) string {
	location, err := url.Parse(server.DSN)
	if err != nil {
		panic(err)
	}
	location.Path = "/" + database
	return location.String()
}

func createDatabase(ctx context.Context, name, from string) error {
	conn, err := pgx.Connect(ctx, server.DSN)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, fmt.Sprintf("create database %s template %s",
		pgx.Identifier{name}.Sanitize(), pgx.Identifier{from}.Sanitize()))
	return err
}

var databases atomic.Int64

// fixture is a ledger of its own, with a superuser's connection beside it.
type fixture struct {
	t      testing.TB
	ledger *Ledger
	admin  *pgx.Conn
	dsn    string
}

func setup(t testing.TB) *fixture {
	t.Helper()
	name := fmt.Sprintf("ledger_%d", databases.Add(1))
	if err := createDatabase(t.Context(), name, template); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, dsn: dsnOf(name)}
	var err error
	if f.ledger, err = Open(t.Context(), f.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.ledger.Close)
	if f.admin, err = pgx.Connect(t.Context(), f.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.admin.Close(context.Background()) })
	return f
}

var firstDay = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func (f *fixture) register(ids ...string) {
	f.t.Helper()
	var advertisers []Advertiser
	for _, id := range ids {
		advertisers = append(advertisers, Advertiser{ID: id, Name: "Advertiser " + id})
	}
	if _, err := f.ledger.RegisterAdvertisers(f.t.Context(), advertisers); err != nil {
		f.t.Fatal(err)
	}
}

func request(day time.Time, charges ...Charge) PostRequest {
	return PostRequest{BillingDate: day, Currency: "USD", PolicyHash: "policy-1", RunID: "run-1", Charges: charges}
}

func charge(advertiserID string, micros, clicks int64) Charge {
	return Charge{AdvertiserID: advertiserID, SpendMicros: money.Micros(micros), Clicks: clicks}
}

func receipt(kind, advertiserID string, day time.Time, micros int64, reference, reason string) Receipt {
	return Receipt{Kind: kind, AdvertiserID: advertiserID, Date: day, Currency: "USD", AmountMicros: money.Micros(micros),
		Reference: reference, Reason: reason, RunID: "hand"}
}

func (f *fixture) post(request PostRequest) PostResult {
	f.t.Helper()
	result, err := f.ledger.Post(f.t.Context(), request)
	if err != nil {
		f.t.Fatal(err)
	}
	return result
}

// sound fails the test unless every rule of the ledger holds and debits equal credits.
func (f *fixture) sound() Totals {
	f.t.Helper()
	report, err := f.ledger.Verify(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if !report.OK() {
		f.t.Fatalf("ledger is not sound: %+v", report)
	}
	totals, err := f.ledger.Totals(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if totals.DebitMicros != totals.CreditMicros {
		f.t.Fatalf("debits %d, credits %d", totals.DebitMicros, totals.CreditMicros)
	}
	return totals
}

// dayMicros is the day's totals by advertiser.
func (f *fixture) dayMicros(day time.Time) map[string]int64 {
	f.t.Helper()
	totals, err := f.ledger.DayTotals(f.t.Context(), day)
	if err != nil {
		f.t.Fatal(err)
	}
	micros := map[string]int64{}
	for _, total := range totals {
		micros[total.AdvertiserID] = int64(total.SpendMicros)
	}
	return micros
}

func (f *fixture) execute(sql string) error {
	_, err := f.admin.Exec(f.t.Context(), sql)
	return err
}

func scalar[T any](f *fixture, sql string, args ...any) T {
	f.t.Helper()
	var result T
	if err := f.admin.QueryRow(f.t.Context(), sql, args...).Scan(&result); err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
	return result
}
