package schemas

import "cmp"

// MinuteMillis is the length of a window: one minute.
const MinuteMillis = 60_000

// MinuteStart returns the start of the minute that holds the event time.
func MinuteStart(eventTimeMillis int64) int64 {
	m := eventTimeMillis % MinuteMillis
	if m < 0 {
		m += MinuteMillis
	}
	return eventTimeMillis - m
}

// MinuteKey is the key of a row.
type MinuteKey struct {
	MinuteMillis int64 // start of the window, Unix milliseconds UTC
	AdvertiserID string
	CampaignID   string
	AdID         string
	DeviceType   string
	CountryCode  string
}

// Compare orders keys by minute, advertiser, campaign, ad, device, country.
func (k MinuteKey) Compare(o MinuteKey) int {
	return cmp.Or(cmp.Compare(k.MinuteMillis, o.MinuteMillis),
		cmp.Compare(k.AdvertiserID, o.AdvertiserID), cmp.Compare(k.CampaignID, o.CampaignID),
		cmp.Compare(k.AdID, o.AdID), cmp.Compare(k.DeviceType, o.DeviceType),
		cmp.Compare(k.CountryCode, o.CountryCode))
}

// MinuteRow is one row of the serving table: absolute totals of one key.
type MinuteRow struct {
	MinuteKey
	RawClicks       int64 // unique + duplicates + invalid
	DuplicateClicks int64
	InvalidClicks   int64
	UniqueClicks    int64 // billable
	SpendMicros     int64
	// Version grows with every record folded into the row; a final row's is above every stream version.
	Version uint64
	IsFinal bool
}
