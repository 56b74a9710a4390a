package parity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas/policy"
)

const (
	historyDays  = 3 // the last two of February and the first of March
	historySteps = 12
	advertisers  = 4 // the last one is unknown to the ledger at first
)

var historyFirst = time.Date(2026, 2, 27, 0, 0, 0, 0, time.UTC)

// history does random things to a log, its archive and its ledger.
type history struct {
	*bed

	random   *rand.Rand
	ledger   *ledgerpg.Ledger
	log      clickLog
	clock    int64   // when the newest record was received
	sentOnce []event // of which copies are sent
	policies []*policy.Policy
	isClosed bool // February is
}

// TestRandomHistories: whatever came late, was judged again by another policy, was cut off in the middle
// or run twice, once every day is settled the ledger holds exactly what the billing contract says of the
// whole log by the last policy: by advertiser and day to the micro, rounded once, and each click in one
// charge. The seed of a failure is in the test's name.
func TestRandomHistories(t *testing.T) {
	for _, seed := range []uint64{1, 2882050792159322587, rand.Uint64()} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			h := &history{bed: newBed(t, 2, policy.Default()), random: rand.New(rand.NewPCG(seed, 9)), clock: historyFirst.UnixMilli() + 2*hour,
				ledger: newLedger(t, "adv-0", "adv-1", "adv-2")}
			h.policies = []*policy.Policy{policy.Default(), parsePolicy(t, `
revisions:
  - effective_from: 2020-01-01T00:00:00Z
  - effective_from: 2026-02-28T09:30:00Z
    velocity: {window: 10s, max_clicks: 5, cooling: 10m}
    listed_networks: {version: other, cidrs: ["192.0.2.64/26"]}
`), parsePolicy(t, `
revisions:
  - {effective_from: 2020-01-01T00:00:00Z, max_cost_micros: 1500, max_event_age: 12h, dedup: {ttl: 1m}}
`)}
			for range historySteps {
				h.step()
			}
			h.finish()
		})
	}
}

// step does one random thing.
func (h *history) step() {
	switch kind := h.random.IntN(12); {
	case kind < 4:
		h.receive()
	case kind == 4:
		h.policy = h.policies[h.random.IntN(len(h.policies))]
	case kind == 5:
		if _, err := h.ledger.RegisterAdvertisers(h.ctx, []ledgerpg.Advertiser{{ID: "adv-3", Name: "Known now"}}); err != nil {
			h.t.Fatal(err)
		}
		if _, _, err := h.ledger.MoveSuspense(h.ctx, h.runID("move")); err != nil {
			h.t.Fatal(err)
		}
	case kind == 6:
		h.isClosed = true
		request := ledgerpg.CloseRequest{Month: historyFirst, RunID: h.runID("close"), Now: historyFirst.AddDate(0, 2, 0)}
		if _, err := h.ledger.ClosePeriod(h.ctx, request); err != nil {
			h.t.Fatal(err)
		}
	case kind < 9:
		ctx, end := h.mayCrash()
		h.runStream(ctx)
		end()
	default:
		h.keep()
		for range 2 {
			ctx, end := h.mayCrash()
			h.settleDay(ctx, historyFirst.AddDate(0, 0, h.random.IntN(historyDays)))
			end()
		}
	}
}

// receive adds records: on time and late, copies of earlier ones, bursts, bots, dead letters.
func (h *history) receive() {
	for range 10 + h.random.IntN(30) {
		h.clock += h.random.Int64N(40 * minute)
		n := len(h.log.recs)
		e := event{id: fmt.Sprintf("click-%d", n), adv: fmt.Sprintf("adv-%d", h.random.IntN(advertisers)), ip: fmt.Sprintf("192.0.2.%d", h.random.IntN(128)),
			cost: float64(1+h.random.IntN(2000)) / 1e6, at: h.clock - h.random.Int64N(second), received: h.clock}
		e.ad = "ad-of-" + e.adv
		switch h.random.IntN(10) {
		case 0, 1:
			e.at -= h.random.Int64N(25 * hour) // some of it stale
		case 2:
			e.agent = "bingbot"
		case 3:
			e.cost = -1
		case 4, 5:
			if len(h.sentOnce) > 0 {
				again := h.sentOnce[h.random.IntN(len(h.sentOnce))]
				again.received = h.clock
				again.cost += float64(h.random.IntN(2)) / 1e6
				e = again
			}
		case 6:
			for i, b := range burst(8+h.random.IntN(30), h.clock, 100, e) {
				b.id, b.received = fmt.Sprintf("click-%d-%d", n, i), b.at
				h.send(b)
				h.clock = b.at
			}
			continue
		}
		h.send(e)
	}
	h.produce(&h.log)
}

func (h *history) send(e event) {
	if e.received == e.at || h.random.IntN(2) == 0 {
		h.sentOnce = append(h.sentOnce, e)
	}
	h.log.addTo(h.random.Int32N(2), e)
}

// mayCrash is a context that ends soon, every third time: what runs by it stops in the middle, and what
// it held open is opened again.
func (h *history) mayCrash() (ctx context.Context, end func()) {
	if h.random.IntN(3) > 0 {
		return h.ctx, func() {}
	}
	ctx, cancel := context.WithTimeout(h.ctx, time.Duration(1+h.random.Int64N(600))*time.Millisecond)
	return ctx, func() { cancel(); h.closeStore() }
}

// runStream judges what the log holds. Only one that crashes may fail.
func (h *history) runStream(ctx context.Context) {
	_, err := stream.Run(ctx, stream.Config{Log: h.url, Policy: h.policy, RunID: h.runID("stream"), UntilEnd: true,
		PollWait: 20 * time.Millisecond}, stream.Deps{Serving: h.open()})
	if err != nil && ctx.Err() == nil {
		h.t.Fatal(err)
	}
}

// settleDay judges a day, compares and posts it; nil where it crashed, or no minute is complete.
func (h *history) settleDay(ctx context.Context, date time.Time) *reconcile.Report {
	h.t.Helper()
	_, err := batch.Run(ctx, batch.Config{Archive: h.archive, Date: date, Policy: h.policy, RunID: h.runID("batch")}, batch.Deps{})
	if err != nil && ctx.Err() == nil {
		h.t.Fatal(err)
	}
	rep, err := reconcile.Run(ctx, reconcile.Config{Archive: h.archive, Log: h.url, Date: date, Policy: h.policy, RunID: h.runID("reconcile"),
		Post: true}, reconcile.Deps{Serving: h.open(), Ledger: h.ledger, Logger: slog.New(slog.DiscardHandler)})
	if ctx.Err() != nil || errors.Is(err, reconcile.ErrNothingComplete) {
		return nil
	}
	if err != nil {
		h.t.Fatal(err)
	}
	if !rep.IsClean() {
		h.t.Errorf("%s is not clean: %+v", date.Format(time.DateOnly), rep)
	}
	return rep
}

// finish settles every day and compares the ledger with the contract.
func (h *history) finish() {
	t := h.t
	h.receive()
	h.closeStore()
	h.runStream(h.ctx)
	h.keep()
	judged := oracle.Judge(h.log.recs, h.policy)
	h.eachOnce(judged)
	owed := map[string]int64{}
	var clicks int64
	for i := range historyDays {
		date := historyFirst.AddDate(0, 0, i)
		if rep := h.settleDay(h.ctx, date); rep == nil || !rep.IsComplete {
			t.Fatalf("%s is not settled: %+v", date.Format(time.DateOnly), rep)
		}
		if rep := h.settleDay(h.ctx, date); rep == nil || rep.PostedEntries != 0 {
			t.Errorf("%s, settled again: %+v", date.Format(time.DateOnly), rep)
		}
		want := judged.Totals(oracle.Day(date.UnixMilli()))
		bills := map[string]int64{}
		for id, b := range want.Advertisers {
			if b.Micros != 0 {
				bills[id] = b.Micros
			}
			owed[id] += b.Micros
			clicks += h.entries(date, id, b)
		}
		held := ledgerOf(t, h.ledger, date)
		maps.DeleteFunc(held, func(_ string, micros int64) bool { return micros == 0 })
		if !maps.Equal(held, bills) {
			t.Errorf("%s: the ledger holds %v, the contract says %v", date.Format(time.DateOnly), held, bills)
		}
	}
	all := judged.Totals(oracle.Span{FromMillis: historyFirst.UnixMilli(), ToMillis: historyFirst.AddDate(0, 0, historyDays).UnixMilli()})
	if clicks != all.Billable || all.Billable == 0 || all.Duplicates == 0 || all.Invalid == 0 || all.DeadLetters == 0 {
		t.Errorf("the ledger charges %d clicks, the log has %+v", clicks, all)
	}
	h.balances(owed)
}

// eachOnce: of all copies of a click one is billable at most.
func (h *history) eachOnce(judged *oracle.Result) {
	times := map[string]int{}
	for i := range judged.Outcomes {
		if o := &judged.Outcomes[i]; o.Verdict.String() == "billable" {
			if times[o.Click.ClickID]++; times[o.Click.ClickID] > 1 {
				h.t.Errorf("%s is billable twice", o.Click.ClickID)
			}
		}
	}
}

// entries adds up an advertiser's day in the ledger, and returns its clicks.
func (h *history) entries(date time.Time, advertiser string, want oracle.Bill) int64 {
	h.t.Helper()
	entries, err := h.ledger.EntriesFor(h.ctx, date, advertiser)
	if err != nil {
		h.t.Fatal(err)
	}
	var sum, charged, clicks int64
	for i := range entries {
		e := &entries[i]
		if e.Kind == "transfer" {
			continue // out of suspense: charged before
		}
		sum += int64(e.AmountMicros)
		charged, clicks = int64(e.DayMicros), e.DayClicks
		if h.isClosed && e.BookingDate.Before(date) {
			h.t.Errorf("entry %d of %s is booked on %s", e.EntryID, date, e.BookingDate)
		}
	}
	if sum != charged || sum != want.Micros || want.Micros != 0 && clicks != want.Clicks {
		h.t.Errorf("%s %s: entries of %d micros in all, the day %d for %d clicks; the contract says %+v", date.Format(time.DateOnly), advertiser,
			sum, charged, clicks, want)
	}
	return want.Clicks
}

// balances wants each balance to be the exact sum, rounded once, and the rest to be in suspense.
func (h *history) balances(owed map[string]int64) {
	t := h.t
	t.Helper()
	report, err := h.ledger.Verify(h.ctx)
	if err != nil || !report.OK() { // a balance is the sum of the ledger's rows, debits are credits, the chain is whole
		t.Errorf("the ledger is not sound: %+v, %v", report, err)
	}
	balances, err := h.ledger.Balances(h.ctx)
	if err != nil {
		t.Fatal(err)
	}
	totals, err := h.ledger.Totals(h.ctx)
	if err != nil {
		t.Fatal(err)
	}
	suspended := map[string]int64{}
	for _, s := range totals.Suspense {
		suspended[s.AdvertiserID] += int64(s.AmountMicros)
	}
	for _, id := range slices.Sorted(maps.Keys(owed)) {
		i := slices.IndexFunc(balances, func(b ledgerpg.Balance) bool { return b.AdvertiserID == id })
		charged := owed[id] - suspended[id]
		if i < 0 {
			if charged != 0 {
				t.Errorf("%s: %d micros in suspense, want %d", id, suspended[id], owed[id])
			}
			continue
		}
		if want := -money.RoundHalfEvenToDecimal4(charged); balances[i].BalanceDecimal4 != want {
			t.Errorf("%s: balance %d, want %d for %d micros", id, balances[i].BalanceDecimal4, want, charged)
		}
	}
}
