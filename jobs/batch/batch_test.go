package batch_test

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/internal/oracle"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

const partitions = 4

func records(t testing.TB, cfg loadgen.Config, partition func(key []byte, n int) int32) []schemas.Record {
	t.Helper()
	g, err := loadgen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var out []schemas.Record
	next := map[int32]int64{}
	var it loadgen.Item
	for n := 0; g.Next(&it); n++ {
		key := it.AppendKey(nil, schemas.KeyClickID, 0)
		p := partition(key, n)
		out = append(out, schemas.Record{Position: schemas.Position{Partition: p, Offset: next[p]},
			TimestampMicros: it.ReceivedAtMicros, Key: key, Value: it.AppendValue(nil)})
		next[p]++
	}
	return out
}

func byKey(key []byte, _ int) int32 {
	h := fnv.New32a()
	_, _ = h.Write(key)
	return int32(h.Sum32() % partitions)
}

// writeArchive writes records in the archive's layout, some thousand to a file.
func writeArchive(t testing.TB, recs []schemas.Record, p *policy.Policy, perFile int) string {
	t.Helper()
	dir := t.TempDir()
	decoder := schemas.NewDecoder(p)
	byPartition := map[int32][]schemas.Record{}
	for _, r := range recs {
		byPartition[r.Partition] = append(byPartition[r.Partition], r)
	}
	for part, list := range byPartition {
		slices.SortFunc(list, func(a, b schemas.Record) int { return cmp.Compare(a.Offset, b.Offset) })
		for chunk := range slices.Chunk(list, perFile) {
			writeRange(t, dir, part, chunk, decoder)
		}
	}
	return dir
}

func writeRange(t testing.TB, dir string, part int32, recs []schemas.Record, decoder *schemas.Decoder) {
	t.Helper()
	var clicks []schemas.ArchiveClick
	var dead []schemas.ArchiveDeadLetter
	for _, r := range recs {
		c, reason := decoder.Decode(r)
		if reason != "" {
			dead = append(dead, schemas.ArchiveDeadLetter{Partition: r.Partition, Offset: r.Offset, ReceivedAt: c.ReceivedAtMicros,
				Reason: string(reason), Key: r.Key, Value: r.Value})
			continue
		}
		clicks = append(clicks, schemas.ArchiveClick{Partition: r.Partition, Offset: r.Offset, ReceivedAt: c.ReceivedAtMicros,
			EventTime: c.EventTimeMillis, ClickID: c.ClickID, AdID: c.AdID, AdvertiserID: c.AdvertiserID, CampaignID: c.CampaignID,
			UserID: c.UserID, CostMicros: c.CostMicros, IPAddress: c.IPAddress, UserAgent: c.UserAgent, Referrer: c.Referrer,
			DeviceType: c.DeviceType, CountryCode: c.CountryCode, Timestamp: c.Timestamp, CostPerClick: c.CostPerClick})
	}
	at := time.UnixMicro(recs[0].TimestampMicros).UTC()
	name := fmt.Sprintf("dt=%s/hr=%02d/p=%03d/%020d-%020d.parquet", at.Format("2006-01-02"), at.Hour(), part, recs[0].Offset, recs[len(recs)-1].Offset)
	write := func(kind string, data []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, kind, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := parquetio.Encode(clicks, nil)
	write("clicks", data, err)
	if len(dead) > 0 {
		data, err = parquetio.Encode(dead, nil)
		write("dead_letters", data, err)
	}
}

// check runs the batch for every day that the log touches and compares it with the oracle.
func check(t *testing.T, seed uint64, recs []schemas.Record, p *policy.Policy, archive string, sliceClicks int) {
	t.Helper()
	want := oracle.Judge(recs, p)
	days := map[int64]bool{}
	for i := range want.Outcomes {
		days[want.Outcomes[i].DayMillis()] = true
	}
	for day := range days {
		out := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		got, err := batch.Run(ctx, batch.Config{Archive: "file://" + archive, Date: time.UnixMilli(day).UTC(), Policy: p, Out: out,
			RunID: t.Name(), SliceClicks: sliceClicks}, batch.Deps{})
		cancel()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		totals := want.Totals(oracle.Day(day))
		if got.Records != totals.Records || got.BillableClicks != totals.Billable || got.DuplicateClicks != totals.Duplicates ||
			got.InvalidClicks != totals.Invalid || got.DeadLetters != totals.DeadLetters || got.SpendMicros != totals.SpendMicros ||
			got.ConflictClicks != totals.Conflicts || got.Advertisers != int64(len(totals.Advertisers)) {
			t.Errorf("seed %d day %d: got %+v, want %+v", seed, day, got, totals)
		}
		for rule, n := range got.InvalidByRule {
			if n != totals.InvalidByRule[rule] {
				t.Errorf("seed %d day %d: %s: got %d, want %d", seed, day, rule, n, totals.InvalidByRule[rule])
			}
		}
		compareFiles(t, seed, out, want, day)
	}
}

func compareFiles(t *testing.T, seed uint64, out string, want *oracle.Result, day int64) {
	t.Helper()
	db, err := duckscan.Open(duckscan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var rows []schemas.MinuteRow
	err = conn.Scan(t.Context(), `select epoch_ms(click_minute)::bigint, advertiser_id, campaign_id, ad_id, device_type, country_code,
		raw_clicks::bigint, duplicate_clicks::bigint, invalid_clicks::bigint, unique_clicks::bigint, spend_micros::bigint
		from '`+filepath.Join(out, "minutes.parquet")+`'`, func(c *duckscan.Chunk) error {
		for i := range c.Len() {
			n := func(col int) int64 { return duckscan.Column[int64](c, col)[i] }
			s := func(col int) string { return string(c.Text(col).At(i)) }
			rows = append(rows, schemas.MinuteRow{MinuteKey: schemas.MinuteKey{MinuteMillis: n(0), AdvertiserID: s(1), CampaignID: s(2),
				AdID: s(3), DeviceType: s(4), CountryCode: s(5)}, RawClicks: n(6), DuplicateClicks: n(7), InvalidClicks: n(8),
				UniqueClicks: n(9), SpendMicros: n(10)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if wantRows := want.Rows(oracle.Day(day)); !slices.Equal(rows, wantRows) {
		t.Errorf("seed %d day %d: rows differ: got %d, want %d", seed, day, len(rows), len(wantRows))
		for i := range min(len(rows), len(wantRows)) {
			if rows[i] != wantRows[i] {
				t.Errorf("row %d: got %+v, want %+v", i, rows[i], wantRows[i])
				break
			}
		}
	}
	got := map[schemas.Position]string{}
	err = conn.Scan(t.Context(), `select partition::integer, "offset"::bigint, verdict || ':' || array_to_string(rules, ',')
		from '`+filepath.Join(out, "decisions.parquet")+`'`, func(c *duckscan.Chunk) error {
		for i := range c.Len() {
			got[schemas.Position{Partition: duckscan.Column[int32](c, 0)[i], Offset: duckscan.Column[int64](c, 1)[i]}] = string(c.Text(2).At(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range want.Outcomes {
		o := &want.Outcomes[i]
		if o.DayMillis() != day || (o.Verdict != schemas.Duplicate && o.Verdict != schemas.Invalid) {
			continue
		}
		n++
		text := o.Verdict.String() + ":"
		for j, r := range o.Rules.Names() {
			if j > 0 {
				text += ","
			}
			text += r
		}
		if g := got[o.Click.Position]; g != text {
			t.Errorf("seed %d: %s (%s): got %q, want %q", seed, o.Click.Position, o.Click.ClickID, g, text)
			if t.Failed() && n > 20 {
				return
			}
		}
	}
	if n != len(got) {
		t.Errorf("seed %d day %d: got %d decisions, want %d", seed, day, len(got), n)
	}
}

// TestBatchEqualsOracle judges a log around midnight, with every kind of record, as one slice and
// as many.
func TestBatchEqualsOracle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	start := time.Date(2026, 3, 1, 23, 57, 0, 0, time.UTC).UnixMilli()
	recs := records(t, loadgen.DefaultConfig(seed, 30_000, start, 100), byKey)
	p := policy.Default()
	archive := writeArchive(t, recs, p, 3000)
	t.Run("one slice", func(t *testing.T) { check(t, seed, recs, p, archive, 0) })
	t.Run("many slices", func(t *testing.T) { check(t, seed, recs, p, archive, 2_000) })
}
