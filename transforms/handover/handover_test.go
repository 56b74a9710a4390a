package handover

import (
	"bytes"
	"errors"
	"testing"

	"github.com/clickledger/clickledger/schemas"
)

func block(id string) *schemas.Block {
	b := schemas.NewBlock()
	b.Channels, b.Next = 1, 7
	one := schemas.Block{
		Partition: []int32{1}, Offset: []int64{2}, ReceivedMicros: []int64{3}, EventMillis: []int64{4}, LogMillisColumn: []int64{5},
		JudgeMillis: []int64{6}, CostMicros: []int64{7}, Verdict: []schemas.Verdict{schemas.Billable}, Rules: []schemas.Rules{0},
		Flags: []schemas.ClickFlags{0}, WinnerPartition: []int32{1}, WinnerOffset: []int64{2}, ClickKey: make([]schemas.Key128, 1),
		ContentHash: []uint64{8}, IPKey: make([]schemas.Key128, 1), UserKey: make([]schemas.Key128, 1),
	}
	one.ClickID.Append([]byte(id))
	one.RowKey.Append(schemas.AppendRowKey(nil, "adv", "cmp", "ad", "", ""))
	b.AppendFrom(&one, 0)
	return b
}

func rows() *schemas.RowBlock {
	b := schemas.NewRowBlock()
	b.Channels = 1
	b.AppendRow(60_000, schemas.AppendRowKey(nil, "adv", "cmp", "ad", "", ""), schemas.Sums{Raw: 1})
	return b
}

// TestBothWays sends blocks and rows encoded and by reference: what is received is what was sent.
func TestBothWays(t *testing.T) {
	for _, byReference := range []bool{false, true} {
		want, wantRows := block("x").Append(nil), rows().Append(nil)
		s := Sender{RunID: t.Name(), ByReference: byReference}
		first := bytes.Clone(s.Block(block("x")))
		second := bytes.Clone(s.Rows(rows()))
		if byReference != (len(first) == referenceBytes) {
			t.Fatalf("by reference %t: an element of %d bytes", byReference, len(first))
		}
		b, err := Block(first)
		if err != nil {
			t.Fatal(err)
		}
		again := bytes.Clone(s.Again(b, first))
		if b, err = Block(again); err != nil || !bytes.Equal(b.Append(nil), want) {
			t.Errorf("by reference %t: got %v (%v)", byReference, b, err)
		}
		r, err := Rows(second)
		if err != nil || !bytes.Equal(r.Append(nil), wantRows) {
			t.Errorf("by reference %t: got %v (%v)", byReference, r, err)
		}
		if n := Forget(t.Name()); n != 0 {
			t.Errorf("%d blocks are left", n)
		}
	}
}

func TestReceivedOnce(t *testing.T) {
	s := Sender{RunID: t.Name(), ByReference: true}
	data := bytes.Clone(s.Block(block("x")))
	if _, err := Rows(data); err == nil {
		t.Error("clicks were received as rows")
	}
	if _, err := Block(data); !errors.Is(err, ErrGone) {
		t.Errorf("the second time: got %v, want ErrGone", err)
	}
	data = bytes.Clone(s.Block(block("y")))
	other := Sender{RunID: "another run", ByReference: true}
	kept := bytes.Clone(other.Block(block("z")))
	if n := Forget(t.Name()); n != 1 {
		t.Errorf("%d blocks were dropped, want 1", n)
	}
	if _, err := Block(data); !errors.Is(err, ErrGone) {
		t.Errorf("after the end of its run: got %v, want ErrGone", err)
	}
	if b, err := Block(kept); err != nil || string(b.ClickID.At(0)) != "z" {
		t.Errorf("another run's block: got %v (%v)", b, err)
	}
}

func TestDamage(t *testing.T) {
	whole := block("x").Append(nil)
	for n := range whole {
		if _, err := Block(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes were read as a block", n, len(whole))
		}
	}
	if _, err := Rows(nil); err == nil {
		t.Error("nothing was read as rows")
	}
}
