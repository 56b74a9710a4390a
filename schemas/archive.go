package schemas

// The archive's Parquet rows. Field order and names are the archive's contract; the tags are
// parquet-go's. Files are compressed with zstd.

// ArchiveClick is one row of clicks/dt=…/hr=…/p=…/<from>-<to>.parquet.
type ArchiveClick struct {
	Partition    int32   `parquet:"partition,delta"`
	Offset       int64   `parquet:"offset,delta"`
	ReceivedAt   int64   `parquet:"received_at,timestamp(microsecond),delta"`
	EventTime    int64   `parquet:"event_time,timestamp(millisecond),delta"`
	ClickID      string  `parquet:"click_id"`
	AdID         string  `parquet:"ad_id,dict"`
	AdvertiserID string  `parquet:"advertiser_id,dict"`
	CampaignID   string  `parquet:"campaign_id,dict"`
	UserID       string  `parquet:"user_id,dict"`
	CostMicros   int64   `parquet:"cost_micros,dict"`
	IPAddress    string  `parquet:"ip_address,dict"`
	UserAgent    string  `parquet:"user_agent,dict"`
	Referrer     string  `parquet:"referrer,dict"`
	DeviceType   string  `parquet:"device_type,dict"`
	CountryCode  string  `parquet:"country_code,dict"`
	Timestamp    int64   `parquet:"timestamp,delta"`
	CostPerClick float64 `parquet:"cost_per_click,dict"`
}

// ArchiveDeadLetter is one row of dead_letters/dt=…/hr=…/p=…/<from>-<to>.parquet.
type ArchiveDeadLetter struct {
	Partition  int32  `parquet:"partition,delta"`
	Offset     int64  `parquet:"offset,delta"`
	ReceivedAt int64  `parquet:"received_at,timestamp(microsecond),delta"`
	Reason     string `parquet:"reason,dict"`
	Key        []byte `parquet:"key"`
	Value      []byte `parquet:"value"`
}

// ArchiveDLQ is one row of dlq/dt=…/hr=…/p=…/<from>-<to>.parquet: a record of the topic clicks.dlq.
// LogPartition and LogOffset are its place in that topic; where a position is there more than once (a
// replay), the rows are equal but for those. Partition and Offset are the position in clicks, -1 each
// where another program has written the record, without the headers that say it.
type ArchiveDLQ struct {
	LogPartition int32  `parquet:"log_partition,delta"`
	LogOffset    int64  `parquet:"log_offset,delta"`
	Partition    int32  `parquet:"partition,delta"`
	Offset       int64  `parquet:"offset,delta"`
	ReceivedAt   int64  `parquet:"received_at,timestamp(microsecond),delta"`
	Verdict      string `parquet:"verdict,dict"`
	Reason       string `parquet:"reason,dict"` // a dead letter's reason, or rule names joined by commas
	Key          []byte `parquet:"key"`
	Value        []byte `parquet:"value"`
}

// ArchiveDecision is one row of decisions/dt=…/hr=…/p=…/<from>-<to>.parquet. LogPartition and
// LogOffset are the decision's own place in clicks.decisions; where a position was decided more
// than once (a replay), the decision with the highest LogOffset stands.
type ArchiveDecision struct {
	LogPartition    int32  `parquet:"log_partition,delta"`
	LogOffset       int64  `parquet:"log_offset,delta"`
	Partition       int32  `parquet:"partition,delta"`
	Offset          int64  `parquet:"offset,delta"`
	ClickID         string `parquet:"click_id"`
	EventTime       int64  `parquet:"event_time,timestamp(millisecond),delta"`
	Verdict         string `parquet:"verdict,dict"`
	Rules           string `parquet:"rules,dict"` // rule names joined by commas
	IsLate          bool   `parquet:"is_late"`
	WinnerPartition int32  `parquet:"winner_partition,delta"`
	WinnerOffset    int64  `parquet:"winner_offset,delta"`
	IsConflict      bool   `parquet:"is_conflict"`
	PolicyHash      string `parquet:"policy_hash,dict"`
}
