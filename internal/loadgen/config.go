package loadgen

import (
	"errors"
	"fmt"
	"math"
)

// Limits of a Config, so that the tables that it sizes stay bounded.
const (
	ClicksMax = 10_000_000_000
	AdsMax    = 5_000_000
	burstsMax = 1_000_000
	perBurst  = 10_000
)

// Config describes a log. Two equal configurations give equal logs, byte for byte.
type Config struct {
	Seed uint64
	// Clicks is the number of records, of all kinds together, without the impressions.
	Clicks int64
	// StartMillis is the time at which the first one is received, Unix milliseconds UTC.
	StartMillis int64
	// RatePerSecond is how many of them are received in a second. Bursts come on top of the even flow.
	RatePerSecond float64

	Advertisers, Ads, Users int
	// ZipfExponent is how much more popular the popular ads are; 0 makes all equal.
	ZipfExponent float64

	Shares    Shares
	Attackers Attackers

	// ImpressionsPerClick is about how many impressions there are for each click, at most ImpressionsMax; 0
	// makes none. Each ad has a rate of its own around it.
	ImpressionsPerClick float64
}

// Shares are the parts of the records, apart from the bursts, that are of each kind; the rest are
// Ordinary. A share above zero gives at least one record, where there are enough of them.
type Shares struct {
	Duplicate, DuplicateOld, Conflict float64
	Bot, ListedIP                     float64
	Late, VeryLate                    float64
	Stale, Future                     float64
	Missing, Overlong, BadID          float64
	BadCost, BadIP                    float64
	BadUTF8, Garbage                  float64
	// Oversize records are more than 64 KiB each.
	Oversize float64
}

// Attackers are identities that click one ad over and over, spread over the log. One third of them
// keeps its address and changes users, one third keeps the user and changes addresses, one third
// keeps both.
type Attackers struct {
	// Bursts is the number of attackers that send BurstClicks in about five seconds, and return a few
	// times within the hour after.
	Bursts, BurstClicks int
	// AtLimit attackers send 30 clicks in ten seconds, and one more when the first of them is exactly
	// ten seconds old; OverLimit ones send 31.
	AtLimit, OverLimit int
}

// Velocity limit of the default policy, around which AtLimit and OverLimit are shaped.
const (
	limitClicks = 30
	limitMicros = 10_000_000
)

// DefaultConfig is a realistic mixture for the number of clicks, the start and the rate.
func DefaultConfig(seed uint64, clicks, startMillis int64, ratePerSecond float64) Config {
	attackers := int(min(clicks/20_000, 2_000)) + 1
	return Config{
		Seed: seed, Clicks: clicks, StartMillis: startMillis, RatePerSecond: ratePerSecond,
		Advertisers: 200, Ads: 5_000, Users: 200_000, ZipfExponent: 1.05,
		Shares: Shares{
			Duplicate: 0.02, DuplicateOld: 0.001, Conflict: 0.0005,
			Bot: 0.01, ListedIP: 0.003, Late: 0.004, VeryLate: 0.001, Stale: 0.0003, Future: 0.0003,
			Missing: 0.0004, Overlong: 0.0003, BadID: 0.0002, BadCost: 0.0004, BadIP: 0.0003,
			BadUTF8: 0.0002, Garbage: 0.0003, Oversize: 0.00002,
		},
		Attackers: Attackers{Bursts: attackers, BurstClicks: 120, AtLimit: attackers, OverLimit: attackers},
	}
}

// Validate reports every problem of the configuration at once.
func (c Config) Validate() error {
	var errs []error
	between := func(key string, v, low, high float64) {
		if !(v >= low && v <= high) {
			errs = append(errs, fmt.Errorf("%s: %v is not between %v and %v", key, v, low, high))
		}
	}
	between("clicks", float64(c.Clicks), 0, ClicksMax)
	between("start_millis", float64(c.StartMillis), 0, 253402300799999)
	between("rate_per_second", c.RatePerSecond, 0.001, 100_000_000)
	between("advertisers", float64(c.Advertisers), 1, AdsMax)
	between("ads", float64(c.Ads), 1, AdsMax)
	between("users", float64(c.Users), 1, math.MaxInt32)
	between("zipf_exponent", c.ZipfExponent, 0, 4)
	between("impressions_per_click", c.ImpressionsPerClick, 0, ImpressionsMax)
	sum := 0.0
	for _, s := range c.Shares.list() {
		between("shares."+s.kind.String(), s.share, 0, 1)
		sum += s.share
	}
	between("sum of shares", sum, 0, 1)
	a := c.Attackers
	for _, n := range []struct {
		key string
		n   int
	}{{"bursts", a.Bursts}, {"at_limit", a.AtLimit}, {"over_limit", a.OverLimit}} {
		between("attackers."+n.key, float64(n.n), 0, burstsMax)
	}
	between("attackers.burst_clicks", float64(a.BurstClicks), 0, perBurst)
	return errors.Join(errs...)
}

type share struct {
	kind  Kind
	share float64
}

func (s Shares) list() []share {
	return []share{
		{Duplicate, s.Duplicate}, {DuplicateOld, s.DuplicateOld}, {Conflict, s.Conflict},
		{Bot, s.Bot}, {ListedIP, s.ListedIP}, {Late, s.Late}, {VeryLate, s.VeryLate},
		{Stale, s.Stale}, {Future, s.Future}, {Missing, s.Missing}, {Overlong, s.Overlong},
		{BadID, s.BadID}, {BadCost, s.BadCost}, {BadIP, s.BadIP}, {BadUTF8, s.BadUTF8},
		{Garbage, s.Garbage}, {Oversize, s.Oversize},
	}
}
