package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/schemas"
)

// serviceAway is how long a killed service is away at least; dev up then takes its time.
const serviceAway = 3 * time.Second

// TestServicesFaults runs the whole loop on real services and kills each of them while clicks come
// in, PostgreSQL while it takes a posting. Nothing is lost and nothing is doubled, and the services'
// own console tools say the same as ours.
func TestServicesFaults(t *testing.T) {
	f := newFaults(t)
	gateway, judging, archiving := f.supervise("gateway"), f.supervise("stream"), f.supervise("archive")
	f.awaitGateway()
	var sent, acknowledged, again int64
	for round, name := range []string{"kafka", "clickhouse", "s3", "redis"} {
		wait := f.send(round + 1)
		time.Sleep(4 * time.Second)
		f.crash(name, serviceAway)
		l := wait()
		if l.log.LogRecords != l.log.Records || l.gateway.Redirected != l.gateway.Records-l.gateway.Skipped || l.gateway.Refused != 0 {
			t.Errorf("round of %s: sent %+v", name, l)
		}
		sent, acknowledged, again = sent+l.log.LogRecords, acknowledged+l.gateway.Redirected, again+l.gateway.Retries
		t.Logf("%s: %d records to the log, %d through the gateway, of it %d requests again, answers %v",
			name, l.log.LogRecords, l.gateway.Redirected, l.gateway.Retries, l.gateway.Answers)
	}
	for _, job := range []*supervised{gateway, judging, archiving} {
		t.Logf("%s was started again %d times", job.name, job.stop())
	}
	if t.Failed() {
		return
	}
	f.finish()
	records := f.checkLog(sent, acknowledged, again)
	f.checkDecisions(records)
	f.settle(records)
}

// awaitGateway waits until the gateway listens.
func (f *faults) awaitGateway() {
	f.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		response, err := http.Get("http://" + f.at(80) + "/")
		if err == nil {
			response.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			f.Fatalf("the gateway does not listen: %v", err)
		}
	}
}

// finish has stream and archive come to the end of the log.
func (f *faults) finish() {
	f.Helper()
	for _, args := range []string{"stream --until-end", "archive --until-end"} {
		if got := start(f.T, f.env, strings.Fields(args)...); got.code != config.ExitOK {
			f.Fatalf("%s: exit code %d: %s", args, got.code, got.err)
		}
	}
}

// checkLog compares the log with what was sent, the archive with the log, and Kafka's console
// consumer with both. It returns how many records of clicks the log holds.
func (f *faults) checkLog(sent, acknowledged, again int64) int64 {
	f.Helper()
	var report archive.Report
	startJSON(f.T, f.env, &report, "archive", "verify")
	if !report.LogChecked || len(report.Problems)+len(report.Pending) != 0 {
		f.Errorf("archive: %+v", report)
	}
	held := map[string]int64{}
	for _, p := range report.Partitions {
		held[p.Topic] += p.Records
		if p.Behind != 0 {
			f.Errorf("%s/%d: %d records are not archived", p.Topic, p.Partition, p.Behind)
		}
	}
	// A click whose acknowledgement a crash has swallowed is sent again, by the gateway's client.
	records := held[schemas.TopicClicks]
	if copies := records - sent - acknowledged; copies < 0 || copies > again {
		f.Errorf("the log holds %d records; %d were written to it, %d clicks acknowledged by the gateway, %d requests sent again",
			records, sent, acknowledged, again)
	}
	var twice table
	startJSON(f.T, f.env, &twice, "sql", `select count(*) - count(distinct (click_id, received_at, "partition")) as n from clicks`)
	if len(twice.Rows) != 1 || twice.Rows[0][0] != float64(0) {
		f.Errorf("clicks that the log holds twice, with one time of receipt: %v", twice.Rows)
	}
	f.Logf("the log holds %d records, of it %d of the generator, %d acknowledged by the gateway", records, sent, acknowledged)
	for _, topic := range []string{schemas.TopicClicks, schemas.TopicDecisions, schemas.TopicDLQ} {
		if got := f.consoleConsumer(topic); got != held[topic] || got == 0 {
			f.Errorf("%s: Kafka's console consumer reads %d records, the archive holds %d", topic, got, held[topic])
		}
	}
	return records
}

// settle judges, reconciles and posts every day, while PostgreSQL is killed once, and holds the sums
// of all places to each other.
func (f *faults) settle(records int64) {
	f.Helper()
	var sum batch.Result
	var micros int64
	days := f.days()
	for i, day := range days {
		var result batch.Result
		startJSON(f.T, f.env, &result, "batch", "--date", day)
		if verdicts := result.BillableClicks + result.DuplicateClicks + result.InvalidClicks + result.DeadLetters; verdicts != result.Records {
			f.Errorf("%s: %d records, %d verdicts", day, result.Records, verdicts)
		}
		sum.Records += result.Records
		sum.SpendMicros += result.SpendMicros
		sum.BillableClicks += result.BillableClicks
		if i == len(days)-1 { // the day of most clicks
			f.killWhilePosting(day)
		}
		first, second := f.post(day), f.post(day)
		if first.LedgerMicros != result.SpendMicros || second.PostedEntries != 0 || second.LedgerMicros != first.LedgerMicros {
			f.Errorf("%s: batch %+v, posted %+v, and again %+v", day, result, first, second)
		}
		micros += second.LedgerMicros
		f.sameRows(day, result)
		f.Logf("%s: %d records, %d billable, %d duplicates, %d invalid, %d dead letters, %d micros; posted %d entries",
			day, result.Records, result.BillableClicks, result.DuplicateClicks, result.InvalidClicks, result.DeadLetters,
			result.SpendMicros, first.PostedEntries)
	}
	if sum.Records != records || sum.BillableClicks == 0 || micros != sum.SpendMicros {
		f.Errorf("the log holds %d records, the days %+v and %d micros in the ledger", records, sum, micros)
	}
	f.psql(sum.SpendMicros, sum.BillableClicks)
}

// days are the days that have a result.
func (f *faults) days() []string {
	f.Helper()
	got := start(f.T, f.env, "sql", "--csv", `select distinct day::varchar as day from (
		select event_time::date as day from clicks union all select dt from dead_letters) order by 1`)
	lines := strings.Fields(got.out)
	if got.code != config.ExitOK || len(lines) < 2 {
		f.Fatalf("days: %q, %s", got.out, got.err)
	}
	return lines[1:]
}

// post runs reconcile --post and wants a clean report.
func (f *faults) post(day string) (report reconcile.Report) {
	f.Helper()
	isOver := day < time.Now().UTC().Format(time.DateOnly)
	startJSON(f.T, f.env, &report, "reconcile", "--date", day, "--post")
	if !report.IsClean() || !report.IsPosted || report.LedgerDebitMicros != report.LedgerCreditMicros || report.IsComplete != isOver {
		f.Errorf("%s: %+v", day, report)
	}
	return report
}

// killWhilePosting kills PostgreSQL while a posting's transaction is open.
func (f *faults) killWhilePosting(day string) {
	f.Helper()
	conn, err := pgx.Connect(f.Context(), f.ledger())
	if err != nil {
		f.Fatal(err)
	}
	defer conn.Close(context.Background())
	// The last that a posting writes: it cannot end before the kill.
	held, err := conn.Begin(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	if _, err := held.Exec(f.Context(), "lock table settlements in share mode"); err != nil {
		f.Fatal(err)
	}
	other, err := pgx.Connect(f.Context(), f.ledger())
	if err != nil {
		f.Fatal(err)
	}
	defer other.Close(context.Background())
	ended := make(chan outcome, 1)
	go func() { ended <- start(f.T, f.env, "reconcile", "--date", day, "--post") }()
	isOpen := false
	for deadline := time.Now().Add(2 * time.Minute); !isOpen; time.Sleep(time.Millisecond) {
		// A transaction that has an id has written, and this one waits for the lock.
		if err := other.QueryRow(f.Context(), `select exists (select from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock' and backend_xid is not null)`).Scan(&isOpen); err != nil {
			f.Fatal(err)
		}
		if time.Now().After(deadline) {
			f.Fatal("reconcile has written nothing to the ledger")
		}
	}
	f.crash("postgres", 0)
	got := <-ended
	lines := strings.Split(strings.TrimSpace(got.err), "\n")
	if got.code != config.ExitFailed {
		f.Errorf("reconcile, whose ledger was killed: exit code %d: %s", got.code, lines[len(lines)-1])
	}
	f.Logf("reconcile ended with exit code %d: %s", got.code, lines[len(lines)-1])
}

func (f *faults) ledger() string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable",
		devservices.PostgresUser, devservices.PostgresPassword, f.at(432), devservices.PostgresDatabase)
}
