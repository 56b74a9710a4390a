package decode

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

const origin = 1_782_302_400_000

func record(offset, log, event int64, change func(*schemas.RawClick)) schemas.Record {
	raw := schemas.RawClick{ClickID: []byte(fmt.Sprint("c", offset)), AdID: []byte("ad"), AdvertiserID: []byte("adv"),
		CampaignID: []byte("cmp"), UserID: []byte("u"), IPAddress: []byte("192.0.2.1"), CostPerClick: 0.45,
		Timestamp: origin + event, ReceivedAt: (origin+log)*1000 + 7, DeviceType: []byte("mobile"), CountryCode: []byte("DE")}
	if change != nil {
		change(&raw)
	}
	return schemas.Record{Position: schemas.Position{Partition: 2, Offset: offset}, TimestampMicros: (origin+log)*1000 + 999,
		Key: []byte("k"), Value: raw.AppendTo(nil)}
}

// split decodes one batch into clicks by offset, each a block of one, and dead letters.
func split(t *testing.T, batch Batch, shards int32) (map[int64]*schemas.Block, []schemas.DeadLetter) {
	t.Helper()
	core, err := NewCore(policy.Default(), shards)
	if err != nil {
		t.Fatal(err)
	}
	var dead []schemas.DeadLetter
	clicks, emitted := map[int64]*schemas.Block{}, int32(0)
	core.Split(&batch, func(d schemas.DeadLetter) { dead = append(dead, d) }, func(shard int32, b *schemas.Block) {
		if shard != emitted || b.Header != batch.Header {
			t.Errorf("got shard %d with header %+v, want %d with that of the batch", shard, b.Header, emitted)
		}
		emitted++
		last := int64(-1)
		for i := range b.Len() {
			if b.ClickKey[i].Shard(int(shards)) != int64(shard) || b.Offset[i] <= last {
				t.Errorf("click %d in shard %d after %d", b.Offset[i], shard, last)
			}
			last = b.Offset[i]
			one := new(schemas.Block)
			one.AppendFrom(b, i)
			clicks[last] = one
		}
	})
	if emitted != shards {
		t.Errorf("got %d blocks, want one for each of %d shards", emitted, shards)
	}
	return clicks, dead
}

// TestLateness measures every click against the watermark of the records before it.
func TestLateness(t *testing.T) {
	t.Parallel()
	const lateness = 600_000
	recs := []schemas.Record{
		record(0, 0, -80_000_000, nil),            // the first has no watermark to be behind
		record(1, 700_000, -2000, nil),            // its own record moves nothing for itself
		record(2, 700_000, 698_000, nil),          // at the watermark
		record(3, 700_000, 697_999, nil),          // 1 ms behind
		record(4, 700_000, 698_000-lateness, nil), // at the edge
		record(5, 1000, 698_000-lateness-1, nil),  // beyond; an older record does not take the log back
		record(6, 700_000, 697_000+lateness, func(c *schemas.RawClick) { c.Timestamp = origin + 900_000 }),
	}
	clicks, dead := split(t, Batch{LogBefore: schemas.MinWatermark, WatermarkBefore: schemas.NoWatermark, Records: recs,
		Header: schemas.Header{Channel: 2, Channels: 3, Next: 7}}, 3)
	if len(dead) != 0 {
		t.Fatalf("got dead letters %+v", dead)
	}
	for offset, want := range map[int64]struct {
		late  bool
		v     schemas.Verdict
		judge int64
		log   int64
	}{
		0: {judge: -80_000_000}, 1: {judge: -2000, log: 700_000}, 2: {judge: 698_000, log: 700_000},
		3: {late: true, judge: 698_000, log: 700_000}, 4: {late: true, judge: 698_000, log: 700_000},
		5: {late: true, v: schemas.Late, judge: 698_000, log: 700_000}, 6: {judge: 900_000, log: 700_000},
	} {
		b := clicks[offset]
		if (b.Flags[0] == schemas.FlagLate) != want.late || b.Verdict[0] != want.v || b.JudgeMillis[0] != origin+want.judge ||
			b.LogMillisColumn[0] != origin+want.log {
			t.Errorf("click %d: got flags %d, %s, turn %d, log %d, want %+v", offset, b.Flags[0], b.Verdict[0],
				b.JudgeMillis[0]-origin, b.LogMillisColumn[0]-origin, want)
		}
	}
	// The announced watermark of an idle partition counts, though no record brought it.
	clicks, _ = split(t, Batch{LogBefore: origin, WatermarkBefore: origin + 50_000, Records: recs[:1],
		Header: schemas.Header{Channels: 1}}, 1)
	if clicks[0].JudgeMillis[0] != origin+50_000 || clicks[0].Verdict[0] != schemas.Late {
		t.Errorf("after an idle time: got turn %d, %s", clicks[0].JudgeMillis[0]-origin, clicks[0].Verdict[0])
	}
}

// TestBatchesDoNotMatter cuts one log into batches at random: every click comes out the same.
func TestBatchesDoNotMatter(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	var recs []schemas.Record
	log := int64(0)
	for i := range int64(500) {
		log += rng.Int64N(3000)
		recs = append(recs, record(i, log-rng.Int64N(2000), log-rng.Int64N(700_000), nil))
	}
	var first map[int64]*schemas.Block
	for range 5 {
		got := map[int64]*schemas.Block{}
		before, mark := int64(schemas.MinWatermark), int64(schemas.MinWatermark)
		for rest := recs; len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			clicks, _ := split(t, Batch{LogBefore: before, WatermarkBefore: mark, Records: rest[:n], Header: schemas.Header{Channels: 1}}, 2)
			maps.Copy(got, clicks)
			for _, r := range rest[:n] {
				before = max(before, r.TimestampMicros/1000)
			}
			mark, rest = max(mark, before-2000), rest[n:]
		}
		if first == nil {
			first = got
		}
		if len(got) != len(recs) || !reflect.DeepEqual(got, first) {
			t.Fatalf("seed %d: clicks differ by batches", seed)
		}
	}
}

func TestIdentitiesAndContent(t *testing.T) {
	t.Parallel()
	change := []func(*schemas.RawClick){
		0: nil,
		1: func(c *schemas.RawClick) { c.IPAddress = []byte("::ffff:192.0.2.1") },
		2: func(c *schemas.RawClick) { c.IPAddress = nil },
		3: func(c *schemas.RawClick) { c.AdID = []byte("other") },
		4: func(c *schemas.RawClick) { c.UserID, c.AdID = []byte("ua"), []byte("d") }, // the same bytes in a row
		5: func(c *schemas.RawClick) { c.UserID = nil },
		6: func(c *schemas.RawClick) { c.CostPerClick = 0.450001 },
		7: func(c *schemas.RawClick) { c.CostPerClick = 0.4500000001 },
		8: func(c *schemas.RawClick) { c.UserAgent, c.IPAddress = []byte("bingbot"), []byte("198.51.100.3") },
	}
	var recs []schemas.Record
	for i := range change {
		recs = append(recs, record(int64(i), 0, 0, change[i]))
	}
	clicks, dead := split(t, Batch{LogBefore: schemas.MinWatermark, WatermarkBefore: schemas.MinWatermark, Records: recs,
		Header: schemas.Header{Channels: 1}}, 2)
	if len(dead) != 0 {
		t.Fatalf("got dead letters %+v", dead)
	}
	base := clicks[0]
	for i, want := range []struct{ ip, user, content bool }{ // equal to the first
		{true, true, true}, {true, true, true}, {false, true, true}, {false, false, false}, {false, false, false},
		{true, false, true}, {true, true, false}, {true, true, true}, {false, true, true},
	} {
		b := clicks[int64(i)]
		if (b.IPKey[0] == base.IPKey[0]) != want.ip || (b.UserKey[0] == base.UserKey[0]) != want.user ||
			(b.ContentHash[0] == base.ContentHash[0]) != want.content {
			t.Errorf("click %d: want %+v", i, want)
		}
	}
	if !clicks[2].IPKey[0].IsZero() || !clicks[5].UserKey[0].IsZero() {
		t.Error("an empty ip or user has an identity")
	}
	if got := clicks[8].Rules[0]; got != schemas.RuleBotUserAgent|schemas.RuleListedIP {
		t.Errorf("got rules %v", got.Names())
	}
	key, err := schemas.ParseRowKey(0, base.RowKey.At(0))
	want := schemas.MinuteKey{AdvertiserID: "adv", CampaignID: "cmp", AdID: "ad", DeviceType: "mobile", CountryCode: "DE"}
	if err != nil || key != want || base.CostMicros[0] != 450_000 || base.ReceivedMicros[0] != origin*1000+7 {
		t.Errorf("got key %+v (%v), cost %d, received at %d", key, err, base.CostMicros[0], base.ReceivedMicros[0])
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	recs := []schemas.Record{record(0, 0, 0, nil), {Position: schemas.Position{Partition: 2, Offset: 1}, TimestampMicros: 5, Key: []byte("k"), Value: []byte("\xff")},
		record(2, 0, 0, func(c *schemas.RawClick) { c.AdID = nil })}
	clicks, dead := split(t, Batch{LogBefore: schemas.MinWatermark, WatermarkBefore: schemas.MinWatermark, Records: recs,
		Header: schemas.Header{Channels: 1}}, 1)
	want := []schemas.DeadLetter{
		{Position: recs[1].Position, ReceivedAtMicros: 5, Reason: schemas.ReasonUndecodable, Key: []byte("k"), Value: []byte("\xff")},
		{Position: recs[2].Position, ReceivedAtMicros: origin*1000 + 7, Reason: "missing_ad_id", Key: []byte("k"), Value: recs[2].Value},
	}
	if len(clicks) != 1 || !reflect.DeepEqual(dead, want) {
		t.Errorf("got %d clicks and %+v, want 1 and %+v", len(clicks), dead, want)
	}
}

// TestCoders: what a runner may part keeps every value.
func TestCoders(t *testing.T) {
	t.Parallel()
	batch := Batch{LogBefore: schemas.MinWatermark, WatermarkBefore: schemas.NoWatermark, Records: []schemas.Record{record(1, 2, 3, nil), {}},
		Header: schemas.Header{Channel: 1, Channels: 2, Start: 3, Prev: 4, Next: 5, WatermarkMillis: schemas.MaxWatermark, LogMillis: -1, TickMillis: 6}}
	data, err := encodeBatch(batch)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeBatch(data); err != nil || !reflect.DeepEqual(got, batch) {
		t.Errorf("got %+v (%v), want %+v", got, err, batch)
	}
	letters := []schemas.DeadLetter{{}, {Position: schemas.Position{Partition: 1, Offset: 1 << 60}, ReceivedAtMicros: -1, Reason: "x", Key: []byte{}, Value: []byte("\xff\x00")}}
	if !slices.EqualFunc(letters, letters, func(d, _ schemas.DeadLetter) bool {
		data, err := encodeDeadLetter(d)
		if err != nil {
			return false
		}
		got, err := decodeDeadLetter(data)
		return err == nil && reflect.DeepEqual(got, d)
	}) {
		t.Error("a dead letter is read as another")
	}
}
