package schemas

import (
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/clickledger/clickledger/schemas/clickpb"
)

func decisions() map[string]Decision {
	return map[string]Decision{
		"zero": {},
		"full": {
			Position: Position{Partition: 3, Offset: 1 << 40}, ClickID: "clk_é", EventTimeMillis: -5,
			Verdict: Invalid, Rules: RuleVelocityIPAd | RuleListedIP, IsLate: true,
			Winner: Position{Partition: 2, Offset: 9}, IsConflict: true, PolicyHash: "00ff",
		},
		"late": {Position: Position{Offset: 7}, Verdict: Late, Winner: Position{Offset: 7}, IsLate: true},
	}
}

func TestDecisionRoundTrip(t *testing.T) {
	t.Parallel()
	for name, want := range decisions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := EncodeDecision(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeDecision(b)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// TestDecisionIsProtobuf compares the hand-written code with the generated code, both ways.
func TestDecisionIsProtobuf(t *testing.T) {
	t.Parallel()
	for name, d := range decisions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := &clickpb.Decision{
				Partition: d.Partition, Offset: d.Offset, ClickId: d.ClickID, EventTimeMillis: d.EventTimeMillis,
				Verdict: d.Verdict.String(), Rules: d.Rules.Names(), IsLate: d.IsLate,
				WinnerPartition: d.Winner.Partition, WinnerOffset: d.Winner.Offset,
				IsConflict: d.IsConflict, PolicyHash: d.PolicyHash,
			}
			b, err := EncodeDecision(d)
			if err != nil {
				t.Fatal(err)
			}
			got := &clickpb.Decision{}
			if err := proto.Unmarshal(b, got); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, want) {
				t.Errorf("read as protobuf: got %v, want %v", got, want)
			}
			theirs, err := proto.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			back, err := DecodeDecision(theirs)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back, d) {
				t.Errorf("read from protobuf: got %+v, want %+v", back, d)
			}
		})
	}
}

func TestDecisionErrors(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]Decision{
		"verdict":  {Verdict: 99},
		"rule":     {Rules: 1 << 7},
		"utf8":     {ClickID: "\xff"},
		"position": {Position: Position{Offset: -1}},
		"winner":   {Winner: Position{Partition: -1}},
	} {
		if _, err := EncodeDecision(d); err == nil {
			t.Errorf("%s: encoded without an error", name)
		}
	}
	good, err := EncodeDecision(decisions()["full"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeDecision(good[:len(good)-1]); err == nil {
		t.Error("a truncated decision was decoded without an error")
	}
	for name, d := range map[string]*clickpb.Decision{
		"no verdict":        {},
		"unknown verdict":   {Verdict: "maybe"},
		"unknown rule":      {Verdict: "invalid", Rules: []string{"nope"}},
		"negative position": {Verdict: "invalid", Offset: -4},
	} {
		b, err := proto.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeDecision(b); err == nil {
			t.Errorf("%s: decoded without an error", name)
		}
	}
}

func TestDecisionKey(t *testing.T) {
	t.Parallel()
	if got, want := string(DecisionKey(Position{Partition: 12, Offset: 345})), "12/345"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzDecodeDecision(f *testing.F) {
	for _, d := range decisions() {
		b, err := EncodeDecision(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDecision(b)
		if err != nil {
			return
		}
		again, err := EncodeDecision(d)
		if err != nil {
			t.Fatalf("decoded %+v does not encode: %v", d, err)
		}
		if back, err := DecodeDecision(again); err != nil || !reflect.DeepEqual(back, d) {
			t.Fatalf("got %+v (%v), want %+v", back, err, d)
		}
	})
}
