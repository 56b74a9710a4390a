// Package auditduck is the independent audit: the totals of a billing day computed by DuckDB from
// the archive's Parquet files alone, by SQL written from the billing contract (sql/duckdb/audit_*)
// that shares no code with the transforms. The reconciliation posts nothing where it disagrees.
//
// Input: the archive's files and a policy. Output: totals, the same for the same input. Units:
// Unix milliseconds UTC, int64 micros. The package also gives analysts a database with views on
// the archive.
//
// What it cannot see: a dead letter of the archive stays one, since SQL does not decode protobuf.
// A click of the archive that the given policy refuses by cost or by time becomes a dead letter.
package auditduck

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/clickledger/clickledger/schemas/policy"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// Input names what to audit: the clicks with an event time in [DayStartMillis, CutMillis), and the
// dead letters received then.
type Input struct {
	// ClickFiles are the archive's click files, at least those with a click of the day, with an
	// event time of up to Horizon before it, or with a copy of such a click's id received within
	// the look-back before. More files change nothing but the time it takes; a chain of copies
	// that reaches further back than the files is judged from its first copy in them.
	ClickFiles []string
	// DeadLetterFiles are the archive's dead-letter files with one received in the day.
	DeadLetterFiles []string
	DayStartMillis  int64
	DayEndMillis    int64
	// CutMillis ends the audit within a day in progress. Default DayEndMillis.
	CutMillis int64
	Policy    *policy.Policy

	// MemoryLimit is DuckDB's memory_limit. Default 2GB.
	MemoryLimit string
	// Threads is DuckDB's threads. Default 2.
	Threads int
	// TempDir is where DuckDB spills to, in a folder that comes and goes. Default: the system's.
	TempDir string
}

const (
	defaultMemoryLimit = "2GB"
	defaultThreads     = 2
)

// AdvertiserTotal is what one advertiser owes for the day, and what he is not charged.
type AdvertiserTotal struct {
	AdvertiserID    string `json:"advertiser_id"`
	BillableClicks  int64  `json:"billable_clicks"`
	DuplicateClicks int64  `json:"duplicate_clicks"`
	InvalidClicks   int64  `json:"invalid_clicks"`
	SpendMicros     int64  `json:"spend_micros"`
}

// Totals is the result of an audit. Records is the sum of the four verdicts.
type Totals struct {
	Records             int64             `json:"records"`
	BillableClicks      int64             `json:"billable_clicks"`
	DuplicateClicks     int64             `json:"duplicate_clicks"`
	ConflictClicks      int64             `json:"conflict_clicks"` // among the duplicates
	InvalidClicks       int64             `json:"invalid_clicks"`
	InvalidByRule       map[string]int64  `json:"invalid_by_rule"` // rules that hit nothing are left out
	DeadLetters         int64             `json:"dead_letters"`
	DeadLettersByReason map[string]int64  `json:"dead_letters_by_reason"`
	SpendMicros         int64             `json:"spend_micros"`
	Advertisers         []AdvertiserTotal `json:"advertisers"` // with a click, by advertiser_id
}

// Horizon is how far before a day the unique clicks matter to its velocity rules.
func Horizon(p *policy.Policy) time.Duration {
	return policy.Max(p, func(r *policy.Revision) time.Duration { return r.Velocity.Window }) +
		policy.Max(p, func(r *policy.Revision) time.Duration { return r.Velocity.Cooling })
}

// Audit computes the totals of the input.
func Audit(ctx context.Context, in Input) (Totals, error) {
	var t Totals
	err := judged(ctx, in, func(a *audit) error {
		var err error
		t, err = a.totals(ctx)
		return err
	})
	if err != nil {
		return Totals{}, fmt.Errorf("sql audit: %w", err)
	}
	return t, nil
}

// Minutes writes the day's rows to a Parquet file of the shape of minutes.parquet, in key order:
// the whole batch job in SQL, for comparison and for benchmarks.
func Minutes(ctx context.Context, in Input, path string) error {
	err := judged(ctx, in, func(a *audit) error {
		if err := a.exec(ctx, "set variable audit_minutes_path = $1::varchar", path); err != nil {
			return err
		}
		return a.run(ctx, "audit_minutes")
	})
	if err != nil {
		return fmt.Errorf("minutes in sql: %w", err)
	}
	return nil
}

// audit is one database in memory on one connection: tables, views and variables are its own.
type audit struct {
	conn *sql.Conn
	in   Input
}

// judged sets the verdicts of the input up, calls use, and takes everything down.
func judged(ctx context.Context, in Input, use func(*audit) error) (err error) {
	if in, err = in.complete(); err != nil {
		return err
	}
	tempDir, err := os.MkdirTemp(in.TempDir, "audit-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tempDir)) }()
	db, err := openMemory(ctx, settings{in.MemoryLimit, in.Threads, tempDir}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	a := &audit{conn, in}
	if err := a.load(ctx); err != nil {
		return err
	}
	if err := a.judge(ctx); err != nil {
		return err
	}
	return use(a)
}

func (in Input) complete() (Input, error) {
	if in.CutMillis == 0 {
		in.CutMillis = in.DayEndMillis
	}
	if in.MemoryLimit == "" {
		in.MemoryLimit = defaultMemoryLimit
	}
	if in.Threads == 0 {
		in.Threads = defaultThreads
	}
	if in.Policy == nil {
		return in, errors.New("no policy")
	}
	if in.DayEndMillis <= in.DayStartMillis || in.CutMillis < in.DayStartMillis || in.CutMillis > in.DayEndMillis {
		return in, fmt.Errorf("cut %d is not in day [%d, %d]", in.CutMillis, in.DayStartMillis, in.DayEndMillis)
	}
	return in, nil
}

// load fills the input's tables and variables.
func (a *audit) load(ctx context.Context) error {
	if err := a.run(ctx, "audit_input"); err != nil {
		return err
	}
	horizon := a.in.DayStartMillis - Horizon(a.in.Policy).Milliseconds()
	for _, set := range []struct {
		query string
		value int64
	}{
		{"set variable audit_start = $1::bigint", a.in.DayStartMillis},
		{"set variable audit_end = $1::bigint", a.in.CutMillis},
		{"set variable audit_horizon = $1::bigint", horizon},
	} {
		if err := a.exec(ctx, set.query, set.value); err != nil {
			return err
		}
	}
	for _, path := range a.in.ClickFiles {
		if err := a.exec(ctx, "insert into audit_click_file values ($1)", sqlduck.EscapeGlob(path)); err != nil {
			return err
		}
	}
	for _, path := range a.in.DeadLetterFiles {
		if err := a.exec(ctx, "insert into audit_dead_letter_file values ($1)", sqlduck.EscapeGlob(path)); err != nil {
			return err
		}
	}
	for i := range a.in.Policy.Revisions {
		if err := a.loadRevision(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) loadRevision(ctx context.Context, i int) error {
	revisions := a.in.Policy.Revisions
	r := &revisions[i]
	from, to := int64(math.MinInt64), int64(math.MaxInt64) // the first judges what is older, too
	if i > 0 {
		from = r.EffectiveFrom.UnixMilli()
	}
	if i+1 < len(revisions) {
		to = revisions[i+1].EffectiveFrom.UnixMilli()
	}
	err := a.exec(ctx, "insert into audit_revision values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		i, from, to, r.MaxEventAhead.Microseconds(), r.MaxEventAge.Microseconds(), r.MaxCostMicros,
		r.Dedup.Lookback.Microseconds(), r.Velocity.Window.Milliseconds(), r.Velocity.MaxClicks,
		r.Velocity.Cooling.Milliseconds())
	if err != nil {
		return err
	}
	for _, cidr := range r.ListedNetworks.CIDRs {
		if err := a.exec(ctx, "insert into audit_cidr values ($1, $2)", i, cidr); err != nil {
			return err
		}
	}
	return nil
}

// judge runs the steps up to the view audit_verdict.
func (a *audit) judge(ctx context.Context) error {
	source, deadLetters := "audit_source", "audit_dead_letter_source"
	if len(a.in.ClickFiles) == 0 {
		source = "audit_source_empty"
	}
	if len(a.in.DeadLetterFiles) == 0 {
		deadLetters = "audit_dead_letter_source_empty"
	}
	if err := a.run(ctx, source, deadLetters, "audit_click", "audit_address",
		"audit_duplicate", "audit_velocity", "audit_listed"); err != nil {
		return err
	}
	for i := range a.in.Policy.Revisions {
		if !a.isInForce(i) {
			continue
		}
		for _, expression := range alternatives(a.in.Policy.Revisions[i].BotUserAgents.Patterns) {
			if err := a.exec(ctx, sqlduck.SQL("audit_bot"), i, expression); err != nil {
				return fmt.Errorf("audit_bot: %w", err)
			}
		}
	}
	return a.run(ctx, "audit_verdict")
}

// isInForce reports whether the revision judges a minute of the audited span.
func (a *audit) isInForce(i int) bool {
	revisions := a.in.Policy.Revisions
	starts := i == 0 || revisions[i].EffectiveFrom.UnixMilli() < a.in.CutMillis
	return starts && (i+1 == len(revisions) || revisions[i+1].EffectiveFrom.UnixMilli() > a.in.DayStartMillis)
}

// alternatives joins patterns into one expression, so that user agents are read once. A pattern
// with a quotation that may not end stands for itself.
func alternatives(patterns []string) []string {
	var joined, alone []string
	for _, pattern := range patterns {
		if strings.Contains(pattern, `\Q`) {
			alone = append(alone, pattern)
		} else {
			joined = append(joined, "(?:"+pattern+")")
		}
	}
	if len(joined) > 0 {
		alone = append(alone, strings.Join(joined, "|"))
	}
	return alone
}

func (a *audit) run(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := a.exec(ctx, sqlduck.SQL(name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (a *audit) exec(ctx context.Context, query string, args ...any) error {
	_, err := a.conn.ExecContext(ctx, query, args...)
	return err
}

type settings struct {
	memoryLimit string
	threads     int
	tempDir     string
}

// openMemory opens a database in memory; more runs on each of its connections.
func openMemory(ctx context.Context, s settings, more func(driver.ExecerContext) error) (*sql.DB, error) {
	connector, err := duckdb.NewConnector("", func(conn driver.ExecerContext) error {
		for _, set := range []struct {
			query string
			value any
		}{
			{"set memory_limit = $1", s.memoryLimit},
			{"set threads = $1", int64(s.threads)},
			{"set temp_directory = $1", filepath.Clean(s.tempDir)},
			{"set preserve_insertion_order = $1", false},
			{"set timezone = $1", "UTC"},
		} {
			args := []driver.NamedValue{{Ordinal: 1, Value: set.value}}
			if _, err := conn.ExecContext(ctx, set.query, args); err != nil {
				return fmt.Errorf("%s: %w", set.query, err)
			}
		}
		if more == nil {
			return nil
		}
		return more(conn)
	})
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
