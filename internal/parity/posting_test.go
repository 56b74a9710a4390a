package parity

import (
	"maps"
	"slices"
	"testing"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// bills is what the oracle bills for the day, by advertiser.
func bills(l *clickLog, p *policy.Policy) map[string]int64 {
	m := map[string]int64{}
	for id, b := range oracle.Judge(l.recs, p).Totals(oracle.Day(day.UnixMilli())).Advertisers {
		m[id] = b.Micros
	}
	return m
}

// wantLedger wants these micros of the day, and a report that says the same.
func wantLedger(t *testing.T, ledger *ledgerpg.Ledger, rep *reconcile.Report, want map[string]int64) {
	t.Helper()
	if got := ledgerDay(t, ledger); !maps.Equal(got, want) {
		t.Errorf("the ledger holds %v, want %v", got, want)
	}
	var sum int64
	for _, v := range want {
		sum += v
	}
	if rep.LedgerMicros != sum || rep.LedgerDebitMicros != rep.LedgerCreditMicros {
		t.Errorf("report: ledger %d, debits %d, credits %d; want %d", rep.LedgerMicros, rep.LedgerDebitMicros, rep.LedgerCreditMicros, sum)
	}
}

// wantFinal wants the oracle's rows of the day to be what readers see, all final.
func (b *bed) wantFinal(l *clickLog) {
	b.t.Helper()
	got := rows(b.t, b.open(), serving.Current, serving.Range{FromMillis: day.UnixMilli(), ToMillis: day.AddDate(0, 0, 1).UnixMilli()})
	for i := range got {
		if !got[i].IsFinal {
			b.t.Errorf("not final: %+v", got[i])
		}
	}
	sameRows(b.t, "final", bare(got), oracle.Judge(l.recs, b.policy).Rows(oracle.Day(day.UnixMilli())))
}

// TestPosting posts a day, posts it again, and posts what comes later as an adjustment.
func TestPosting(t *testing.T) {
	b := newBed(t, 1, policy.Default())
	ledger := newLedger(t, "adv-1", "adv-2", "adv-flow")
	var l clickLog
	l.add(flow(noon, 20)...)
	l.add(event{id: "a", at: noon + 21*second, cost: 0.333333}, event{id: "b", at: noon + 21*second, adv: "adv-2", cost: 1.5},
		event{id: "c", at: noon + 21*second, adv: "adv-unknown", cost: 2}, event{id: "a", at: noon + 22*second})
	b.produce(&l)
	b.stream()

	dry := func() *reconcile.Report {
		r, err := reconcile.Run(b.ctx, reconcile.Config{Archive: b.archive, Date: day, Policy: b.policy, RunID: "dry", Post: true, DryRun: true},
			reconcile.Deps{Serving: b.open(), Ledger: ledger})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	b.keep()
	b.batch(day)
	if rep := dry(); rep.PostedEntries != 4 || rep.IsPosted || len(ledgerDay(t, ledger)) != 0 {
		t.Errorf("dry run: %d entries, the ledger holds %v", rep.PostedEntries, ledgerDay(t, ledger))
	}
	rep := b.reconcile(day, ledger)
	wantCauses(t, rep, map[string]effect{})
	want := map[string]int64{"adv-1": 333_333, "adv-2": 1_500_000, "adv-unknown": 2_000_000, "adv-flow": 200_000}
	if !maps.Equal(want, bills(&l, b.policy)) {
		t.Fatalf("the oracle bills %v", bills(&l, b.policy))
	}
	wantLedger(t, ledger, rep, want)
	if rep.PostedEntries != 4 || !rep.IsPosted || rep.SuspenseMicros != 2_000_000 || rep.PostedMicros != 4_033_333 {
		t.Errorf("first posting: %+v", rep)
	}
	b.wantFinal(&l)

	for range 2 { // the same result, and a batch that comes to the same again
		rep = b.reconcile(day, ledger)
		if rep.PostedEntries != 0 || rep.PostedMicros != 0 || !rep.IsClean() {
			t.Errorf("posting again: %+v", rep)
		}
		wantLedger(t, ledger, rep, want)
		b.batch(day)
	}

	// Late clicks: one that the stream leaves to the batch, and one that turns a billed click invalid.
	l.add(event{id: "late", at: noon - 60*minute, received: noon + 30*second, adv: "adv-2", cost: 0.25})
	l.add(flow(noon+31*second, 3)...)
	b.produce(&l)
	b.stream()
	rep = b.settle(ledger)
	wantCauses(t, rep, map[string]effect{"late_in_stream": {Clicks: 1, Micros: 250_000, Gross: 1}})
	want["adv-2"], want["adv-flow"] = 1_750_000, 230_000
	wantLedger(t, ledger, rep, want)
	if rep.PostedEntries != 2 || rep.PostedMicros != 280_000 || rep.SuspenseMicros != 0 {
		t.Errorf("adjustment: %+v", rep)
	}
	b.wantFinal(&l)
	entries, err := ledger.EntriesFor(b.ctx, day, "adv-2")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[1].Kind != "adjustment" || entries[1].AmountMicros != 250_000 ||
		entries[1].OriginalEntryID == nil || *entries[1].OriginalEntryID != entries[0].EntryID {
		t.Errorf("entries of adv-2: %+v", entries)
	}
	b.moveSuspense(ledger, want)
}

// moveSuspense registers the unknown advertiser and moves what waits for him.
func (b *bed) moveSuspense(ledger *ledgerpg.Ledger, want map[string]int64) {
	b.t.Helper()
	totals, err := ledger.Totals(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(totals.Suspense) != 1 || totals.Suspense[0].AdvertiserID != "adv-unknown" || totals.Suspense[0].AmountMicros != 2_000_000 {
		b.t.Errorf("suspense: %+v", totals.Suspense)
	}
	if _, err := ledger.RegisterAdvertisers(b.ctx, []ledgerpg.Advertiser{{ID: "adv-unknown", Name: "Known now"}}); err != nil {
		b.t.Fatal(err)
	}
	if _, moved, err := ledger.MoveSuspense(b.ctx, "move"); err != nil || moved != 2_000_000 {
		b.t.Errorf("moved %d: %v", moved, err)
	}
	if rep := b.reconcile(day, ledger); rep.PostedEntries != 0 {
		b.t.Errorf("posting after the move: %+v", rep)
	}
	if got := ledgerDay(b.t, ledger); !maps.Equal(got, want) {
		b.t.Errorf("the ledger holds %v, want %v", got, want)
	}
}

// TestDamagedRows: rows that were lost are named as such and change nothing in the bill; a row that
// nothing explains holds its advertiser, and the others are posted.
func TestDamagedRows(t *testing.T) {
	b := newBed(t, 1, policy.Default())
	ledger := newLedger(t, "adv-1", "adv-2", "adv-3", "adv-flow")
	var l clickLog
	l.add(flow(noon, 5)...)
	for i := range 4 {
		id := []string{"a", "b", "c", "d"}[i]
		l.add(event{id: "1" + id, at: noon + 6*second}, event{id: "2" + id, adv: "adv-2", at: noon + 7*second},
			event{id: "3" + id, adv: "adv-3", at: noon + 8*second, cost: 0.5})
	}
	b.produce(&l)
	b.stream()
	b.keep()
	b.batch(day)

	damage := func(adv string, change func(*schemas.MinuteRow)) schemas.MinuteRow {
		all := rows(t, b.open(), serving.Provisional, always)
		i := slices.IndexFunc(all, func(r schemas.MinuteRow) bool { return r.AdvertiserID == adv })
		row := all[i]
		change(&row)
		row.Version++
		progress, err := b.open().LoadProgress(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.open().Upsert(b.ctx, []schemas.MinuteRow{row}, progress); err != nil {
			t.Fatal(err)
		}
		return row
	}
	damage("adv-1", func(r *schemas.MinuteRow) { r.RawClicks, r.UniqueClicks, r.SpendMicros = 3, 3, 750_000 })
	damage("adv-flow", func(r *schemas.MinuteRow) { r.RawClicks, r.UniqueClicks, r.SpendMicros = 0, 0, 0 })
	wantCauses(t, b.reconcile(day, nil), map[string]effect{"row_not_published": {Clicks: 6, Micros: 300_000, Gross: 6}})

	spoilt := damage("adv-2", func(r *schemas.MinuteRow) { r.SpendMicros += 7 })
	rep := b.reconcile(day, ledger)
	checkSound(t, rep)
	if rep.UnexplainedClicks != 1 || rep.UnexplainedMicros != -7 || !slices.Equal(rep.HeldAdvertisers, []string{"adv-2"}) || rep.IsClean() {
		t.Errorf("micros too many: %+v", rep)
	}
	want := bills(&l, b.policy)
	delete(want, "adv-2")
	wantLedger(t, ledger, rep, want)
	final := rows(t, b.open(), serving.Final, always)
	for i := range final {
		if final[i].AdvertiserID == "adv-2" && (final[i].SpendMicros != spoilt.SpendMicros || final[i].UniqueClicks != spoilt.UniqueClicks) {
			t.Errorf("the held advertiser's row was changed: %+v", final[i])
		}
	}

	damage("adv-2", func(r *schemas.MinuteRow) { r.RawClicks, r.UniqueClicks, r.SpendMicros = 5, 5, 1_250_000 })
	rep = b.reconcile(day, ledger)
	if rep.UnexplainedClicks != 1 || rep.UnexplainedMicros != -250_000 || rep.PostedEntries != 0 || !slices.Equal(rep.HeldAdvertisers, []string{"adv-2"}) {
		t.Errorf("a click too many: %+v", rep)
	}
	damage("adv-2", func(r *schemas.MinuteRow) { r.RawClicks, r.UniqueClicks, r.SpendMicros = 4, 4, 1_000_000 })
	rep = b.reconcile(day, ledger)
	want["adv-2"] = 1_000_000
	wantLedger(t, ledger, rep, want)
	if rep.PostedEntries != 1 || len(rep.HeldAdvertisers) != 0 {
		t.Errorf("released: %+v", rep)
	}
	b.wantFinal(&l)
}
