package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/jobs/batch"
)

// kafkaProgram is the Java and the class path that the broker runs with.
func (f *faults) kafkaProgram() (java, jars string) {
	f.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", f.pids["kafka"]))
	if err != nil {
		f.Fatal(err)
	}
	args := strings.Split(string(text), "\x00")
	at := slices.Index(args, "-cp")
	if at < 0 || at+1 == len(args) {
		f.Fatalf("Kafka runs as %q", args)
	}
	return args[0], args[at+1]
}

// consoleConsumer is how many records Kafka's own console consumer reads of a topic, each once.
func (f *faults) consoleConsumer(topic string) int64 {
	f.Helper()
	java, jars := f.kafkaProgram()
	out, err := exec.CommandContext(f.Context(), java, "-Xmx256m", "-XX:+UseSerialGC", "-cp", jars,
		"org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", f.at(92), "--topic", topic,
		"--from-beginning", "--timeout-ms", "10000", "--formatter-property", "print.partition=true",
		"--formatter-property", "print.offset=true", "--formatter-property", "print.value=false").Output()
	if err != nil {
		f.Errorf("console consumer of %s: %v", topic, err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "Partition:") || seen[line] {
			f.Errorf("console consumer of %s: line %q", topic, line)
			break
		}
		seen[line] = true
	}
	f.Logf("%s: Kafka's console consumer reads %d records", topic, len(seen))
	return int64(len(seen))
}

// query asks ClickHouse over HTTP.
func (r *devRig) query(statement string) []string {
	r.Helper()
	response, err := http.Post("http://"+r.at(123)+"/?database="+devservices.ClickHouseDatabase, "text/plain", strings.NewReader(statement))
	if err != nil {
		r.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		r.Fatalf("%s: %s: %s, %v", statement, response.Status, text, err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// rowColumns are a minute's row less its version, which publishing raises.
const rowColumns = `advertiser_id, campaign_id, ad_id, device_type, country_code,
	raw_clicks, duplicate_clicks, invalid_clicks, unique_clicks, spend_micros`

// sameRows compares every final row in ClickHouse with the batch's, and the sums of the day.
func (f *faults) sameRows(day string, result batch.Result) {
	f.Helper()
	got := f.query(`select concat_ws('|', toUnixTimestamp(click_minute), ` + rowColumns + `) from ad_clicks_hourly final
		where toDate(click_minute, 'UTC') = '` + day + `' and is_final format TabSeparated`)
	answer := start(f.T, f.env, "sql", "--csv", `select concat_ws('|', epoch(click_minute)::bigint, `+rowColumns+`) as line
		from minutes where dt = '`+day+`'`)
	if answer.code != config.ExitOK {
		f.Fatalf("rows of the batch: %s", answer.err)
	}
	want := strings.Split(strings.TrimSuffix(answer.out, "\n"), "\n")[1:]
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || int64(len(got)) != result.Rows {
		f.Errorf("%s: ClickHouse has %d final rows, the batch %d (%d by its result); the first are %q and %q",
			day, len(got), len(want), result.Rows, got[0], want[0])
	}
	sums := f.query(`select count(), sum(unique_clicks), sum(duplicate_clicks), sum(invalid_clicks), sum(spend_micros),
			countIf(not is_final) from ad_clicks_hourly final
		where toDate(click_minute, 'UTC') = '` + day + `' format TabSeparated`)
	if want := fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t0", result.Rows, result.BillableClicks, result.DuplicateClicks,
		result.InvalidClicks, result.SpendMicros); sums[0] != want {
		f.Errorf("%s: ClickHouse sums up to %q, want %q", day, sums[0], want)
	}
	f.Logf("%s: %d rows of ClickHouse, read over HTTP, are the batch's", day, len(got))
}

// psql compares the ledger's sums, as PostgreSQL's own console client reads them, with the batch's.
func (f *faults) psql(micros, clicks int64) {
	f.Helper()
	program, err := exec.LookPath("psql")
	if err != nil { // beside the server that runs
		server, linkErr := os.Readlink(fmt.Sprintf("/proc/%d/exe", f.pidOfPostgres()))
		program = filepath.Join(filepath.Dir(server), "psql")
		if _, statErr := os.Stat(program); linkErr != nil || statErr != nil {
			f.Log("SKIPPED: the ledger's sums by psql: there is none on the PATH or beside the server")
			return
		}
	}
	cmd := exec.CommandContext(f.Context(), program, "--no-psqlrc", "--tuples-only", "--no-align", "--dbname", f.ledger(), "--command", `
		select sum(amount_micros) filter (where side = 'D'), sum(amount_micros) filter (where side = 'C'),
			(select sum(amount_micros) from journal_entries), (select sum(day_clicks) from journal_entries),
			(select count(*) from journal_entries) = count(distinct entry_id)
		from postings`)
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("%d|%d|%d|%d|t", micros, micros, micros, clicks)
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		f.Errorf("psql: got %q, %v, want %q", got, err, want)
	}
	f.Logf("psql: debits, credits, entries, clicks, entries with postings: %s", strings.TrimSpace(string(out)))
}
