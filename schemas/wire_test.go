package schemas

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/clickledger/clickledger/schemas/clickpb"
)

// checkUnmarshal holds Unmarshal to the generated code: the same bytes are refused by both or read
// as the same click by both.
func checkUnmarshal(t *testing.T, b []byte) {
	t.Helper()
	var got RawClick
	var want clickpb.ClickEvent
	gotErr, wantErr := got.Unmarshal(b), proto.Unmarshal(b, &want)
	if (gotErr == nil) != (wantErr == nil) {
		t.Fatalf("%x: got error %v, want that of protobuf: %v", b, gotErr, wantErr)
	}
	if gotErr != nil {
		return
	}
	want.ProtoReflect().SetUnknown(nil)
	if !proto.Equal(message(&got), &want) ||
		math.Float64bits(got.CostPerClick) != math.Float64bits(want.CostPerClick) {
		t.Fatalf("%x: got %v, want %v", b, message(&got), &want)
	}
}

func wireSeeds() map[string][]byte {
	tag := func(num protowire.Number, typ protowire.Type) []byte { return protowire.AppendTag(nil, num, typ) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	text := func(num protowire.Number, s string) []byte {
		return protowire.AppendString(tag(num, protowire.BytesType), s)
	}
	full := rawClicks()["full"]
	whole := full.AppendTo(nil)
	seeds := map[string][]byte{
		"empty":                  {},
		"full":                   whole,
		"unknown field":          join(text(99, "x"), whole, text(14, "\xff\xfe")),
		"repeated field":         join(text(1, "first"), whole, text(1, "last"), text(1, "")),
		"text as varint":         join(tag(1, protowire.VarintType), []byte{5}, whole),
		"text as fixed32":        join(whole, tag(2, protowire.Fixed32Type), []byte{1, 2, 3, 4}),
		"cost as text":           join(whole, text(6, "12345678")),
		"cost as fixed32":        join(whole, tag(6, protowire.Fixed32Type), []byte{1, 2, 3, 4}),
		"time as fixed64":        join(whole, tag(9, protowire.Fixed64Type), make([]byte, 8)),
		"time as packed":         join(whole, text(9, "\x01\x02")),
		"bad UTF-8":              join(whole, text(8, "\xff")),
		"bad UTF-8, overwritten": join(text(8, "\xff"), whole),
		"overlong UTF-8":         text(1, "\xc0\x80"),
		"surrogate":              text(1, "\xed\xa0\x80"),
		"bad UTF-8 of time":      text(9, "\xff"),
		"group": join(tag(20, protowire.StartGroupType), text(1, "\xff"), tag(20, protowire.EndGroupType),
			whole),
		"known number as group":  join(tag(1, protowire.StartGroupType), tag(1, protowire.EndGroupType), whole),
		"group of another end":   join(tag(20, protowire.StartGroupType), tag(21, protowire.EndGroupType)),
		"group without an end":   tag(20, protowire.StartGroupType),
		"end without a group":    tag(20, protowire.EndGroupType),
		"end of a known number":  join(whole, tag(3, protowire.EndGroupType)),
		"field number 0":         {0x02, 0x00},
		"wire type 6":            {0x0e, 0x00},
		"wire type 7":            {0x0f, 0x00},
		"largest field number":   join(tag(protowire.MaxValidNumber, protowire.VarintType), []byte{1}),
		"field number too large": join(tag(protowire.MaxValidNumber+1, protowire.VarintType), []byte{1}),
		"field number huge":      join(protowire.AppendVarint(nil, uint64(math.MaxInt32)<<3), []byte{1}),
		"field number past 32":   join(protowire.AppendVarint(nil, (1<<32+1)<<3|2), []byte{1, 'x'}),
		"padded tag":             {0x8a, 0x00, 0x01, 'x'},
		"padded length":          {0x0a, 0x81, 0x00, 'x'},
		"varint of 10 bytes":     {0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"varint too large":       {0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
		"length past the end":    {0x0a, 0x05, 'x'},
		"length of 2^63":         {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"NaN": protowire.AppendFixed64(tag(6, protowire.Fixed64Type),
			math.Float64bits(math.NaN())|1),
	}
	deep := bytes.Repeat(tag(20, protowire.StartGroupType), 200)
	seeds["deep groups"] = join(deep, bytes.Repeat(tag(20, protowire.EndGroupType), 200))
	deeper := bytes.Repeat(tag(20, protowire.StartGroupType), 20_000)
	seeds["groups too deep"] = join(deeper, bytes.Repeat(tag(20, protowire.EndGroupType), 20_000))
	return seeds
}

// TestUnmarshalIsProtobuf compares with the generated code on every seed and every prefix of it.
func TestUnmarshalIsProtobuf(t *testing.T) {
	t.Parallel()
	for name, b := range wireSeeds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkUnmarshal(t, b)
			for i := range min(len(b), 300) {
				checkUnmarshal(t, b[:i])
			}
		})
	}
}

// TestUnmarshalOfRandomBytes compares with the generated code on random fields, mutated.
func TestUnmarshalOfRandomBytes(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	valid := 0
	for range 100_000 {
		var b []byte
		for range rng.IntN(6) {
			b = appendRandomField(b, rng)
		}
		if rng.IntN(2) == 0 && len(b) > 0 {
			for range 1 + rng.IntN(3) {
				b[rng.IntN(len(b))] = byte(rng.Uint32())
			}
		}
		if rng.IntN(4) == 0 {
			b = b[:rng.IntN(len(b)+1)]
		}
		checkUnmarshal(t, b)
		if new(RawClick).Unmarshal(b) == nil {
			valid++
		}
	}
	if valid < 10_000 {
		t.Errorf("seed %d: only %d messages were valid: the test tests little", seed, valid)
	}
}

func appendRandomField(b []byte, rng *rand.Rand) []byte {
	num := protowire.Number(1 + rng.IntN(15))
	switch rng.IntN(20) {
	case 0:
		num = protowire.Number(1 + rng.IntN(1<<30))
	case 1:
		num = protowire.MaxValidNumber + protowire.Number(rng.IntN(3)) - 1
	}
	typ := protowire.BytesType
	switch num {
	case 6:
		typ = protowire.Fixed64Type
	case 9, 11:
		typ = protowire.VarintType
	}
	if rng.IntN(6) == 0 {
		typ = protowire.Type(rng.IntN(6))
	}
	b = protowire.AppendTag(b, num, typ)
	switch typ {
	case protowire.VarintType:
		return protowire.AppendVarint(b, rng.Uint64()>>rng.IntN(64))
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(b, rng.Uint32())
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(b, rng.Uint64())
	case protowire.BytesType:
		texts := []string{"", "clk_1", "é", "\U0001f600", "\u0085", "\xff", "\xe2\x82", "0123456789abcdef"}
		return protowire.AppendString(b, texts[rng.IntN(len(texts))])
	case protowire.StartGroupType:
		return protowire.AppendTag(appendRandomField(b, rng), num, protowire.EndGroupType)
	}
	return b
}

func FuzzUnmarshal(f *testing.F) {
	for _, b := range wireSeeds() {
		if len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Fuzz(checkUnmarshal)
}
