package parity

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/clickledger/clickledger/internal/embedpg"
	"github.com/clickledger/clickledger/internal/ledgerpg"
)

// postgres is one real server for the package, started by the first test that needs it; every test
// has a database of its own.
var postgres struct {
	once   sync.Once
	dir    string
	server *embedpg.Server
	err    error
	n      int
}

func startPostgres() {
	p := &postgres
	if p.dir, p.err = os.MkdirTemp("", "parity"); p.err != nil {
		return
	}
	if p.err = os.Chmod(p.dir, 0o755); p.err != nil { // the server's user is not root
		return
	}
	p.server, p.err = embedpg.Start(context.Background(), embedpg.Config{Dir: p.dir, Logger: slog.New(slog.DiscardHandler)})
}

func stopPostgres() {
	if postgres.server != nil {
		if err := postgres.server.Stop(); err != nil {
			fmt.Println(err)
		}
	}
	if postgres.dir != "" {
		_ = os.RemoveAll(postgres.dir)
	}
}

// newLedger is an empty ledger with these advertisers registered.
func newLedger(t testing.TB, advertisers ...string) *ledgerpg.Ledger {
	t.Helper()
	postgres.once.Do(startPostgres)
	if postgres.err != nil {
		t.Fatal(postgres.err)
	}
	postgres.n++
	name := fmt.Sprintf("parity_%d", postgres.n)
	conn, err := pgx.Connect(t.Context(), postgres.server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "create database "+name); err != nil {
		t.Fatal(err)
	}
	location, err := url.Parse(postgres.server.DSN)
	if err != nil {
		t.Fatal("the server's address is no URL")
	}
	location.Path = "/" + name
	if err := ledgerpg.Migrate(t.Context(), location.String()); err != nil {
		t.Fatal(err)
	}
	ledger, err := ledgerpg.Open(t.Context(), location.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ledger.Close)
	list := make([]ledgerpg.Advertiser, len(advertisers))
	for i, id := range advertisers {
		list[i] = ledgerpg.Advertiser{ID: id, Name: "Advertiser " + id}
	}
	if _, err := ledger.RegisterAdvertisers(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	return ledger
}

// ledgerDay is what the ledger holds for the day, by advertiser.
func ledgerDay(t testing.TB, l *ledgerpg.Ledger) map[string]int64 {
	t.Helper()
	totals, err := l.DayTotals(t.Context(), day)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int64{}
	for _, d := range totals {
		m[d.AdvertiserID] = int64(d.SpendMicros)
	}
	report, err := l.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() {
		t.Errorf("the ledger is not sound: %+v", report)
	}
	return m
}
