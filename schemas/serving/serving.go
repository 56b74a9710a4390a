// Package serving is the contract of the serving store: the interface through which jobs use it,
// its value types, and what its implementations have in common. internal/servingduck keeps the rows
// in a DuckDB file, internal/clickhouseio in ClickHouse; the tests of this contract are one table,
// in internal/servingtest, that runs against both.
//
// Units: Unix milliseconds UTC, int64 micros.
package serving

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/clickledger/clickledger/schemas"
)

// ErrNotReadOnly is returned by Query for anything but one reading statement.
var ErrNotReadOnly = errors.New("only one statement that reads is allowed")

// EpochShift leaves the lower bits of a provisional row's version to the number of records in the
// row; the bits above are the epoch. Each change of the policy begins an epoch.
const EpochShift = 40

// FinalVersion is the version of final rows as jobs write them: above every version of the stream.
const FinalVersion = 1 << 62

// Progress is how far the stream has published. It never is ahead of the rows that are stored.
type Progress struct {
	WatermarkMillis int64           // W: every window that ends at or before W is published
	NextOffsets     map[int32]int64 // by partition, the next offset to read
	IsDrained       bool            // the stream has published all that it read, and stopped
	PolicyHash      string          // of the policy that judged the rows; empty: nothing was stored yet
	// PolicyFromMillis is the first minute of which that policy alone judged every click; rows and decisions
	// before it may be of those that the stream had before. 0: there were none.
	PolicyFromMillis int64
	// StoredAtMillis is when the stream stored the progress, by its clock; 0: that is not known.
	StoredAtMillis int64
}

// Layer says which rows are meant.
type Layer string

// The layers. Current is what a reader of ad_clicks_hourly sees.
const (
	Current     Layer = "current"
	Provisional Layer = "provisional"
	Final       Layer = "final"
)

// Check returns an error for a layer that there is not.
func (l Layer) Check() error {
	switch l {
	case Current, Provisional, Final:
		return nil
	default:
		return fmt.Errorf("unknown layer %q", string(l))
	}
}

// Range is the minutes in [FromMillis, ToMillis).
type Range struct{ FromMillis, ToMillis int64 }

// DayMillis is the length of a billing day.
const DayMillis = 24 * 60 * schemas.MinuteMillis

// FinalDay names what PublishFinal makes final: the minutes in [DayMillis, CutMillis). DayMillis
// is the start of a UTC day, CutMillis a whole minute up to the start of the next day.
type FinalDay struct{ DayMillis, CutMillis int64 }

// Check returns an error for what is no day, or no cut of it.
func (d FinalDay) Check() error {
	if d.DayMillis%DayMillis != 0 {
		return fmt.Errorf("day %d is not the start of a UTC day", d.DayMillis)
	}
	if d.CutMillis%schemas.MinuteMillis != 0 || d.CutMillis < d.DayMillis || d.CutMillis > d.DayMillis+DayMillis {
		return fmt.Errorf("cut %d is not a whole minute of day %d", d.CutMillis, d.DayMillis)
	}
	return nil
}

// Minutes are the rows of one stream and how far it has come.
type Minutes interface {
	// Upsert stores provisional rows and then the progress: a reader that sees the progress sees the
	// rows. Where it fails, some of the rows may be stored and the progress is not; repeating it, or
	// going on from the stored progress, leads to the same rows. A row replaces the stored one of its
	// key only if its version is not lower; of two rows with one key the higher version stands, of
	// equal ones the later. Final rows are refused.
	Upsert(ctx context.Context, rows []schemas.MinuteRow, progress Progress) error
	// LoadProgress returns what the last Upsert stored, the zero Progress where there was none.
	LoadProgress(ctx context.Context) (Progress, error)
	// Epoch returns the highest epoch among the provisional rows, 0 where there are none.
	Epoch(ctx context.Context) (uint64, error)
	// Rows yields the rows of the range in key order, as of one moment. It ends with the first error.
	Rows(ctx context.Context, layer Layer, r Range) iter.Seq2[schemas.MinuteRow, error]
}

// ErrOneLayer is returned for a layer that impressions do not have.
var ErrOneLayer = errors.New("impressions have provisional rows alone")

// Store is the serving store as jobs use it. Its Minutes are those of clicks.
type Store interface {
	Minutes
	// Impressions are the minutes of impressions, ad_impressions_hourly. The table has what was
	// displayed, RawClicks of a row, and what counts of it, UniqueClicks; other counts and the spend are
	// not kept. There is the layer Provisional alone, ErrOneLayer else.
	Impressions() Minutes
	// ExportParquet writes the rows of the range in key order, by a temporary file and a rename, as
	// the columns of FileRow.
	ExportParquet(ctx context.Context, layer Layer, r Range, path string) error
	// PublishFinal makes a day final below its cut: the rows, unique by key, replace the final rows
	// of [day, cut), and hide every provisional row there, those of keys that the batch layer does
	// not have included. The cut of a day never goes back: with a lower one the minutes between stay
	// final as they are. Provisional rows are kept for reconciliation. Rows that must not be
	// published leave everything as it was; after any other error it is to be called again.
	PublishFinal(ctx context.Context, day FinalDay, rows []schemas.MinuteRow) error
	// Query runs one reading statement in the SQL of the store. At most MaxQueryRows rows are
	// returned. Arguments may be nil, bool, int64, float64, string or time.Time; results are these,
	// uint64 and text.
	Query(ctx context.Context, query string, args ...any) (*Table, error)
	// Close gives the store free.
	Close() error
}

// Table is the result of a query. Values are nil, bool, int64, uint64, float64, string or
// time.Time; decimals and everything else are text.
type Table struct {
	Columns     []string
	Types       []string // the store's own names
	Rows        [][]any
	IsTruncated bool // there were more than MaxQueryRows
}

// MaxQueryRows limits the rows of a Query.
const MaxQueryRows = 100_000
