package schemas

// Topic names, on which other programs rely.
const (
	TopicClicks      = "clicks"
	TopicImpressions = "impressions"
	TopicDLQ         = "clicks.dlq"
	TopicDecisions   = "clicks.decisions"
)

// Record is one Kafka record of the topic clicks.
type Record struct {
	Position
	// TimestampMicros is the record's own timestamp, Unix microseconds UTC.
	TimestampMicros int64
	Key, Value      []byte
}

// Click is one decoded click event, the fields of csp.adclick.v1.ClickEvent as sent, and what is
// derived from them.
type Click struct {
	Position
	ClickID      string
	AdID         string
	AdvertiserID string
	CampaignID   string
	UserID       string
	CostPerClick float64 // as sent
	IPAddress    string  // as sent
	UserAgent    string
	Timestamp    int64 // as sent: seconds, milliseconds or microseconds
	Referrer     string
	CountryCode  string
	DeviceType   string

	// ReceivedAtMicros is field 11, or the record's timestamp where that is 0.
	ReceivedAtMicros int64
	// EventTimeMillis is Timestamp as Unix milliseconds UTC.
	EventTimeMillis int64
	// CostMicros is CostPerClick in micros, rounded half to even.
	CostMicros int64
}

// Reason says why a record is a dead letter; the empty reason means that it is a click.
type Reason string

// DeadLetter is a record that could not be read as a valid click.
type DeadLetter struct {
	Position
	ReceivedAtMicros int64
	Reason           Reason
	Key, Value       []byte
}
