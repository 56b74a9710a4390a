package ledgerpg

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// history fills the ledger with every kind of row: two closed months and an open one, charges,
// adjustments, credits of both sorts, payments, a reversal, suspense and transfers out of it, and a
// balance that crosses its limit both ways.
func (f *fixture) history() {
	f.t.Helper()
	f.register("a", "b")
	september, october := date("2026-09-29"), date("2026-10-02")
	f.post(request(september, charge("a", 1_234_567, 10), charge("b", 55, 1), charge("ghost", 777, 7)))
	settled := request(september, Charge{AdvertiserID: "a", SpendMicros: 1_000_000, Clicks: 8, InvalidClicks: 2},
		charge("b", 105, 2), charge("ghost", 777, 7))
	settled.Result, settled.ResultHash, settled.CutAt = "results/dt=2026-09-29/rev=2", "00ff", october
	settled.Held = []string{"nobody"}
	f.post(settled)
	f.receipt(KindPayment, "a", september, 2_000_000, "bank-1", "")
	f.closeMonth(september)
	f.post(request(october, charge("a", 1_500_000_000, 100), charge("b", 1, 1)))
	// A late click of the closed day, the first one of an advertiser then, and an invalid one.
	f.post(request(september, Charge{AdvertiserID: "a", SpendMicros: 900_000, Clicks: 7, InvalidClicks: 3},
		charge("b", 205, 3), charge("ghost", 777, 7), charge("ghost2", 9, 1)))
	f.register("ghost")
	if _, _, err := f.ledger.MoveSuspense(f.t.Context(), "move-1"); err != nil {
		f.t.Fatal(err)
	}
	credit := f.receipt(KindCredit, "b", october, 10_000, "ticket-1", "clicks of a bot")
	f.reverse(credit.Entry.EntryID, october)
	f.receipt(KindPayment, "a", october, 1_500_000_000, "bank-2", "")
	f.closeMonth(october)
	f.post(request(date("2026-11-20"), charge("a", 123_450, 3)))
	if err := f.execute("update advertisers set credit_limit = 50, name = 'B, renamed' where id = 'b'"); err != nil {
		f.t.Fatal(err)
	}
	f.sound()
}

func date(text string) time.Time {
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return day
}

func (f *fixture) receipt(kind, advertiser string, day time.Time, micros int64, reference, reason string) ReferenceResult {
	f.t.Helper()
	result, err := f.ledger.PostReceipt(f.t.Context(), receipt(kind, advertiser, day, micros, reference, reason))
	if err != nil {
		f.t.Fatal(err)
	}
	return result
}

func (f *fixture) reverse(entryID int64, day time.Time) {
	f.t.Helper()
	request := ReverseRequest{EntryID: entryID, Date: day, Reason: "by mistake", RunID: "hand"}
	if _, err := f.ledger.Reverse(f.t.Context(), request); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) closeMonth(month time.Time) Period {
	f.t.Helper()
	period, err := f.ledger.ClosePeriod(f.t.Context(), CloseRequest{Month: month, RunID: "close", Now: date("2027-01-01")})
	if err != nil {
		f.t.Fatal(err)
	}
	return period
}

// ledgerTables are all tables of the ledger, each with its key. The test fails where there is another.
var ledgerTables = map[string][]string{
	"accounts":          {"account_id"},
	"advertisers":       {"id"},
	"advertiser_events": {"event_id"},
	"billing_ledger":    {"transaction_id"},
	"chain_links":       {"link_id"},
	"closed_periods":    {"period_id"},
	"journal_entries":   {"entry_id"},
	"postings":          {"entry_id", "leg"},
	"sealed_days":       {"booking_date"},
	"settlements":       {"settlement_id"},
}

// changes says for each type how a value of it is changed as little as can be.
var changes = map[string]string{
	"bigint":                   "coalesce(%s, 0) + 1",
	"integer":                  "%s + 1",
	"smallint":                 "(%s + 1)::smallint",
	"numeric":                  "%s + 1",
	"text":                     "coalesce(%[1]s, '') || 'x'",
	"character varying":        "case when length(%[1]s) > 1 then left(%[1]s, -1) else coalesce(%[1]s, '') || 'x' end",
	"character":                "case %[1]s when 'USD' then 'EUR' when 'D' then 'C' else 'D' end",
	"date":                     "%s + 1",
	"boolean":                  "not %s",
	"bytea":                    "set_byte(%[1]s, 31, get_byte(%[1]s, 31) # 1)",
	"timestamp with time zone": "coalesce(%s, '2026-01-01') + interval '1 microsecond'",
	"ARRAY":                    "array_append(%s, 'x')",
}

// TestAnyChangeIsNamed changes, as only a superuser can, every column of every row of every table, and
// deletes every row; each time verification has to name the table and the row. That is 1,500 changes.
func TestAnyChangeIsNamed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.history()
	for _, table := range tablesOf(f) {
		key, ok := ledgerTables[table]
		if !ok {
			t.Fatalf("table %s is not known to this test", table)
		}
		columns := columnsOf(f, table)
		rows := rowsOf(f, table, key)
		for _, row := range rows {
			f.tamper(row, "delete from "+table+" where "+row.where)
			for column, kind := range columns {
				change, ok := changes[kind]
				if !ok {
					t.Fatalf("column %s.%s has the unknown type %s", table, column, kind)
				}
				if slices.Contains(key, column) {
					change = strings.Replace(change, "+ 1", "+ 1000", 1) // no other row has that key
				}
				f.tamper(row, fmt.Sprintf("update %s set %s = %s where %s", table, column, fmt.Sprintf(change, column), row.where))
			}
		}
	}
	f.sound()
}

// keyedRow is a row by its key: as a condition, and as verification writes it.
type keyedRow struct{ where, name string }

// tamper runs one statement with all guards off, verifies, and rolls back.
func (f *fixture) tamper(row keyedRow, statement string) {
	f.t.Helper()
	ctx := f.t.Context()
	tx, err := f.admin.Begin(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() {
		if err := tx.Rollback(ctx); err != nil {
			f.t.Fatal(err)
		}
	}()
	tag, err := tx.Exec(ctx, statement)
	if err != nil || tag.RowsAffected() != 1 {
		f.t.Fatalf("%s: %d rows, %v", statement, tag.RowsAffected(), err)
	}
	checks, err := verify(ctx, tx)
	if err != nil {
		f.t.Fatal(err)
	}
	var samples []string
	for _, check := range checks {
		samples = append(samples, check.Samples...)
	}
	if !slices.ContainsFunc(samples, func(s string) bool { return strings.HasPrefix(s, row.name) }) {
		f.t.Errorf("%s: %q is not named in %q", statement, row.name, samples)
	}
}

func tablesOf(f *fixture) []string {
	// No trigger and no constraint stands in the superuser's way.
	for _, statement := range []string{
		"set session_replication_role = replica",
		`do $$ declare c record; begin
			for c in select conrelid::regclass as t, conname from pg_constraint
				where contype in ('c', 'f') and connamespace = 'public'::regnamespace
			loop execute format('alter table %s drop constraint %I', c.t, c.conname); end loop;
			for c in select table_name, column_name from information_schema.columns
				where table_schema = 'public' and is_nullable = 'NO' and table_name <> 'goose_db_version'
				and column_name not in (select a.attname from pg_index i join pg_attribute a
					on a.attrelid = i.indrelid and a.attnum = any (i.indkey) where i.indisprimary and a.attrelid = table_name::regclass)
			loop execute format('alter table %I alter column %I drop not null', c.table_name, c.column_name); end loop;
		end $$`,
	} {
		if err := f.execute(statement); err != nil {
			f.t.Fatal(err)
		}
	}
	tables := list(f, `select table_name::text from information_schema.tables where table_schema = 'public'
		and table_name not in ('goose_db_version', 'pending_checks') order by 1`)
	if len(tables) != len(ledgerTables) {
		f.t.Fatalf("tables %q", tables)
	}
	return tables
}

func columnsOf(f *fixture, table string) map[string]string {
	columns := map[string]string{}
	for _, column := range list(f, `select column_name || ' ' || data_type from information_schema.columns
		where table_schema = 'public' and table_name = $1`, table) {
		name, kind, _ := strings.Cut(column, " ")
		columns[name] = kind
	}
	return columns
}

func rowsOf(f *fixture, table string, key []string) []keyedRow {
	parts, names := make([]string, len(key)), make([]string, len(key))
	for i, column := range key {
		parts[i] = fmt.Sprintf("format('%s = %%L', %s)", column, column)
		names[i] = fmt.Sprintf("format('%s=%%s', %s)", column, column)
	}
	var rows []keyedRow
	for _, row := range list(f, fmt.Sprintf("select concat_ws(' and ', %s) || '|' || concat_ws(' ', %s) from %s order by %s",
		strings.Join(parts, ", "), strings.Join(names, ", "), table, strings.Join(key, ", "))) {
		where, name, _ := strings.Cut(row, "|")
		rows = append(rows, keyedRow{where, table + " " + name})
	}
	if len(rows) == 0 {
		f.t.Fatalf("the history has no row in %s", table)
	}
	return rows
}

func list(f *fixture, sql string, args ...any) []string {
	f.t.Helper()
	rows, err := f.admin.Query(f.t.Context(), sql, args...)
	if err != nil {
		f.t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		f.t.Fatal(err)
	}
	return values
}
