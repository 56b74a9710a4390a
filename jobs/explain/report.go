package explain

import (
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/schemas"
)

// Report is everything that is known of a click_id, the document that --json prints.
type Report struct {
	ClickID string `json:"click_id"`
	// Answer is one sentence: why the click was billed, or why not.
	Answer string `json:"answer"`
	// Copies are the records that carry the click_id, the first recorded first, at most 1,000.
	Copies      []Copy `json:"copies"`
	IsTruncated bool   `json:"is_truncated"` // there are more
	// HasServing and HasLedger: the store was asked. Without it nothing of it is in the report.
	HasServing bool `json:"has_serving"`
	HasLedger  bool `json:"has_ledger"`
	// Bills are what the ledger holds for the advertisers and days of the copies.
	Bills []Bill `json:"bills"`
}

// Copy is one record of the log.
type Copy struct {
	Partition   int32     `json:"partition"`
	Offset      int64     `json:"offset"`
	Object      string    `json:"object"` // of the archive; empty: no object's name covers the position
	ReceivedAt  time.Time `json:"received_at"`
	BillingDate string    `json:"billing_date"` // by event time; of a dead letter by received_at
	// EventTime is nil for a dead letter that cannot be decoded.
	EventTime  *time.Time `json:"event_time"`
	DeadLetter string     `json:"dead_letter,omitempty"` // why the archive holds it for one
	Record     Record     `json:"record"`
	Fields     *Fields    `json:"click"` // nil for what cannot be decoded
	Stream     Verdict    `json:"stream"`
	Batch      Verdict    `json:"batch"`
	Evidence   Evidence   `json:"evidence"`
	// Difference is what the last reconciliation found of the click; nil where both layers bill it
	// alike, or the day was not reconciled.
	Difference *Difference `json:"difference"`
	// The row of the copy's minute and fields: before the reconciliation, by the batch, and after it.
	// Nil where there is none.
	Provisional *Row `json:"provisional_row"`
	ByBatch     *Row `json:"batch_row"`
	Final       *Row `json:"final_row"`

	key, value []byte // of a dead letter, as the archive has them
}

// Record is the record as it was sent.
type Record struct {
	// Source is where its bytes are from: log, dead_letters or dlq (of the archive); empty where
	// nothing has them any more. Then Note says why.
	Source string `json:"source"`
	Note   string `json:"note,omitempty"`
	// LogTime is the record's own timestamp; nil where the bytes are not from the log.
	LogTime  *time.Time `json:"log_time,omitempty"`
	Key      string     `json:"key"`
	ValueHex string     `json:"value_hex"`
	Bytes    int        `json:"bytes"` // of the value
	SHA256   string     `json:"sha256"`
	// IsAsArchived: the bytes decode to just what the archive holds; nil where there are none.
	IsAsArchived *bool `json:"is_as_archived"`
}

// Fields are the click's, and how they were read.
type Fields struct {
	AdID         string `json:"ad_id"`
	AdvertiserID string `json:"advertiser_id"`
	CampaignID   string `json:"campaign_id"`
	UserID       string `json:"user_id"`
	IPAddress    string `json:"ip_address"` // as sent
	UserAgent    string `json:"user_agent"`
	Referrer     string `json:"referrer"`
	DeviceType   string `json:"device_type"`
	CountryCode  string `json:"country_code"`
	CostMicros   int64  `json:"cost_micros"` // of a dead letter 0
	// Timestamp and CostPerClick are as sent; the cost is the shortest text that reads back as the
	// same double.
	Timestamp     int64  `json:"timestamp"`
	TimestampUnit string `json:"timestamp_unit"` // seconds, milliseconds or microseconds
	CostPerClick  string `json:"cost_per_click"`
	// Address is IPAddress in canonical form; empty where it is none.
	Address string `json:"address"`
	// RevisionFrom is since when the policy's revision holds that judges the click.
	RevisionFrom *time.Time `json:"revision_from,omitempty"`
}

// Verdict is what a layer says of a copy.
type Verdict struct {
	// Verdict is billable, duplicate, invalid, dead_letter or late; empty where the layer has not
	// judged the copy.
	Verdict string `json:"verdict"`
	// Basis says where the verdict is from, or why there is none.
	Basis      string    `json:"basis"`
	Rules      []string  `json:"rules"`  // that an invalid click hit
	Reason     string    `json:"reason"` // of a dead letter
	Winner     *Position `json:"winner"` // of a duplicate: the copy that came first
	IsConflict bool      `json:"is_conflict"`
	IsLate     bool      `json:"is_late"`
	PolicyHash string    `json:"policy_hash"`
}

// Position is a record's place in the log.
type Position struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

// Difference is why the two layers bill a click or a row differently, batch less stream.
type Difference struct {
	Cause       string `json:"cause"`
	DeltaClicks int64  `json:"delta_clicks"`
	DeltaMicros int64  `json:"delta_micros"`
	Basis       string `json:"basis"` // the file that says it
}

// Row is a minute's row.
type Row struct {
	Minute          time.Time `json:"minute"`
	RawClicks       int64     `json:"raw_clicks"`
	UniqueClicks    int64     `json:"unique_clicks"`
	DuplicateClicks int64     `json:"duplicate_clicks"`
	InvalidClicks   int64     `json:"invalid_clicks"`
	SpendMicros     int64     `json:"spend_micros"`
}

// Bill is one advertiser's day in the ledger.
type Bill struct {
	Date         string  `json:"date"`
	AdvertiserID string  `json:"advertiser_id"`
	Entries      []Entry `json:"entries"` // oldest first
}

// Entry is a journal entry.
type Entry struct {
	EntryID         int64     `json:"entry_id"`
	OriginalEntryID *int64    `json:"original_entry_id"` // that it corrects or moves
	Kind            string    `json:"kind"`              // charge, adjustment, credit or transfer
	Revision        int       `json:"revision"`
	BookingDate     string    `json:"booking_date"` // a later day where the month was closed
	Currency        string    `json:"currency"`
	AmountMicros    int64     `json:"amount_micros"`
	DayMicros       int64     `json:"day_micros"` // the day's total after the entry
	DayClicks       int64     `json:"day_clicks"`
	IsSuspense      bool      `json:"is_suspense"`
	PolicyHash      string    `json:"policy_hash"`
	RunID           string    `json:"run_id"`
	PostedAt        time.Time `json:"posted_at"`
	// Place is the entry's place in the chain of hashes, with its postings.
	Place ledgerpg.Place `json:"place"`
}

func (c *Copy) position() schemas.Position {
	return schemas.Position{Partition: c.Partition, Offset: c.Offset}
}

// minuteKey is the key of the copy's row; false for what counts in none.
func (c *Copy) minuteKey() (schemas.MinuteKey, bool) {
	if c.Fields == nil || c.EventTime == nil {
		return schemas.MinuteKey{}, false
	}
	return schemas.MinuteKey{
		MinuteMillis: schemas.MinuteStart(c.EventTime.UnixMilli()), AdvertiserID: c.Fields.AdvertiserID,
		CampaignID: c.Fields.CampaignID, AdID: c.Fields.AdID, DeviceType: c.Fields.DeviceType, CountryCode: c.Fields.CountryCode,
	}, true
}

func positionOf(p schemas.Position) *Position { return &Position{p.Partition, p.Offset} }

func rowOf(r *schemas.MinuteRow) *Row {
	return &Row{
		Minute: time.UnixMilli(r.MinuteMillis).UTC(), RawClicks: r.RawClicks, UniqueClicks: r.UniqueClicks,
		DuplicateClicks: r.DuplicateClicks, InvalidClicks: r.InvalidClicks, SpendMicros: r.SpendMicros,
	}
}
