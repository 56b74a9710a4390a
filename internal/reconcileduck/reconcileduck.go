// Package reconcileduck compares the rows of the stream and of the batch in DuckDB, and gives every
// click that only one of them billed a cause. The SQL is in sql/duckdb/reconcile_*.
//
// Input: both layers' rows and decisions and the archive's click files, all as Parquet. Output:
// totals and causes by advertiser, such that per advertiser and in total the causes add up to the
// difference, in clicks and in micros, and a Parquet file with a row for each differing click that
// comes to the same. What has no evidence is unexplained.
package reconcileduck

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/clickledger/clickledger/schemas"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// Unexplained is the cause of what has none.
const Unexplained = "unexplained"

// Causes are all causes of a difference, in the order of reports.
var Causes = []string{"late_in_stream", "duplicate_beyond_ttl", "duplicate_order", "flagged_by_stream_only",
	"flagged_by_batch_only", "not_seen_by_stream", "not_in_archive", "row_not_published", "policy_changed", Unexplained}

// Input names what is compared. Paths are of Parquet files.
type Input struct {
	DayStartMillis int64
	// CutMillis ends the comparison: rows of earlier minutes only.
	CutMillis int64

	BatchMinutes, BatchDecisions, BatchDeadLetters string
	StreamMinutes                                  string
	ClickFiles, DecisionFiles                      []string
	// Tail are decisions that the archive does not hold yet.
	Tail []schemas.ArchiveDecision
	// NextOffsets are the offsets below which the stream has published every click.
	NextOffsets map[int32]int64

	BatchPolicy, StreamPolicy string // hashes
	StreamPolicyFromMillis    int64  // first minute that the stream judged by that policy alone
	TTLMicros                 int64  // for which the stream remembers a click_id
	HistoryMillis             int64  // velocity window and cooling time
	LatenessMillis            int64  // for which the stream still counts a click

	Discrepancies string // the Parquet file to write
	List          List   // which of them come back

	MemoryLimit string // of DuckDB; default 1GB
	TempDir     string // where it spills to
}

// Sums are one layer's figures.
type Sums struct {
	RawClicks       int64 `json:"raw_clicks"`
	DuplicateClicks int64 `json:"duplicate_clicks"`
	InvalidClicks   int64 `json:"invalid_clicks"`
	BillableClicks  int64 `json:"billable_clicks"`
	SpendMicros     int64 `json:"spend_micros"`
}

// Add adds other to s.
func (s *Sums) Add(o Sums) {
	s.RawClicks += o.RawClicks
	s.DuplicateClicks += o.DuplicateClicks
	s.InvalidClicks += o.InvalidClicks
	s.BillableClicks += o.BillableClicks
	s.SpendMicros += o.SpendMicros
}

// Effect is what a cause contributes to the difference, batch less stream.
type Effect struct {
	Clicks int64 `json:"clicks"`
	Micros int64 `json:"micros"`
	// Gross counts clicks of either sign, so that what cancels out is still seen.
	Gross int64 `json:"gross_clicks"`
}

// Advertiser is the comparison for one advertiser.
type Advertiser struct {
	ID            string
	Batch, Stream Sums
	Effects       map[string]Effect // by cause
	// GrossClicks and GrossMicros are what differs with no regard to its sign.
	GrossClicks, GrossMicros int64
}

// Result is the outcome of a comparison. Advertisers come in order of their ID.
type Result struct {
	Advertisers   []Advertiser
	Minutes       []Minute      // in order
	Delays        []Delay       // in order
	Listed        []Discrepancy // in the order of the file
	Discrepancies int64         // rows of the file
}

// Compare compares the layers and writes the file of discrepancies.
func Compare(ctx context.Context, in Input) (_ *Result, err error) {
	dir, err := os.MkdirTemp(in.TempDir, "reconcile-")
	if err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, conn, err := open(ctx, in, dir)
	if err != nil {
		return nil, fmt.Errorf("reconcile: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(), db.Close()) }()
	c := &comparison{conn: conn, in: in}
	if err := c.load(ctx); err != nil {
		return nil, fmt.Errorf("reconcile: load: %w", err)
	}
	decisions, source := "reconcile_decision", "reconcile_source"
	if len(in.DecisionFiles) == 0 {
		decisions = "reconcile_decision_tail"
	}
	if len(in.ClickFiles) == 0 {
		source = "reconcile_source_empty"
	}
	for _, name := range []string{decisions, source, "reconcile_archived_end", "reconcile_rows", "reconcile_clicks",
		"reconcile_causes", "reconcile_rest"} {
		if _, err := conn.ExecContext(ctx, sqlduck.SQL(name)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	result := &Result{}
	if result.Advertisers, err = c.read(ctx); err != nil {
		return nil, err
	}
	if err := c.writeDiscrepancies(ctx, result); err != nil {
		return nil, err
	}
	return result, c.readPlots(ctx, result)
}

func open(ctx context.Context, in Input, dir string) (*sql.DB, *sql.Conn, error) {
	limit := in.MemoryLimit
	if limit == "" {
		limit = "1GB"
	}
	connector, err := duckdb.NewConnector("", func(conn driver.ExecerContext) error {
		for _, set := range [][2]string{{"set memory_limit = $1", limit}, {"set temp_directory = $1", dir}, {"set timezone = $1", "UTC"}} {
			if _, err := conn.ExecContext(ctx, set[0], []driver.NamedValue{{Ordinal: 1, Value: set[1]}}); err != nil {
				return fmt.Errorf("%s: %w", set[0], err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	db := sql.OpenDB(connector)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, conn, nil
}

// comparison is one database in memory on one connection: its tables and variables are its own.
type comparison struct {
	conn *sql.Conn
	in   Input
}

func (c *comparison) exec(ctx context.Context, query string, args ...any) error {
	_, err := c.conn.ExecContext(ctx, query, args...)
	return err
}

func (c *comparison) load(ctx context.Context) error {
	if err := c.exec(ctx, sqlduck.SQL("reconcile_input")); err != nil {
		return err
	}
	in := &c.in
	for _, set := range []struct {
		query string
		value any
	}{
		{"set variable rc_start = $1::bigint", in.DayStartMillis},
		{"set variable rc_cut = $1::bigint", in.CutMillis},
		{"set variable rc_batch_minutes = $1::varchar", sqlduck.EscapeGlob(in.BatchMinutes)},
		{"set variable rc_batch_decisions = $1::varchar", sqlduck.EscapeGlob(in.BatchDecisions)},
		{"set variable rc_batch_dead_letters = $1::varchar", sqlduck.EscapeGlob(in.BatchDeadLetters)},
		{"set variable rc_stream_minutes = $1::varchar", sqlduck.EscapeGlob(in.StreamMinutes)},
		{"set variable rc_batch_policy = $1::varchar", in.BatchPolicy},
		{"set variable rc_stream_policy = $1::varchar", in.StreamPolicy},
		{"set variable rc_stream_policy_from = $1::bigint", in.StreamPolicyFromMillis},
		{"set variable rc_ttl_micros = $1::bigint", in.TTLMicros},
		{"set variable rc_history_millis = $1::bigint", in.HistoryMillis},
		{"set variable rc_lateness_millis = $1::bigint", in.LatenessMillis},
		{"set variable rc_discrepancies = $1::varchar", in.Discrepancies},
		{"set variable rc_discrepancies_written = $1::varchar", sqlduck.EscapeGlob(in.Discrepancies)},
		{"set variable rc_list_since = $1::bigint", in.List.SinceMillis},
		{"set variable rc_list_advertiser = $1::varchar", in.List.AdvertiserID},
		{"set variable rc_list_limit = $1::bigint", in.List.Limit},
	} {
		if err := c.exec(ctx, set.query, set.value); err != nil {
			return err
		}
	}
	for kind, paths := range map[string][]string{"click": in.ClickFiles, "decision": in.DecisionFiles} {
		for _, path := range paths {
			if err := c.exec(ctx, "insert into rc_file values ($1, $2)", kind, sqlduck.EscapeGlob(path)); err != nil {
				return err
			}
		}
	}
	for partition, next := range in.NextOffsets {
		if err := c.exec(ctx, "insert into rc_frontier values ($1, $2)", partition, next); err != nil {
			return err
		}
	}
	for i := range in.Tail {
		d := &in.Tail[i]
		if err := c.exec(ctx, "insert into rc_tail values ($1, $2, $3, $4, $5, $6, $7, $8, $9)", d.LogPartition, d.LogOffset,
			d.Partition, d.Offset, d.ClickID, d.EventTime, d.Verdict, d.IsLate, d.PolicyHash); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) read(ctx context.Context) (list []Advertiser, err error) {
	at := map[string]int{}
	err = c.query(ctx, "reconcile_totals", func(rows *sql.Rows) error {
		a := Advertiser{Effects: map[string]Effect{}}
		b, s := &a.Batch, &a.Stream
		if err := rows.Scan(&a.ID, &b.RawClicks, &b.DuplicateClicks, &b.InvalidClicks, &b.BillableClicks, &b.SpendMicros,
			&s.RawClicks, &s.DuplicateClicks, &s.InvalidClicks, &s.BillableClicks, &s.SpendMicros); err != nil {
			return err
		}
		at[a.ID] = len(list)
		list = append(list, a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, c.query(ctx, "reconcile_effects", func(rows *sql.Rows) error {
		var id, cause string
		var e Effect
		var micros int64
		if err := rows.Scan(&id, &cause, &e.Clicks, &e.Micros, &e.Gross, &micros); err != nil {
			return err
		}
		a := &list[at[id]]
		a.Effects[cause] = e
		a.GrossClicks, a.GrossMicros = a.GrossClicks+e.Gross, a.GrossMicros+micros
		return nil
	})
}

func (c *comparison) query(ctx context.Context, name string, each func(*sql.Rows) error) error {
	rows, err := c.conn.QueryContext(ctx, sqlduck.SQL(name))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return rows.Err()
}
