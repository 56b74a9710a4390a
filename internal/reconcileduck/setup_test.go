package reconcileduck

import (
	"context"
	"database/sql"
	_ "embed"
	"path/filepath"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

const (
	second = int64(1000)
	minute = 60 * second
)

var (
	day  = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	noon = day + 12*60*minute

	//go:embed testdata/clicks.sql
	clicksSQL string
	//go:embed testdata/files.sql
	filesSQL string
	//go:embed testdata/random.sql
	randomSQL string
)

// click is one of a test's; its offset is its index. Verdicts default to billable.
type click struct {
	id            string
	at, received  int64 // received defaults to at
	cost          int64 // default 250,000 micros
	ip            string
	stream, batch string
	isLate        bool
	winner        int  // of a duplicate in the batch
	isGone        bool // from the archive
}

func (c click) row(offset int) []any {
	def := func(text *string, to string) {
		if *text == "" {
			*text = to
		}
	}
	def(&c.stream, "billable")
	def(&c.batch, "billable")
	def(&c.ip, "192.0.2.1")
	if c.received == 0 {
		c.received = c.at
	}
	if c.cost == 0 {
		c.cost = 250_000
	}
	var winner any
	if c.batch == "duplicate" {
		winner = c.winner
	}
	return []any{0, offset, c.id, c.at, c.received, c.cost, c.ip, "adv", "ad", c.stream, c.batch, c.isLate, winner, !c.isGone}
}

// fixture writes the files of clicks, or without any of as many random ones, and returns the input of a comparison.
func fixture(t testing.TB, clicks []click, random int) Input {
	t.Helper()
	dir := t.TempDir()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	run := func(query string, args ...any) {
		t.Helper()
		if _, err := conn.ExecContext(context.Background(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	run("set timezone = 'UTC'")
	run("set memory_limit = '2GB'")
	run("set temp_directory = '" + dir + "/spill'")
	run("set variable dir = $1::varchar", dir)
	run("set variable day = $1::bigint", day)
	run("set variable rows = $1::bigint", random)
	run(clicksSQL)
	for i, c := range clicks {
		run("insert into click values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)", c.row(i)...)
	}
	if len(clicks) == 0 {
		run(randomSQL)
	}
	run(filesSQL)
	file := func(name string) string { return filepath.Join(dir, name+".parquet") }
	return Input{DayStartMillis: day, CutMillis: day + 24*60*minute, BatchMinutes: file("batch"), BatchDecisions: file("batch_decisions"),
		BatchDeadLetters: file("dead_letters"), StreamMinutes: file("stream"), ClickFiles: []string{file("clicks")},
		DecisionFiles: []string{file("decisions")}, NextOffsets: map[int32]int64{0: max(int64(random), int64(len(clicks)))},
		BatchPolicy: "p1", StreamPolicy: "p1", TTLMicros: 600_000_000, HistoryMillis: 3_610_000, LatenessMillis: 600_000,
		Discrepancies: file("discrepancies"), List: List{Limit: 1000}, TempDir: dir, MemoryLimit: "3GB"}
}
