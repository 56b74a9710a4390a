package schemas

import (
	"cmp"
	"strings"
)

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
	switch { // not by cmp.Or, which works all of it out for every pair
	case k.MinuteMillis != o.MinuteMillis:
		return cmp.Compare(k.MinuteMillis, o.MinuteMillis)
	case k.AdvertiserID != o.AdvertiserID:
		return strings.Compare(k.AdvertiserID, o.AdvertiserID)
	case k.CampaignID != o.CampaignID:
		return strings.Compare(k.CampaignID, o.CampaignID)
	case k.AdID != o.AdID:
		return strings.Compare(k.AdID, o.AdID)
	case k.DeviceType != o.DeviceType:
		return strings.Compare(k.DeviceType, o.DeviceType)
	}
	return strings.Compare(k.CountryCode, o.CountryCode)
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
