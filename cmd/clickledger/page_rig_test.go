package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clickledger/clickledger/internal/browsertest"
	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/api"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/jobs/standalone"
)

// standaloneRig is a running `clickledger standalone`, and a browser on its page.
type standaloneRig struct {
	*testing.T
	dir, config   string
	gateway, page string // http://host:port
	token         string
	dsn           string // of the ledger, by its owner: it has the password
	db            *pgx.Conn
	browser       context.Context // set by look
}

// newFolder is a folder that the user of PostgreSQL can reach.
func newFolder(t *testing.T) string {
	dir, err := os.MkdirTemp("", "clickledger-page-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startServer runs the program until the test ends, and returns once each of the keys was in a line that says
// ready, with the addresses there, and the process's number under pid.
func startServer(t *testing.T, env []string, keys []string, args ...string) map[string]string {
	t.Helper()
	cmd := exec.Command(binary, append(args, "--log-format", "json")...)
	cmd.Env, cmd.Dir = env, t.TempDir()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, ended := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(ended)
		for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
			select {
			case lines <- scanner.Text():
			default: // nobody reads any more
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Errorf("%s does not end", args[0])
			_ = cmd.Process.Kill()
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", args[0], err)
		}
	})
	found := map[string]string{"pid": strconv.Itoa(cmd.Process.Pid)}
	for deadline := time.After(time.Minute); len(found) <= len(keys); {
		select {
		case line := <-lines:
			var said map[string]any
			if json.Unmarshal([]byte(line), &said) != nil {
				continue
			}
			for _, key := range keys {
				if value, ok := said[key].(string); ok {
					found[key] = value
				}
			}
		case <-ended:
			t.Fatalf("%s ended: %s", args[0], <-lines)
		case <-deadline:
			t.Fatalf("%s is not ready within a minute", args[0])
		}
	}
	return found
}

// startStandalone runs the program on free ports until the test ends.
func startStandalone(t *testing.T, dir string) *standaloneRig {
	t.Helper()
	r := &standaloneRig{T: t, dir: dir, config: filepath.Join(dir, standalone.ConfigFile)}
	at := startServer(t, plainEnviron(), []string{"gateway", "dashboard"}, "standalone", "--dir", dir, "--listen", "127.0.0.1:0",
		"--api-listen", "127.0.0.1:0", "--flush-interval", "500ms")
	r.gateway, r.page = at["gateway"], at["dashboard"]
	var token tokenResult
	startJSON(t, nil, &token, "token", "--admin", "--config", r.config)
	r.token = token.Token
	r.connect()
	return r
}

// connect opens the ledger by the URL in the file.
func (r *standaloneRig) connect() {
	r.Helper()
	text, err := os.ReadFile(r.config)
	if err != nil {
		r.Fatal(err)
	}
	_, dsn, _ := strings.Cut(string(text), "\nledger: ")
	r.dsn, _, _ = strings.Cut(dsn, "\n")
	if r.db, err = pgx.Connect(r.Context(), r.dsn); err != nil {
		r.Fatal("the ledger of the folder cannot be opened") // the error may quote the URL
	}
	r.Cleanup(func() { _ = r.db.Close(context.Background()) })
}

// look signs in as an administrator, in a browser of its own.
func (r *standaloneRig) look() {
	r.Helper()
	r.browser = browsertest.Open(r.T)
	browsertest.Navigate(r.T, r.browser, r.page)
	browsertest.SignIn(r.T, r.browser, r.token)
	r.wait(20*time.Second, `document.getElementById("status").textContent.includes("Enter the advertiser")`)
}

func (r *standaloneRig) wait(limit time.Duration, condition string) {
	r.Helper()
	browsertest.Wait(r.T, r.browser, limit, condition)
}

// show has the page show an advertiser, over a range of whole minutes that is not live.
func (r *standaloneRig) show(advertiser string, from, to time.Time) {
	r.Helper()
	const form = "2006-01-02T15:04"
	browsertest.Value[bool](r.T, r.browser, fmt.Sprintf(`(() => {
		for (const [id, value] of [["advertiser", %q], ["range", "custom"], ["from", %q], ["to", %q]]) document.getElementById(id).value = value;
		return document.getElementById("range").dispatchEvent(new Event("change"));
	})()`, advertiser, from.UTC().Format(form), to.UTC().Format(form)))
}

// showLast has the page show an advertiser's last seconds, live.
func (r *standaloneRig) showLast(advertiser, seconds string) {
	r.Helper()
	browsertest.Value[bool](r.T, r.browser, fmt.Sprintf(`Boolean(document.getElementById("advertiser").value = %q)`, advertiser))
	browsertest.Choose(r.T, r.browser, "range", seconds)
}

// visit sends a click or an impression to the gateway.
func (r *standaloneRig) visit(path, userAgent string, parameters url.Values) {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.gateway+path+"?"+parameters.Encode(), http.NoBody)
	if err != nil {
		r.Fatal(err)
	}
	request.Header.Set("User-Agent", userAgent)
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		r.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusFound && answer.StatusCode != http.StatusOK {
		r.Fatalf("the gateway: got %s", answer.Status)
	}
}

// ask asks the API.
func (r *standaloneRig) ask(path string, to any, parameters url.Values) {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.page+"/api/v1/"+path+"?"+parameters.Encode(), http.NoBody)
	if err != nil {
		r.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+r.token)
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		r.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		r.Fatalf("%s: got %s", path, answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(to); err != nil {
		r.Fatalf("%s: %v", path, err)
	}
}

// account is what is said of an advertiser: by the page, the API, the ledger and the batch.
type account struct {
	Clicks, FinalClicks, SpendMicros, NotBilled, Impressions int64

	Balance                         string // decimal, four places
	ChargedMicros, DifferenceMicros int64
	Causes                          string
}

// pageAccount reads the account off the page, hidden figures and rounded ones apart.
func (r *standaloneRig) pageAccount() (a account) {
	r.Helper()
	text := browsertest.Value[string](r.T, r.browser, `(() => {
		const of = (id) => document.getElementById(id), value = (id) => Number(of(id).dataset.value);
		const after = (id, name) => [...of(id).querySelectorAll("dt")].find((e) => e.textContent === name).nextElementSibling;
		const whole = (e) => Number(e.textContent.replace(/,/g, ""));
		return JSON.stringify({
			Clicks: value("total-clicks"), SpendMicros: value("total-spend"), NotBilled: value("total-invalid"), Impressions: value("total-ctr"),
			FinalClicks: Number((of("total-state").textContent.match(/^([\d,]+) of them final$/) || ["", "0"])[1].replace(/,/g, "")),
			Balance: of("balance").dataset.value, ChargedMicros: Number(after("balance", "Charged").dataset.value),
			DifferenceMicros: Number(after("reconciliation", "Difference").dataset.value),
			Causes: [...of("causes").tBodies[0].rows].map((r) => r.cells[0].textContent.replaceAll(" ", "_") + " " + whole(r.cells[1]) + " " + r.cells[2].dataset.value).join("; "),
		});
	})()`)
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		r.Fatalf("%v: %s", err, text)
	}
	return a
}

// apiAccount asks the API for the same.
func (r *standaloneRig) apiAccount(advertiser string, from, to time.Time) (a account) {
	r.Helper()
	var points struct {
		Series []struct {
			Clicks          int64 `json:"clicks"`
			SpendMicros     int64 `json:"spend_micros"`
			InvalidClicks   int64 `json:"invalid_clicks"`
			DuplicateClicks int64 `json:"duplicate_clicks"`
			Impressions     int64 `json:"impressions"`
			IsFinal         bool  `json:"is_final"`
		} `json:"series"`
	}
	r.ask("advertisers/analytics", &points, url.Values{"advertiser_id": {advertiser}, "granularity": {"1m"}, "group_by": {"none"},
		"limit": {"10000"}, "start_time": {strconv.FormatInt(from.Unix(), 10)}, "end_time": {strconv.FormatInt(to.Unix(), 10)}})
	for _, p := range points.Series {
		a.Clicks, a.SpendMicros, a.NotBilled = a.Clicks+p.Clicks, a.SpendMicros+p.SpendMicros, a.NotBilled+p.InvalidClicks+p.DuplicateClicks
		a.Impressions += p.Impressions
		if p.IsFinal {
			a.FinalClicks += p.Clicks
		}
	}
	var balance struct {
		Balance       string `json:"balance"`
		ChargedMicros int64  `json:"charged_micros"`
	}
	r.ask("advertisers/balance", &balance, url.Values{"advertiser_id": {advertiser}})
	var last api.Reconciliation
	r.ask("reconciliations/latest", &last, url.Values{"advertiser_id": {advertiser}})
	a.Balance, a.ChargedMicros, a.DifferenceMicros = balance.Balance, balance.ChargedMicros, last.DifferenceMicros
	var causes []string
	var sum int64
	for _, c := range last.Causes {
		if sum += c.Micros; c.Clicks != 0 || c.Micros != 0 {
			causes = append(causes, fmt.Sprintf("%s %d %d", c.Cause, c.Clicks, c.Micros))
		}
	}
	if sum != a.DifferenceMicros || last.UnexplainedClicks != 0 {
		r.Errorf("%s: the causes add up to %d of %d micros, %d clicks are unexplained", advertiser, sum, a.DifferenceMicros, last.UnexplainedClicks)
	}
	a.Causes = strings.Join(causes, "; ")
	return a
}

// ledgerAccount reads the tables of the ledger: the micros of the journal, and what was billed of them.
func (r *standaloneRig) ledgerAccount(advertiser string) (chargedMicros, billedDecimal4, balanceDecimal4 int64) {
	r.Helper()
	err := r.db.QueryRow(r.Context(), `select
		(select coalesce(sum(amount_micros), 0)::bigint from journal_entries where advertiser_id = $1 and not is_suspense),
		(select coalesce(sum(amount) * 10000, 0)::bigint from billing_ledger where advertiser_id = $1),
		(select (current_balance * 10000)::bigint from advertisers where id = $1)`, advertiser).Scan(&chargedMicros, &billedDecimal4, &balanceDecimal4)
	if err != nil {
		r.Fatal(err)
	}
	return chargedMicros, billedDecimal4, balanceDecimal4
}

// batchAccount is what the newest results in the archive say of the minutes before the end.
func (r *standaloneRig) batchAccount(advertiser string, to time.Time) (clicks, spendMicros, notBilled int64) {
	r.Helper()
	var sums table
	startJSON(r.T, nil, &sums, "sql", "--config", r.config, fmt.Sprintf(`select coalesce(sum(unique_clicks), 0)::bigint,
		coalesce(sum(spend_micros), 0)::bigint, coalesce(sum(invalid_clicks + duplicate_clicks), 0)::bigint
		from minutes where advertiser_id = '%s' and click_minute < timestamp '%s'`, advertiser, to.UTC().Format(time.DateTime)))
	if len(sums.Rows) != 1 || len(sums.Rows[0]) != 3 {
		r.Fatalf("sums: %+v", sums)
	}
	for i, to := range []*int64{&clicks, &spendMicros, &notBilled} {
		n, _ := sums.Rows[0][i].(float64) // far below 2^53
		*to = int64(n)
	}
	return clicks, spendMicros, notBilled
}

// agree holds page, API, ledger and batch of an advertiser to each other, to the click and to the micro. All
// that the ledger has must be in the range.
func (r *standaloneRig) agree(advertiser string, from time.Time, report *reconcile.Report) account {
	r.Helper()
	to := report.Cut
	r.show(advertiser, from, to)
	// What was posted is final a moment later: the API keeps the cuts for a second.
	r.wait(20*time.Second, fmt.Sprintf(`/^(none|([\d,]+) of them final)/.test(document.getElementById("total-state").textContent)
		&& (document.getElementById("total-clicks").dataset.value === "0" || document.getElementById("total-state").textContent.startsWith(document.getElementById("total-clicks").textContent + " of"))
		&& document.getElementById("balance").dataset.value
		&& Date.parse(document.getElementById("reconciliation").dataset.value) === %d`, to.UnixMilli()))
	page, fromAPI := r.pageAccount(), r.apiAccount(advertiser, from, to)
	if page != fromAPI {
		r.Errorf("%s: the page says %+v\nthe API %+v", advertiser, page, fromAPI)
	}
	charged, billed, balance := r.ledgerAccount(advertiser)
	owed := money.FormatDecimal4(-money.RoundHalfEvenToDecimal4(charged))
	if page.ChargedMicros != charged || page.SpendMicros != charged || balance != billed || page.Balance != money.FormatDecimal4(balance) || page.Balance != owed {
		r.Errorf("%s: the page says %+v\nthe ledger %d micros, billed %d and balance %d ten-thousandths", advertiser, page, charged, billed, balance)
	}
	clicks, spend, notBilled := r.batchAccount(advertiser, to)
	if page.Clicks != clicks || page.SpendMicros != spend || page.NotBilled != notBilled || page.FinalClicks != clicks {
		r.Errorf("%s: the page says %+v\nthe batch %d clicks, %d micros, %d not billed", advertiser, page, clicks, spend, notBilled)
	}
	return page
}
