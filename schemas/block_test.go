package schemas

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
)

func randomInt(rng *rand.Rand) int64 {
	switch rng.IntN(8) {
	case 0:
		return math.MinInt64
	case 1:
		return math.MaxInt64
	}
	return int64(rng.Uint64()) >> rng.IntN(64)
}

func randomHeader(rng *rand.Rand) Header {
	channels := 1 + rng.Int32N(64)
	return Header{Channel: rng.Int32N(channels), Channels: channels, Start: randomInt(rng), Prev: randomInt(rng),
		Next: randomInt(rng), WatermarkMillis: randomInt(rng), LogMillis: randomInt(rng), TickMillis: randomInt(rng), IsSettled: rng.IntN(2) == 0}
}

func randomKey(rng *rand.Rand) (k Key128) {
	if rng.IntN(4) > 0 {
		binary.LittleEndian.PutUint64(k[:], rng.Uint64())
		binary.LittleEndian.PutUint64(k[8:], rng.Uint64())
	}
	return k
}

func randomBlock(rng *rand.Rand, n int) *Block {
	b := &Block{Header: randomHeader(rng)}
	for range n {
		b.Partition = append(b.Partition, int32(randomInt(rng)))
		for _, col := range []*[]int64{&b.Offset, &b.ReceivedMicros, &b.EventMillis, &b.LogMillisColumn, &b.JudgeMillis,
			&b.CostMicros, &b.WinnerOffset} {
			*col = append(*col, randomInt(rng))
		}
		b.Verdict = append(b.Verdict, Verdict(rng.IntN(len(verdictNames))))
		b.Rules = append(b.Rules, Rules(rng.IntN(16)))
		b.Flags = append(b.Flags, ClickFlags(rng.IntN(8)))
		b.WinnerPartition = append(b.WinnerPartition, int32(randomInt(rng)))
		b.ClickKey = append(b.ClickKey, randomKey(rng))
		b.ContentHash = append(b.ContentHash, rng.Uint64())
		b.IPKey = append(b.IPKey, randomKey(rng))
		b.UserKey = append(b.UserKey, randomKey(rng))
		b.ClickID.Append(make([]byte, rng.IntN(5)))
		b.RowKey.Append(AppendRowKey(nil, "adv", "", "ad", "\xff", "DE"))
	}
	if rng.IntN(2) == 0 {
		b.ReceivedMicros, b.LogMillisColumn, b.ClickKey, b.ContentHash = nil, nil, nil, nil
	}
	if rng.IntN(2) == 0 {
		b.IPKey = nil
	}
	if rng.IntN(2) == 0 {
		b.UserKey = nil
	}
	return b
}

func randomRowBlock(rng *rand.Rand, n int) *RowBlock {
	b := &RowBlock{Header: randomHeader(rng)}
	for range n {
		b.AppendRow(randomInt(rng), AppendRowKey(nil, "adv", "cmp", "ad", "", "DE")[:rng.IntN(8)],
			Sums{Raw: randomInt(rng), Duplicates: randomInt(rng), Invalid: randomInt(rng), Unique: randomInt(rng),
				SpendMicros: randomInt(rng), Version: randomInt(rng)})
	}
	return b
}

// optional are the columns that a block may lack.
var optional = map[string]bool{"Records": true, "ReceivedMicros": true, "LogMillisColumn": true, "ClickKey": true,
	"ContentHash": true, "IPKey": true, "UserKey": true}

// columnLengths returns how many entries each column of a block has.
func columnLengths(block any) map[string]int {
	lengths := map[string]int{}
	v := reflect.ValueOf(block).Elem()
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		switch {
		case optional[name] && f.Len() == 0:
		case f.Kind() == reflect.Slice:
			lengths[name] = f.Len()
		case f.Type() == reflect.TypeFor[Text]():
			lengths[name] = f.FieldByName("Ends").Len()
		}
	}
	return lengths
}

func checkColumns(t *testing.T, block any, n int) {
	t.Helper()
	for name, got := range columnLengths(block) {
		if name != "Encoded" && got != n {
			t.Fatalf("column %s: got %d entries, want %d", name, got, n)
		}
	}
}

// TestBlockRoundTrip writes and reads random blocks, the same memory used again for each.
func TestBlockRoundTrip(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 3))
	var got Block
	var gotRows RowBlock
	for range 300 {
		want, wantRows := randomBlock(rng, rng.IntN(20)), randomRowBlock(rng, rng.IntN(20))
		data, rows := want.Append([]byte("before"))[6:], wantRows.Append(nil)
		if err := got.Decode(data); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := gotRows.Decode(rows); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		checkColumns(t, &got, want.Len())
		checkColumns(t, &gotRows, wantRows.Len())
		if !bytes.Equal(got.Append(nil), data) || !bytes.Equal(gotRows.Append(nil), rows) || got.Header != want.Header {
			t.Fatalf("seed %d: a block read and written again differs", seed)
		}
		for i := range want.Len() {
			one, other := Block{}, Block{}
			one.AppendFrom(&got, i)
			other.AppendFrom(want, i)
			if !reflect.DeepEqual(one, other) {
				t.Fatalf("seed %d: click %d: got %+v, want %+v", seed, i, one, other)
			}
		}
		for i := range wantRows.Len() {
			if gotRows.At(i) != wantRows.At(i) || !bytes.Equal(gotRows.RowKey.At(i), wantRows.RowKey.At(i)) ||
				gotRows.MinuteMillis[i] != wantRows.MinuteMillis[i] {
				t.Fatalf("seed %d: row %d: got %+v, want %+v", seed, i, gotRows.At(i), wantRows.At(i))
			}
		}
	}
}

// TestAppendAfterDecode makes sure that a decoded block never writes into the bytes that it is a view of.
func TestAppendAfterDecode(t *testing.T) {
	t.Parallel()
	src := randomBlock(rand.New(rand.NewPCG(1, 1)), 3)
	data := src.Append(nil)
	padded := append(bytes.Clone(data), bytes.Repeat([]byte{0xaa}, 64)...)
	var b Block
	if err := b.Decode(padded[:len(data)]); err != nil {
		t.Fatal(err)
	}
	b.AppendFrom(src, 0)
	b.Reset()
	b.AppendFrom(src, 1)
	if !bytes.Equal(padded[:len(data)], data) || !bytes.Equal(padded[len(data):], bytes.Repeat([]byte{0xaa}, 64)) {
		t.Error("appending to a decoded block changed the bytes that it was decoded from")
	}
}

// TestDecodeRefuses truncates, lengthens and damages blocks, and asks for too much.
func TestDecodeRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	data, rows := randomBlock(rng, 5).Append(nil), randomRowBlock(rng, 5).Append(nil)
	for i := range data {
		if err := new(Block).Decode(data[:i]); err == nil {
			t.Errorf("a block cut to %d of %d bytes was decoded", i, len(data))
		}
	}
	for i := range rows {
		if err := new(RowBlock).Decode(rows[:i]); err == nil {
			t.Errorf("a row block cut to %d of %d bytes was decoded", i, len(rows))
		}
	}
	if new(Block).Decode(append(bytes.Clone(data), 0)) == nil || new(RowBlock).Decode(append(bytes.Clone(rows), 0)) == nil {
		t.Error("a block with a byte left over was decoded")
	}
	if new(Block).Decode(rows) == nil || new(RowBlock).Decode(data) == nil {
		t.Error("a block of the other kind was decoded")
	}
	for name, h := range map[string]Header{
		"no channels": {}, "negative": {Channel: -1, Channels: 2}, "channel past the last": {Channel: 2, Channels: 2},
		"too many channels": {Channels: math.MaxInt32},
	} {
		if (&Block{}).Decode((&Block{Header: h}).Append(nil)) == nil || (&RowBlock{}).Decode((&RowBlock{Header: h}).Append(nil)) == nil {
			t.Errorf("%s: a block of channel %d of %d was decoded", name, h.Channel, h.Channels)
		}
	}
	h := Header{Channels: 1}
	for _, n := range []int{-1, 1, 1000, MaxBlockClicks, MaxBlockClicks + 1, math.MaxInt64} {
		for _, version := range []byte{blockVersion, rowBlockVersion} {
			short := append(h.appendTo([]byte{version}, n), make([]byte, 7)...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err, errRows := new(Block).Decode(short), new(RowBlock).Decode(short)
			runtime.ReadMemStats(&after)
			if err == nil || errRows == nil {
				t.Errorf("%d entries in 7 bytes were decoded", n)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
				t.Errorf("%d entries in 7 bytes: %d bytes allocated", n, used)
			}
		}
	}
}

func FuzzBlockDecode(f *testing.F) {
	rng := rand.New(rand.NewPCG(4, 4))
	for n := range 4 {
		f.Add(randomBlock(rng, n).Append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second Block
		if first.Decode(data) != nil {
			return
		}
		checkColumns(t, &first, first.Len())
		if err := second.Decode(first.Append(nil)); err != nil {
			t.Fatalf("a decoded block does not decode again: %v", err)
		}
		second.Encoded = first.Encoded // the same block may have several encodings
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("got %+v, want %+v", second, first)
		}
		for i := range first.Len() {
			second.AppendFrom(&first, i)
			_, _ = first.Position(i), first.Verdict[i].String()
		}
	})
}

func FuzzRowBlockDecode(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 5))
	for n := range 4 {
		f.Add(randomRowBlock(rng, n).Append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second RowBlock
		if first.Decode(data) != nil {
			return
		}
		checkColumns(t, &first, first.Len())
		if err := second.Decode(first.Append(nil)); err != nil {
			t.Fatalf("a decoded block does not decode again: %v", err)
		}
		second.Encoded = first.Encoded // the same block may have several encodings
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("got %+v, want %+v", second, first)
		}
		for i := range first.Len() {
			if row, err := first.Row(i); err == nil && row.RawClicks != first.Raw[i] {
				t.Fatalf("row %d: got %+v, want %+v", i, row, first.At(i))
			}
		}
	})
}
