package nightly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/embedpg"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// cost is what every click of the tests costs.
const cost = 250_000

// night is an archive, a ledger and a serving store without a stream.
type night struct {
	*testing.T
	cfg    Config
	deps   Deps
	ledger *ledgerpg.Ledger
	store  objectstore.Store
	next   int64 // offset
	ids    int
}

func newNight(t *testing.T) *night {
	t.Helper()
	dir, err := os.MkdirTemp("", "clickledger-nightly-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	server, err := embedpg.Start(context.WithoutCancel(t.Context()), embedpg.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := ledgerpg.Migrate(t.Context(), server.DSN); err != nil {
		t.Fatal(err)
	}
	ledger, err := ledgerpg.Open(t.Context(), server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ledger.Close)
	served, err := servingduck.Open(t.Context(), "duckdb://"+filepath.Join(t.TempDir(), "serving.duckdb"), servingduck.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { served.Close() })
	place := "file://" + t.TempDir()
	store, err := objectstore.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Default()
	n := &night{T: t, ledger: ledger, store: store,
		cfg: Config{Delay: DefaultDelay, RunID: t.Name(), Batch: batch.Config{Archive: place, Policy: p, Version: "test"},
			Reconcile: reconcile.Config{Archive: place, Policy: p}},
		deps: Deps{Ledger: ledger, Serving: served, Now: func() time.Time { return at(5, 12) }}}
	return n
}

// at is an hour of a day in March 2026.
func at(day, hour int) time.Time { return time.Date(2026, 3, day, hour, 0, 0, 0, time.UTC) }

// ship archives a file of clicks that were received one a second from a time on. Every click is of
// another user, so that all are billed.
func (n *night) ship(received time.Time, clicks int) {
	n.Helper()
	var rows []schemas.ArchiveClick
	for i := range clicks {
		n.ids++
		when := received.Add(time.Duration(i) * time.Second)
		rows = append(rows, schemas.ArchiveClick{Offset: n.next + int64(i), ReceivedAt: when.UnixMicro(), EventTime: when.UnixMilli(),
			ClickID: fmt.Sprintf("click-%06d", n.ids), AdID: "ad", AdvertiserID: "adv", CampaignID: "camp",
			UserID: fmt.Sprintf("user-%06d", n.ids), CostMicros: cost, IPAddress: fmt.Sprintf("203.0.%d.%d", n.ids/250, 1+n.ids%250),
			UserAgent: "Mozilla/5.0", DeviceType: "desktop", CountryCode: "DE", Timestamp: when.UnixMilli(), CostPerClick: cost / 1e6})
	}
	data, err := parquetio.Encode(rows, nil)
	if err != nil {
		n.Fatal(err)
	}
	file := archive.File{Range: archive.Range{From: n.next, To: n.next + int64(clicks) - 1}, Hour: archive.Hour(at(4, 0).Unix() / 3600)}
	n.next += int64(clicks)
	if _, err := n.store.Put(n.Context(), file.Key(archive.FolderClicks), data, objectstore.PutOptions{}); err != nil {
		n.Fatal(err)
	}
}

// run settles and wants the days to come out as "2026-03-01 settled 10, …", the number being that of
// clicks in the entries that were posted.
func (n *night) run(want string) *Report {
	n.Helper()
	report, err := Run(n.Context(), n.cfg, n.deps)
	if err != nil {
		n.Fatal(err)
	}
	var days []string
	for _, d := range report.Days {
		days = append(days, fmt.Sprintf("%s %s %d", d.Date, d.State, d.PostedMicros/cost))
	}
	if got := strings.Join(days, ", "); got != want {
		n.Fatalf("days %s, want %s: %+v", got, want, report)
	}
	return report
}

// owes wants a day's total in the ledger, in clicks, and a ledger without a fault.
func (n *night) owes(day int, clicks int64) {
	n.Helper()
	totals, err := n.ledger.DayTotals(n.Context(), at(day, 0))
	if err != nil {
		n.Fatal(err)
	}
	var micros int64
	for _, t := range totals {
		micros += int64(t.SpendMicros)
	}
	verified, err := n.ledger.Verify(n.Context())
	if err != nil {
		n.Fatal(err)
	}
	if micros != clicks*cost || !verified.OK() {
		n.Errorf("day %d: %d micros in the ledger, want those of %d clicks: %+v", day, micros, clicks, verified)
	}
}

// results is how many whole results a day has.
func (n *night) results(day int) (count int) {
	n.Helper()
	runs, err := batch.Runs(n.Context(), n.store)
	if err != nil {
		n.Fatal(err)
	}
	for _, r := range runs {
		if r.Date == at(day, 0).Format(time.DateOnly) {
			count++
		}
	}
	return count
}

// errCrash is how the stores of a test end a run, after what they did before.
var errCrash = errors.New("the process was killed here")

// dyingLedger dies after a posting is committed, or before it.
type dyingLedger struct {
	Ledger
	before, after bool
}

func (l *dyingLedger) Post(ctx context.Context, request ledgerpg.PostRequest) (ledgerpg.PostResult, error) {
	if l.before {
		return ledgerpg.PostResult{}, errCrash
	}
	result, err := l.Ledger.Post(ctx, request)
	if err == nil && l.after {
		err = errCrash
	}
	return result, err
}

// dyingServing dies before or after final rows are published.
type dyingServing struct {
	serving.Store
	after bool
}

func (s *dyingServing) PublishFinal(ctx context.Context, day serving.FinalDay, rows []schemas.MinuteRow) error {
	if s.after {
		if err := s.Store.PublishFinal(ctx, day, rows); err != nil {
			return err
		}
	}
	return errCrash
}
