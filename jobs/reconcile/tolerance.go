package reconcile

import (
	"github.com/clickledger/clickledger/internal/reconcileduck"
)

// tolerate holds the advertisers who differ by more than is tolerated, and checks the whole. Without
// a tolerance there is no condition.
func (r *run) tolerate(rep *Report, advertisers []reconcileduck.Advertiser, add func(string, bool, string, ...any)) {
	var clicks, micros, beyond int64
	for i := range advertisers {
		a := &advertisers[i]
		clicks, micros = clicks+a.GrossClicks, micros+a.GrossMicros
		if !r.cfg.AdvertiserTolerance.Allows(a.GrossClicks, a.GrossMicros) {
			rep.HeldAdvertisers = append(rep.HeldAdvertisers, a.ID)
			beyond++
		}
	}
	if r.cfg.AdvertiserTolerance != (Tolerance{}) {
		add(checkDrift, beyond == 0, "%d advertisers differ by more than is tolerated", beyond)
	}
	if r.cfg.Tolerance != (Tolerance{}) {
		add(checkTotalDrift, r.cfg.Tolerance.Allows(clicks, micros), "%d clicks, %d micros differ", clicks, micros)
	}
}
