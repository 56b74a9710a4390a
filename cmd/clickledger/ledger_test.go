package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/ledger"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas/policy"
)

// TestLedgerCommands takes a posted day through suspense, documents, payments and the close, and finds
// a result that was changed.
func TestLedgerCommands(t *testing.T) {
	t.Parallel()
	env, dir := settleDay(t, "duckdb://"+filepath.Join(t.TempDir(), "serving.duckdb"))
	startJSON(t, env, &migrateResult{}, "migrate")
	var report reconcile.Report
	startJSON(t, env, &report, "reconcile", "--date", "2026-03-01", "--post")
	adv := report.Top[0].AdvertiserID
	resolveSuspense(t, env, dir, adv, &report)

	month := []string{"--advertiser", adv, "--month", "2026-03"}
	var statement ledger.Statement
	startJSON(t, env, &statement, append([]string{"ledger", "statement"}, month...)...)
	var spend, billable int64
	for _, c := range statement.Campaigns {
		spend, billable = spend+c.SpendMicros, billable+c.BillableClicks
	}
	if top := report.Top[0]; spend != top.SpendMicros || billable != top.Clicks || statement.ChargedMicros != spend ||
		statement.UnattributedMicros != 0 || statement.OpeningBalance != "0.0000" || len(statement.Invalid) == 0 {
		t.Errorf("statement %+v, posted %+v", statement, top)
	}
	pay(t, env, adv)
	for format, want := range map[string]string{"text": "closing balance", "csv": "closing_balance", "html": "<h1>Invoice 2026-03</h1>", "json": `"BANK-1"`} {
		for _, document := range []string{"statement", "credits"} {
			got := start(t, env, append([]string{"ledger", document, "--format", format}, month...)...)
			if got.code != config.ExitOK || document == "statement" && !strings.Contains(got.out, want) {
				t.Errorf("%s as %s: exit code %d, %s%s", document, format, got.code, got.out, got.err)
			}
		}
	}
	var entries entriesResult
	startJSON(t, env, &entries, append([]string{"ledger", "entries"}, month...)...)
	if len(entries.Entries) < 4 || entries.Entries[0].LinkID == 0 {
		t.Errorf("entries %+v", entries)
	}
	closeAndVerify(t, env, dir)
	for args, code := range map[string]int{
		"ledger statement --advertiser nobody --month 2026-03":                  config.ExitFailed,
		"ledger statement --advertiser x --month March":                         config.ExitUsage,
		"ledger statement --advertiser x --month 2026-03 --format pdf":          config.ExitUsage,
		"ledger payment --advertiser nobody --amount 5 --reference R":           config.ExitUsage,
		"ledger payment --advertiser " + adv + " --amount 0.001 --reference R":  config.ExitUsage,
		"ledger payment --advertiser " + adv + " --amount -5 --reference R":     config.ExitUsage,
		"ledger payment --advertiser " + adv + " --amount 6 --reference BANK-1": config.ExitFailed,
		"ledger credit --advertiser " + adv + " --amount 5 --reference R":       config.ExitUsage,
		"ledger reverse --entry 1 --reason no":                                  config.ExitUsage,
		"ledger reverse --entry 999999 --reason no":                             config.ExitUsage,
		"ledger verify --head nonsense":                                         config.ExitUsage,
		"ledger verify --head " + strings.Repeat("0", 64):                       config.ExitDiscrepancies,
		"ledger close --month 2999-01":                                          config.ExitFailed,
		"ledger advertisers register --file /nowhere":                           config.ExitUsage,
		"ledger balance --advertiser nobody":                                    config.ExitUsage,
		"ledger":                                                                config.ExitUsage,
	} {
		if got := start(t, env, strings.Fields(args)...); got.code != code {
			t.Errorf("%s: exit code %d, want %d: %s%s", args, got.code, code, got.out, got.err)
		}
	}
}

// resolveSuspense registers the advertisers, who all stand in suspense, and moves their charges.
func resolveSuspense(t *testing.T, env []string, dir, adv string, report *reconcile.Report) {
	t.Helper()
	var before suspenseResult
	startJSON(t, env, &before, "ledger", "advertisers", "suspense")
	if len(before.Suspense) != report.PostedEntries || report.SuspenseMicros != report.PostedMicros {
		t.Errorf("%d days in suspense, posted %+v", len(before.Suspense), report)
	}
	rows := []string{"id,name,credit_limit"}
	for _, item := range before.Suspense {
		if item.AdvertiserID != adv {
			rows = append(rows, item.AdvertiserID+",Advertiser,")
		}
	}
	file := filepath.Join(dir, "advertisers.csv")
	if err := os.WriteFile(file, []byte(strings.Join(rows, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	var registered registerResult
	startJSON(t, env, &registered, "ledger", "advertisers", "register", "--file", file)
	if registered.Registered != len(rows)-1 {
		t.Errorf("registered %+v, want %d", registered, len(rows)-1)
	}
	startJSON(t, env, &registered, "ledger", "advertisers", "register", "--advertiser", adv, "--name", "Top & Sons", "--credit-limit", "0.01")
	var plan, moved, again suspenseResult
	startJSON(t, env, &plan, "ledger", "advertisers", "resolve", "--dry-run")
	startJSON(t, env, &moved, "ledger", "advertisers", "resolve")
	startJSON(t, env, &again, "ledger", "advertisers", "resolve")
	if moved.MovedMicros != report.PostedMicros || plan.MovedMicros != moved.MovedMicros || again.MovedEntries != 0 {
		t.Errorf("moved %+v, planned %+v, again %+v", moved, plan, again)
	}
	var balances balancesResult
	startJSON(t, env, &balances, "ledger", "balance", "--over-limit")
	if len(balances.Advertisers) == 0 || balances.OverLimit != len(balances.Advertisers) {
		t.Errorf("over the limit: %+v", balances)
	}
}

// pay posts a payment twice, and a credit that is taken back.
func pay(t *testing.T, env []string, adv string) {
	t.Helper()
	payment := []string{"ledger", "payment", "--advertiser", adv, "--amount", "5.00", "--reference", "BANK-1", "--date", "2026-03-20"}
	var plan, paid, again, credit, reversal receiptResult
	startJSON(t, env, &plan, append(payment, "--dry-run")...)
	startJSON(t, env, &paid, payment...)
	startJSON(t, env, &again, append(payment[:len(payment)-1:len(payment)-1], "2026-03-25")...)
	if plan.WasPosted || paid.WasPosted || !again.WasPosted || again.EntryID != paid.EntryID || paid.AmountMicros != -5_000_000 {
		t.Errorf("paid %+v, planned %+v, again %+v", paid, plan, again)
	}
	startJSON(t, env, &credit, "ledger", "credit", "--advertiser", adv, "--amount", "0.50", "--reference", "T-1", "--reason", "crawler", "--date", "2026-03-21")
	startJSON(t, env, &reversal, "ledger", "reverse", "--entry", strconv.FormatInt(credit.EntryID, 10),
		"--reason", "was none", "--date", "2026-03-22")
	if reversal.OriginalEntryID == nil || *reversal.OriginalEntryID != credit.EntryID || reversal.AmountMicros != 500_000 {
		t.Errorf("reversal %+v of %+v", reversal, credit)
	}
}

// settleMonth settles the days of March that lack: the second by the commands that the refusal names, the
// others as these do.
func settleMonth(t *testing.T, env []string) {
	t.Helper()
	var settled reconcile.Report
	startJSON(t, env, &batch.Result{}, "batch", "--date", "2026-03-02")
	startJSON(t, env, &settled, "reconcile", "--date", "2026-03-02", "--post")
	if !settled.IsPosted || !settled.IsComplete || settled.PostedEntries != 0 {
		t.Errorf("a day without clicks: %+v", settled)
	}
	settleFrom(t, env, 3)
}

// settleFrom settles the days of March from this one on as days without clicks.
func settleFrom(t *testing.T, env []string, first int) {
	t.Helper()
	dsn, _ := strings.CutPrefix(env[3], "CLICKLEDGER_LEDGER=")
	book, err := ledgerpg.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	for day := time.Date(2026, 3, first, 0, 0, 0, 0, time.UTC); day.Month() == time.March; day = day.AddDate(0, 0, 1) {
		_, err := book.Post(t.Context(), ledgerpg.PostRequest{BillingDate: day, Currency: "USD", PolicyHash: policy.Default().Hash(), RunID: "test",
			CutAt: day.AddDate(0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// closeAndVerify closes the month, and verifies before and after a result was changed.
func closeAndVerify(t *testing.T, env []string, dir string) {
	t.Helper()
	var head ledgerpg.Head
	startJSON(t, env, &head, "ledger", "head")
	lacking := start(t, env, "ledger", "close", "--month", "2026-03")
	if lacking.code != config.ExitFailed || !strings.Contains(lacking.err, "30 days are not settled to the end: 2026-03-02 to 2026-03-31: settle each") {
		t.Errorf("a month that is not settled: exit code %d, %s%s", lacking.code, lacking.out, lacking.err)
	}
	settleMonth(t, env)
	var closed, again closeResult
	startJSON(t, env, &closed, "ledger", "close", "--month", "2026-03")
	startJSON(t, env, &again, "ledger", "close", "--month", "2026-03")
	if closed.WasClosed || !again.WasClosed || closed.Entries == 0 || closed.PeriodHash != again.PeriodHash {
		t.Errorf("closed %+v, again %+v", closed, again)
	}
	var sound ledger.Verification
	startJSON(t, env, &sound, "ledger", "verify", "--head", head.LinkHash)
	if !sound.IsSound || sound.TiedDays != 2 || len(sound.UntiedDays) != 0 || sound.HeadLinkID != head.LinkID {
		t.Errorf("verification %+v", sound)
	}
	file := filepath.Join(dir, "archive", "results", "dt=2026-03-01", "rev=1", "minutes.parquet")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	got := start(t, env, "ledger", "verify")
	if got.code != config.ExitDiscrepancies || !strings.Contains(got.out, "minutes.parquet: it is not what run.json says") {
		t.Errorf("a changed result: exit code %d, %s%s", got.code, got.out, got.err)
	}
}
