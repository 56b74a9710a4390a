package explain

import (
	"time"

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
	Fields     *Fields    `json:"click"`                 // nil for what cannot be decoded
	Stream     Verdict    `json:"stream"`
	Batch      Verdict    `json:"batch"`
	// The row of the copy's minute and fields in the serving store; nil where there is none.
	Provisional *Row `json:"provisional_row"`
	Final       *Row `json:"final_row"`
}

// Fields are the click's.
type Fields struct {
	AdID         string `json:"ad_id"`
	AdvertiserID string `json:"advertiser_id"`
	CampaignID   string `json:"campaign_id"`
	UserID       string `json:"user_id"`
	IPAddress    string `json:"ip_address"`
	UserAgent    string `json:"user_agent"`
	DeviceType   string `json:"device_type"`
	CountryCode  string `json:"country_code"`
	CostMicros   int64  `json:"cost_micros"` // of a dead letter 0
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

// Row is a minute's row of the serving store.
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
	EntryID      int64     `json:"entry_id"`
	Kind         string    `json:"kind"` // charge, adjustment or transfer
	Revision     int       `json:"revision"`
	Currency     string    `json:"currency"`
	AmountMicros int64     `json:"amount_micros"`
	DayMicros    int64     `json:"day_micros"` // the day's total after the entry
	DayClicks    int64     `json:"day_clicks"`
	IsSuspense   bool      `json:"is_suspense"`
	PolicyHash   string    `json:"policy_hash"`
	RunID        string    `json:"run_id"`
	PostedAt     time.Time `json:"posted_at"`
}

func (c *Copy) position() schemas.Position {
	return schemas.Position{Partition: c.Partition, Offset: c.Offset}
}

func rowOf(r *schemas.MinuteRow) *Row {
	return &Row{
		Minute: time.UnixMilli(r.MinuteMillis).UTC(), RawClicks: r.RawClicks, UniqueClicks: r.UniqueClicks,
		DuplicateClicks: r.DuplicateClicks, InvalidClicks: r.InvalidClicks, SpendMicros: r.SpendMicros,
	}
}
