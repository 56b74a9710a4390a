package reconcile

import (
	"slices"
	"testing"

	"github.com/clickledger/clickledger/internal/reconcileduck"
)

func TestTolerance(t *testing.T) {
	t.Parallel()
	limit := func(n int64) *int64 { return &n }
	advertisers := []reconcileduck.Advertiser{{ID: "even"}, {ID: "few", GrossClicks: 2, GrossMicros: 1000}, {ID: "many", GrossClicks: 9, GrossMicros: 500}}
	for _, tc := range []struct {
		name       string
		each, all  Tolerance
		held       []string
		open       bool
		conditions int
	}{
		{"none given", Tolerance{}, Tolerance{}, nil, true, 0},
		{"just within", Tolerance{limit(9), limit(1000)}, Tolerance{limit(11), limit(1500)}, nil, true, 2},
		{"clicks of one", Tolerance{Clicks: limit(8)}, Tolerance{}, []string{"many"}, true, 1},
		{"micros of one", Tolerance{Micros: limit(999)}, Tolerance{}, []string{"few"}, true, 1},
		{"nothing", Tolerance{Clicks: limit(0)}, Tolerance{}, []string{"few", "many"}, true, 1},
		{"clicks of all", Tolerance{}, Tolerance{Clicks: limit(10)}, nil, false, 1},
		{"micros of all", Tolerance{}, Tolerance{Micros: limit(1499)}, nil, false, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := &run{cfg: Config{AdvertiserTolerance: tc.each, Tolerance: tc.all}}
			rep := &Report{}
			r.tolerate(rep, advertisers, func(name string, ok bool, _ string, _ ...any) {
				rep.Gate = append(rep.Gate, Check{Name: name, IsOK: ok})
			})
			if !slices.Equal(rep.HeldAdvertisers, tc.held) || rep.isOpen() != tc.open || len(rep.Gate) != tc.conditions {
				t.Errorf("held %q, open %t, gate %+v", rep.HeldAdvertisers, rep.isOpen(), rep.Gate)
			}
			if clean := len(tc.held) == 0 && tc.open; rep.IsClean() != clean {
				t.Errorf("clean: got %t, want %t", rep.IsClean(), clean)
			}
		})
	}
}
