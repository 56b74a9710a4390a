// Package archived finds what the batch layer has to say to the analytics API: the newest
// reconciliation, invalid clicks by rule, and statements. It reads the archive and the ledger, and
// keeps what it has counted in memory; nothing is written but temporary copies.
//
// A report is read anew every time: a day may be reconciled again. A result of the batch never
// changes, so its rules are counted once, in the background.
package archived

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // reads discrepancies.parquet

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/analyst"
	"github.com/clickledger/clickledger/jobs/api"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/ledger"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// Config says what to read.
type Config struct {
	// Archive names the archive, and what DuckDB may take.
	analyst.Config
	// Logger gets failures to count; default none.
	Logger *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Archive answers api.Archive. It is safe for concurrent use.
type Archive struct {
	cfg   Config
	store objectstore.Store
	rules rules

	mu       sync.Mutex
	causes   map[causeKey][]api.Cause // of the report that was read last
	listed   []report
	listedAt time.Time
}

// listFor is how long a listing of the results is used.
const listFor = 2 * time.Second

// causesMax bounds the advertisers whose causes are kept.
const causesMax = 10_000

type causeKey struct {
	report       string // its place and its bytes
	advertiserID string
}

// Open opens the archive. Close it.
func Open(ctx context.Context, cfg Config) (*Archive, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	store, err := objectstore.Open(ctx, cfg.Archive)
	if err != nil {
		return nil, err
	}
	a := &Archive{cfg: cfg, store: store, causes: map[causeKey][]api.Cause{}}
	a.rules.start(ctx)
	return a, nil
}

// Close ends what is being counted.
func (a *Archive) Close() { a.rules.stop() }

// report is a reconciliation's place.
type report struct {
	date     string
	revision int
	prefix   string // with a slash at its end
}

var reportKey = regexp.MustCompile(`^(results/dt=(\d{4}-\d\d-\d\d)/rev=(\d{1,9})/)report\.json$`)

// newest returns the newest report, of the day if it is not empty.
func (a *Archive) newest(ctx context.Context, day string) (report, error) {
	reports, err := a.list(ctx)
	if err != nil {
		return report{}, err
	}
	for _, r := range slices.Backward(reports) {
		if day == "" || r.date == day {
			return r, nil
		}
	}
	return report{}, fmt.Errorf("reconciliation of %q: %w", day, api.ErrNotFound)
}

// list returns the reports by day and revision.
func (a *Archive) list(ctx context.Context) ([]report, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := a.cfg.Now(); a.listedAt.IsZero() || now.Sub(a.listedAt) >= listFor {
		objects, err := a.store.List(ctx, "results/")
		if err != nil {
			return nil, fmt.Errorf("list results: %w", err)
		}
		var reports []report
		for _, o := range objects {
			m := reportKey.FindStringSubmatch(o.Key)
			if m == nil {
				continue
			}
			revision, err := strconv.Atoi(m[3])
			if err != nil {
				return nil, fmt.Errorf("list results: %s: %w", o.Key, err)
			}
			reports = append(reports, report{date: m[2], revision: revision, prefix: m[1]})
		}
		slices.SortFunc(reports, func(a, b report) int {
			if c := strings.Compare(a.date, b.date); c != 0 {
				return c
			}
			return a.revision - b.revision
		})
		a.listed, a.listedAt = reports, now
	}
	return a.listed, nil
}

// reportDocument is what is read of report.json, by its stable names.
type reportDocument struct {
	Date       string    `json:"date"`
	Cut        time.Time `json:"cut"`
	IsComplete bool      `json:"is_complete"`
	IsPosted   bool      `json:"is_posted"`
	Stream     api.Layer `json:"stream"`
	Batch      api.Layer `json:"batch"`
	Causes     map[string]struct {
		Clicks int64 `json:"clicks"`
		Micros int64 `json:"micros"`
	} `json:"causes"`
	UnexplainedClicks int64       `json:"unexplained_clicks"`
	UnexplainedMicros int64       `json:"unexplained_micros"`
	Gate              []api.Check `json:"gate"`
	HeldAdvertisers   []string    `json:"held_advertisers"`
}

// Reconciliation answers api.Archive.
func (a *Archive) Reconciliation(ctx context.Context, day, advertiserID string) (*api.Reconciliation, error) {
	at, err := a.newest(ctx, day)
	if err != nil {
		return nil, err
	}
	text, err := a.store.Get(ctx, at.prefix+"report.json")
	if err != nil {
		return nil, fmt.Errorf("read report of %s: %w", at.date, err)
	}
	var doc reportDocument
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("read report of %s: %w", at.date, err)
	}
	r := &api.Reconciliation{Date: doc.Date, AdvertiserID: advertiserID, Cut: doc.Cut.UTC(), IsComplete: doc.IsComplete,
		IsPosted: doc.IsPosted, Causes: []api.Cause{}, Gate: doc.Gate}
	if r.Gate == nil {
		r.Gate = []api.Check{}
	}
	if advertiserID == "" {
		return doc.whole(r), nil
	}
	r.IsHeld = slices.Contains(doc.HeldAdvertisers, advertiserID)
	if r.Causes, err = a.causesOf(ctx, at, text, advertiserID); err != nil {
		return nil, fmt.Errorf("read discrepancies of %s: %w", at.date, err)
	}
	for _, c := range r.Causes {
		r.DifferenceClicks, r.DifferenceMicros = r.DifferenceClicks+c.Clicks, r.DifferenceMicros+c.Micros
		if c.Cause == unexplained {
			r.UnexplainedClicks, r.UnexplainedMicros = c.Clicks, c.Micros
		}
	}
	return r, nil
}

// whole fills in what concerns all advertisers together.
func (d *reportDocument) whole(r *api.Reconciliation) *api.Reconciliation {
	r.Whole(d.Stream, d.Batch)
	r.UnexplainedClicks, r.UnexplainedMicros, r.IsHeld = d.UnexplainedClicks, d.UnexplainedMicros, len(d.HeldAdvertisers) > 0
	for cause, e := range d.Causes {
		r.Causes = append(r.Causes, api.Cause{Cause: cause, Clicks: e.Clicks, Micros: e.Micros})
	}
	slices.SortFunc(r.Causes, func(a, b api.Cause) int { return strings.Compare(a.Cause, b.Cause) })
	return r
}

const unexplained = "unexplained"

// causesOf are an advertiser's, out of the differing clicks.
func (a *Archive) causesOf(ctx context.Context, at report, text []byte, advertiserID string) ([]api.Cause, error) {
	key := causeKey{report: at.prefix + string(text), advertiserID: advertiserID}
	a.mu.Lock()
	causes, ok := a.causes[key]
	a.mu.Unlock()
	if ok {
		return causes, nil
	}
	dir, err := os.MkdirTemp(a.cfg.TempDir, "clickledger-api-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file, err := batch.LocalCopy(ctx, a.store, path.Join(at.prefix, "discrepancies.parquet"), dir)
	if err != nil {
		return nil, err
	}
	if causes, err = readCauses(ctx, file, advertiserID); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for k := range a.causes {
		if k.report != key.report || len(a.causes) >= causesMax {
			delete(a.causes, k)
		}
	}
	a.causes[key] = causes
	return causes, nil
}

func readCauses(ctx context.Context, file, advertiserID string) (_ []api.Cause, err error) {
	db, err := sql.Open("duckdb", "?threads=1&memory_limit=256MB")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, sqlduck.SQL("api_discrepancies"), sqlduck.EscapeGlob(file), advertiserID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	causes := []api.Cause{}
	for rows.Next() {
		var c api.Cause
		if err := rows.Scan(&c.Cause, &c.Clicks, &c.Micros); err != nil {
			return nil, err
		}
		causes = append(causes, c)
	}
	return causes, rows.Err()
}

// Statements answers api.Statements.
type Statements struct {
	Config analyst.Config
	Book   ledger.Book

	one sync.Mutex // a statement may read much: one at a time
}

// Statement answers api.Statements.
func (s *Statements) Statement(ctx context.Context, advertiserID string, month time.Time, format string) ([]byte, error) {
	s.one.Lock()
	defer s.one.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	doc, err := ledger.Build(ctx, ledger.Config{Config: s.Config, AdvertiserID: advertiserID, Month: month}, s.Book)
	if errors.Is(err, ledger.ErrNoBill) {
		return nil, errors.Join(api.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	switch format {
	case "csv":
		err = doc.WriteCSV(&out)
	case "json":
		err = json.NewEncoder(&out).Encode(doc)
	default:
		err = doc.WriteHTML(&out)
	}
	return out.Bytes(), err
}
