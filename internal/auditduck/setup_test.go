package auditduck

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"google.golang.org/protobuf/proto"

	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/clickpb"
	"github.com/clickledger/clickledger/schemas/policy"
)

var day = time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC).UnixMilli()

const dayMillis = 24 * 60 * 60 * 1000

// archived writes a judged log as an archive does, one file a partition, and returns its files.
func archived(t testing.TB, dir string, res *oracle.Result) (clickFiles, deadLetterFiles []string) {
	t.Helper()
	clicks, dead := map[int32][]schemas.ArchiveClick{}, map[int32][]schemas.ArchiveDeadLetter{}
	var highest int32
	for _, o := range res.Outcomes {
		c := o.Click
		highest = max(highest, c.Partition)
		if o.Verdict == schemas.DeadLettered {
			dead[c.Partition] = append(dead[c.Partition], schemas.ArchiveDeadLetter{Partition: c.Partition,
				Offset: c.Offset, ReceivedAt: c.ReceivedAtMicros, Reason: string(o.Reason)})
			continue
		}
		clicks[c.Partition] = append(clicks[c.Partition], schemas.ArchiveClick{
			Partition: c.Partition, Offset: c.Offset, ReceivedAt: c.ReceivedAtMicros, EventTime: c.EventTimeMillis,
			ClickID: c.ClickID, AdID: c.AdID, AdvertiserID: c.AdvertiserID, CampaignID: c.CampaignID, UserID: c.UserID,
			CostMicros: c.CostMicros, IPAddress: c.IPAddress, UserAgent: c.UserAgent, Referrer: c.Referrer,
			DeviceType: c.DeviceType, CountryCode: c.CountryCode, Timestamp: c.Timestamp, CostPerClick: c.CostPerClick,
		})
	}
	for p := range highest + 1 {
		folder := fmt.Sprintf("dt=2026-11-10/hr=07/p=%03d", p)
		clickFiles = append(clickFiles, writeFile(t, filepath.Join(dir, "clicks", folder), clicks[p]))
		deadLetterFiles = append(deadLetterFiles, writeFile(t, filepath.Join(dir, "dead_letters", folder), dead[p]))
	}
	return clickFiles, deadLetterFiles
}

func writeFile[T any](t testing.TB, folder string, rows []T) string {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "00000000000000000000-00000000000000000999.parquet")
	if err := parquet.WriteFile(path, rows, parquet.Compression(&parquet.Zstd)); err != nil {
		t.Fatal(err)
	}
	return path
}

var addresses = []string{"", "192.0.2.1", "::ffff:192.0.2.1", "::FFFF:c000:201", "192.0.2.2", "198.51.100.7", "::ffff:198.51.100.8",
	"2001:db8::1", "2001:0DB8:0:0:0:0:0:1", "2001:db8::1:0", "2001:db8:bad::5", "2001:db8:bad:0:1::", "::", "::1", "1::", "64:ff9b::192.0.2.1", "255.255.255.255"}

var agents = []string{"", "Mozilla/5.0", "Mozilla/5.0 (compatible; Googlebot/2.1)", "googlebot", "a\nbot", "curl/8", "x.y"}

// randomLog is a log of three days around the audited one: copies hours and days apart, bursts of
// few identities around the limits, late, broken and conflicting records.
func randomLog(rng *rand.Rand, n int) []schemas.Record {
	records := make([]schemas.Record, 0, n)
	offsets := [3]int64{}
	add := func(e *clickpb.ClickEvent) {
		value, err := proto.Marshal(e)
		if err != nil {
			value = []byte{0xff}
		}
		p := rng.IntN(3)
		records = append(records, schemas.Record{Position: schemas.Position{Partition: int32(p), Offset: offsets[p]},
			TimestampMicros: e.ReceivedAt, Value: value})
		offsets[p]++
	}
	pick := func(list []string) string { return list[rng.IntN(len(list))] }
	for burst := range n / 100 { // one identity around the limit of 30 in 10 s, some of it just before midnight
		start := []int64{day - 20_000, day + 36_000_000 + int64(burst/4)*1_700_000}[min(burst%4, 1)]
		who, ad := rng.IntN(3), rng.IntN(2)
		for i := range 28 + rng.IntN(6) {
			at := start + rng.Int64N(10_050)
			e := &clickpb.ClickEvent{ClickId: fmt.Sprintf("burst-%d-%d", burst, i), AdId: fmt.Sprintf("hot-%d", ad),
				AdvertiserId: "adv-hot", CampaignId: "c", CostPerClick: 0.25, Timestamp: at, ReceivedAt: at*1000 + rng.Int64N(1e9)}
			if burst%2 == 0 {
				e.IpAddress = []string{"203.0.113.9", "::ffff:203.0.113.9", "2001:db8::77"}[who]
			} else {
				e.UserId = fmt.Sprint("hot-", who)
			}
			add(e)
		}
	}
	for len(records) < n {
		at := day - dayMillis + rng.Int64N(3*dayMillis)
		if rng.IntN(3) > 0 { // most of them in a busy minute, some before midnight
			at = []int64{day - 30_000, day + 40_000_000, day + dayMillis - 5_000_000}[rng.IntN(3)] + rng.Int64N(60_000)
		}
		e := &clickpb.ClickEvent{
			ClickId: fmt.Sprintf("click-%d", rng.IntN(n)), AdId: fmt.Sprintf("ad-%d", rng.IntN(3)),
			AdvertiserId: fmt.Sprintf("adv-%d", rng.IntN(5)), CampaignId: "c", UserId: pick([]string{"", "u1", "u2", "u3"}),
			CostPerClick: float64(rng.IntN(2_000_000)) / 2e6, IpAddress: pick(addresses), UserAgent: pick(agents),
			Timestamp: at, ReceivedAt: at*1000 + rng.Int64N(3_600_000_000) - 60_000_000,
			DeviceType: pick([]string{"", "mobile"}), CountryCode: pick([]string{"", "DE", "US"}),
		}
		switch rng.IntN(40) {
		case 0:
			e.CostPerClick = pickCost(rng)
		case 1:
			e.Timestamp = at / 1000
		case 2:
			e.Timestamp = at*1000 + 999
		case 3:
			e.ReceivedAt = at*1000 - 300_000_000 - rng.Int64N(2)
		case 4:
			e.ReceivedAt = at*1000 + 86_400_000_000 + rng.Int64N(2)
		case 5:
			e.IpAddress = "nowhere"
		case 6:
			e.ClickId = "\xff"
		}
		add(e)
		for rng.IntN(4) == 0 && len(records) < n { // copies, some with other fields, some beyond the look-back
			again := proto.Clone(e).(*clickpb.ClickEvent)
			again.ReceivedAt += []int64{0, 1, 600_000_000, 20 * 3_600_000_000, 25 * 3_600_000_000, 25*3_600_000_000 + 1}[rng.IntN(6)]
			again.Timestamp = again.ReceivedAt/1000 - rng.Int64N(3_600_000)
			if rng.IntN(3) == 0 {
				again.CostPerClick += 0.5
			}
			add(again)
		}
	}
	return records
}

func pickCost(rng *rand.Rand) float64 {
	return []float64{math.NaN(), math.Inf(1), -0.0000001, math.Copysign(0, -1), 0.0000005, 0.0000015, 0.0000025, 1000, 1000.000001, 12.3456785}[rng.IntN(10)]
}

func parse(t testing.TB, doc string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
