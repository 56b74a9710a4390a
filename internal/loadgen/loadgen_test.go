package loadgen

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"google.golang.org/protobuf/proto"

	"github.com/clickledger/clickledger/schemas/clickpb"
)

const start = 1_795_000_000_000 // a day in November 2026

func generator(t testing.TB, cfg Config) *Generator {
	t.Helper()
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func digest(t *testing.T, cfg Config) [32]byte {
	t.Helper()
	g, hash := generator(t, cfg), sha256.New()
	var it Item
	var buf []byte
	for g.Next(&it) {
		buf = binary.BigEndian.AppendUint64(buf[:0], uint64(it.ReceivedAtMicros))
		buf = it.AppendKey(buf, schemas.KeyClickID, 0)
		buf = it.AppendValue(buf)
		buf = it.AppendURL(buf)
		hash.Write(buf)
	}
	return [32]byte(hash.Sum(nil))
}

func TestSameSeedSameBytes(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig(7, 20_000, start, 1_000)
	first := digest(t, cfg)
	if again := digest(t, cfg); again != first {
		t.Error("the same configuration gave other bytes")
	}
	cfg.Seed++
	if other := digest(t, cfg); other == first {
		t.Error("another seed gave the same bytes")
	}
}

// TestKindsBecomeWhatTheySay decodes every record by the default policy.
func TestKindsBecomeWhatTheySay(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig(11, 60_000, start, 50)
	g, decoder := generator(t, cfg), schemas.NewDecoder(policy.Default())
	prefix := map[Kind]string{
		Stale: "stale", Future: "future", Missing: "missing_", Overlong: "overlong_", BadID: "bad_id",
		BadCost: "bad_cost", BadIP: "bad_ip", BadUTF8: "undecodable", Garbage: "undecodable",
		Oversize: "oversize",
	}
	var it Item
	var last, total int64
	reasons := map[schemas.Reason]int{}
	for g.Next(&it) {
		total++
		if it.ReceivedAtMicros < last {
			t.Fatalf("record %d: received at %d, before %d", total, it.ReceivedAtMicros, last)
		}
		last = it.ReceivedAtMicros
		value := it.AppendValue(nil)
		click, reason := decoder.Decode(schemas.Record{TimestampMicros: it.ReceivedAtMicros, Value: value})
		reasons[reason]++
		if want := prefix[it.Kind]; !strings.HasPrefix(string(reason), want) || want == "" && reason != "" {
			t.Fatalf("%s: got reason %q, want %q", it.Kind, reason, want)
		}
		if reason != "" {
			continue
		}
		var event clickpb.ClickEvent
		if err := proto.Unmarshal(value, &event); err != nil {
			t.Fatal(err)
		}
		if event.GetClickId() != click.ClickID || event.GetCostPerClick() != click.CostPerClick {
			t.Fatalf("got %v, want %v", &event, click)
		}
		behind := it.ReceivedAtMicros/1000 - click.EventTimeMillis
		if late := behind > 30_000; late != (it.Kind == Late || it.Kind == VeryLate) &&
			it.Kind != Duplicate && it.Kind != DuplicateOld && it.Kind != Conflict {
			t.Fatalf("%s: is %d ms behind", it.Kind, behind)
		}
	}
	counts := g.Counts()
	if total != cfg.Clicks || counts.Total() != total {
		t.Errorf("got %d records, counted %d, want %d", total, counts.Total(), cfg.Clicks)
	}
	for k, n := range counts {
		if n == 0 {
			t.Errorf("no record of kind %s", Kind(k))
		}
	}
	if len(counts.Map()) != len(counts) {
		t.Errorf("got %v", counts.Map())
	}
	for _, r := range []schemas.Reason{"missing_click_id", "overlong_ad_id", "overlong_user_id"} {
		if reasons[r] == 0 {
			t.Errorf("no dead letter %s in %v", r, reasons)
		}
	}
}

// TestCopies checks that copies have the id of a click before them, and that conflicts differ from it.
func TestCopies(t *testing.T) {
	t.Parallel()
	g := generator(t, DefaultConfig(3, 50_000, start, 20))
	type seen struct {
		received int64
		ad       string
		cost     float64
	}
	first := map[string]seen{}
	var it Item
	for g.Next(&it) {
		if it.Kind > VeryLate {
			continue
		}
		id := string(it.Click.ClickID)
		was, ok := first[id]
		now := seen{it.ReceivedAtMicros, string(it.Click.AdID), it.Click.CostPerClick}
		if copied := it.Kind == Duplicate || it.Kind == DuplicateOld || it.Kind == Conflict; copied != ok {
			t.Fatalf("%s: seen before: %v", it.Kind, ok)
		}
		if !ok {
			first[id] = now
			continue
		}
		if differs := was.ad != now.ad || was.cost != now.cost; differs != (it.Kind == Conflict) {
			t.Fatalf("%s: differs from the first: %v", it.Kind, differs)
		}
		if old := now.received-was.received > 600_000_000; old != (it.Kind == DuplicateOld) {
			t.Fatalf("%s: %d s after the first", it.Kind, (now.received-was.received)/1_000_000)
		}
	}
}

// TestBursts counts the velocity rule's window for every click of the attackers.
func TestBursts(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig(5, 40_000, start, 400)
	cfg.Shares = Shares{}
	cfg.Attackers = Attackers{Bursts: 6, BurstClicks: 120, AtLimit: 6, OverLimit: 6}
	g := generator(t, cfg)
	times := map[string][]int64{}
	highest := map[Kind]int{}
	var it Item
	for g.Next(&it) {
		if it.Kind == Ordinary {
			continue
		}
		identities := []string{"user " + string(it.Click.UserID)}
		if ip := strings.TrimPrefix(string(it.Click.IPAddress), "::ffff:"); strings.HasPrefix(ip, "100.") {
			identities = append(identities, "ip "+ip)
		}
		for _, id := range identities {
			list := append(times[id], it.Click.Timestamp)
			times[id] = list
			n := 0
			for _, at := range list {
				if at > it.Click.Timestamp-10_000 {
					n++
				}
			}
			highest[it.Kind] = max(highest[it.Kind], n)
		}
	}
	counts := g.Counts()
	for k, want := range map[Kind][2]int{
		AtLimit: {6 * 31, 30}, OverLimit: {6 * 31, 31}, Attack: {6 * 120, 120},
	} {
		if got := int(counts[k]); got != want[0] {
			t.Errorf("%s: got %d clicks, want %d", k, got, want[0])
		}
		if got := highest[k]; got != want[1] {
			t.Errorf("%s: got %d clicks in ten seconds, want %d", k, got, want[1])
		}
	}
	if counts[AttackReturn] == 0 || highest[AttackReturn] > 30 {
		t.Errorf("%d returns, up to %d in ten seconds", counts[AttackReturn], highest[AttackReturn])
	}
}

func TestSmallLogs(t *testing.T) {
	t.Parallel()
	for _, clicks := range []int64{0, 1, 2, 17, 100, 400} {
		for _, rate := range []float64{0.5, 1e6} {
			g := generator(t, DefaultConfig(1, clicks, start, rate))
			var it Item
			n := int64(0)
			for g.Next(&it) {
				n++
			}
			if n != clicks {
				t.Errorf("rate %v: got %d records, want %d", rate, n, clicks)
			}
		}
	}
}

func TestValidateNamesEveryKey(t *testing.T) {
	t.Parallel()
	err := Config{Clicks: -1, Shares: Shares{Bot: 2}}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, key := range []string{"clicks", "rate_per_second", "ads", "users", "shares.bot", "sum of shares"} {
		if !strings.Contains(err.Error(), key+":") {
			t.Errorf("%q does not name %s", err, key)
		}
	}
}

func TestAppendURL(t *testing.T) {
	t.Parallel()
	it := Item{Click: schemas.RawClick{
		ClickID: []byte("clk_1"), AdID: []byte("ad_1&x"), AdvertiserID: []byte("adv\x07"), UserID: []byte("usr_1"),
		CostPerClick: 0.45, IPAddress: []byte("2001:db8::1"), Timestamp: 1_782_236_500,
	}, adID: "ad_1", advertiserID: "adv_1", ReceivedAtMicros: 7}
	it.Shift(2_500_000)
	if it.ReceivedAtMicros != 2_500_007 || it.Click.ReceivedAt != 0 {
		t.Errorf("got %d and %d", it.ReceivedAtMicros, it.Click.ReceivedAt)
	}
	if got, want := it.Landing(), "https://www.shop-adv_1.example/landing?ad=ad_1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got := it.AppendURL(nil)
	want := "/api/v1/clicks?ad_id=ad_1%26x&advertiser_id=adv%07&click_id=clk_1&user_id=usr_1" +
		"&cost_per_click=0.45&ip_address=2001%3Adb8%3A%3A1&timestamp=1782236502" +
		"&redirect_url=https%3A%2F%2Fwww.shop-adv_1.example%2Flanding%3Fad%3Dad_1"
	if !bytes.Equal(got, []byte(want)) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func BenchmarkNext(b *testing.B) {
	cfg := DefaultConfig(1, int64(b.N)+1, start, 50_000)
	cfg.Ads = 200_000
	g := generator(b, cfg)
	var it Item
	var buf []byte
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		g.Next(&it)
		buf = it.AppendValue(it.AppendKey(buf[:0], schemas.KeyClickID, 0))
	}
	b.SetBytes(int64(len(buf)))
}
