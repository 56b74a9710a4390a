package schemas

import (
	"bytes"
	"math"
	"testing"
)

func FuzzRowKey(f *testing.F) {
	f.Add("adv", "cmp", "ad", "mobile", "DE")
	f.Add("", "", "", "", "")
	f.Add("a\x01b", "\x00", "\xff", "é", "a\x01")
	f.Fuzz(func(t *testing.T, advertiser, campaign, ad, device, country string) {
		key := AppendRowKey(nil, advertiser, campaign, ad, device, country)
		want := MinuteKey{MinuteMillis: 60_000, AdvertiserID: advertiser, CampaignID: campaign, AdID: ad,
			DeviceType: device, CountryCode: country}
		got, err := ParseRowKey(60_000, key)
		if err != nil || got != want {
			t.Fatalf("got %+v (%v), want %+v", got, err, want)
		}
		if string(RowKeyAd(key)) != ad {
			t.Fatalf("ad: got %q, want %q", RowKeyAd(key), ad)
		}
		if _, err := ParseRowKey(0, append(bytes.Clone(key), 0)); err == nil {
			t.Fatal("a key with a byte left over was parsed")
		}
		if _, err := ParseRowKey(0, key[:len(key)-1]); err == nil {
			t.Fatal("a key cut short was parsed")
		}
	})
}

func FuzzParseRowKey(f *testing.F) {
	f.Add(AppendRowKey(nil, "adv", "cmp", "ad", "mobile", "DE"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, key []byte) {
		fields, err := RowKeyFields(key)
		if err != nil {
			return
		}
		again := AppendRowKey(nil, fields[0], fields[1], fields[2], fields[3], fields[4])
		if len(again) > len(key) {
			t.Fatalf("got %x, want at most %d bytes", again, len(key))
		}
	})
}

// TestRowKeysDiffer moves the borders between fields: no two keys may look alike.
func TestRowKeysDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range [][5]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"", "abc"}, {"a", "b", "c"}, {"a\x01", "c"}, {"a", "\x01c"}} {
		seen[string(AppendRowKey(nil, f[0], f[1], f[2], f[3], f[4]))] = true
	}
	if len(seen) != 7 {
		t.Errorf("got %d different keys, want 7", len(seen))
	}
	if RowKeyAd([]byte{9}) != nil {
		t.Error("the ad of a malformed key is not nil")
	}
}

func TestMinuteStart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ event, want int64 }{
		{0, 0}, {59_999, 0}, {60_000, 60_000}, {-1, -60_000}, {-60_000, -60_000}, {-60_001, -120_000},
		{math.MaxInt64, math.MaxInt64 - math.MaxInt64%60_000},
	} {
		if got := MinuteStart(tc.event); got != tc.want {
			t.Errorf("%d: got %d, want %d", tc.event, got, tc.want)
		}
	}
}
