package schemas

import (
	"bytes"
	"math"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/clickledger/clickledger/schemas/clickpb"
)

func rawClicks() map[string]RawClick {
	b := func(s string) []byte { return []byte(s) }
	return map[string]RawClick{
		"empty": {},
		"full": {
			ClickID: b("clk_abc123xyz456"), AdID: b("ad_99a2c3d4"), AdvertiserID: b("adv_88f7e6d5"),
			CampaignID: b("cmp_77b6a5d4"), UserID: b("usr_55c4b3a2"), CostPerClick: 0.45,
			IPAddress: b("192.168.1.1"), UserAgent: b("Mozilla/5.0 é"), Timestamp: 1782236500,
			Referrer: b("https://news.example/"), ReceivedAt: 1782236500123456, CountryCode: b("DE"),
			DeviceType: b("desktop"),
		},
		"negative": {ClickID: b("c"), CostPerClick: math.Copysign(0, -1), Timestamp: -1, ReceivedAt: math.MinInt64},
		"infinite": {ClickID: b("c"), CostPerClick: math.Inf(1)},
	}
}

func message(c *RawClick) *clickpb.ClickEvent {
	return &clickpb.ClickEvent{
		ClickId: string(c.ClickID), AdId: string(c.AdID), AdvertiserId: string(c.AdvertiserID),
		CampaignId: string(c.CampaignID), UserId: string(c.UserID), CostPerClick: c.CostPerClick,
		IpAddress: string(c.IPAddress), UserAgent: string(c.UserAgent), Timestamp: c.Timestamp,
		Referrer: string(c.Referrer), ReceivedAt: c.ReceivedAt, CountryCode: string(c.CountryCode),
		DeviceType: string(c.DeviceType),
	}
}

// TestClickIsProtobuf compares the hand-written code with the generated code, both ways.
func TestClickIsProtobuf(t *testing.T) {
	t.Parallel()
	for name, c := range rawClicks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, err := proto.MarshalOptions{Deterministic: true}.Marshal(message(&c))
			if err != nil {
				t.Fatal(err)
			}
			got := c.AppendTo(nil)
			if !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
			var event clickpb.ClickEvent
			if err := proto.Unmarshal(got, &event); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(&event, message(&c)) {
				t.Errorf("read as protobuf: got %v, want %v", &event, message(&c))
			}
			var back RawClick
			if err := back.Unmarshal(want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(message(&back), message(&c)) {
				t.Errorf("read from protobuf: got %v, want %v", message(&back), message(&c))
			}
		})
	}
}

func TestClickKey(t *testing.T) {
	t.Parallel()
	c := rawClicks()["full"]
	if got, want := string(KeyClickID.AppendTo(nil, &c, 0)), "clk_abc123xyz456"; got != want {
		t.Errorf("click_id: got %q, want %q", got, want)
	}
	if got, want := string(KeyAdSalt.AppendTo(nil, &c, 1)), "ad_99a2c3d4_0"; got != want {
		t.Errorf("ad_salt of one: got %q, want %q", got, want)
	}
	seen := map[string]bool{}
	for i := range 1000 {
		c.ClickID = []byte{byte(i), byte(i >> 8)}
		seen[string(KeyAdSalt.AppendTo(nil, &c, 10))] = true
	}
	if len(seen) != 10 {
		t.Errorf("ad_salt of ten: got %d different keys, want 10", len(seen))
	}
	if got := KeyClickID.AppendTo(nil, &RawClick{}, 0); got == nil || len(got) != 0 {
		t.Errorf("key without a click_id: got %#v, want one that is empty and not nil", got)
	}
	if ClickKey("other").Valid() || !KeyAdSalt.Valid() {
		t.Error("Valid is wrong")
	}
}
