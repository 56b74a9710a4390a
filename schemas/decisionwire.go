package schemas

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of csp.adclick.v1.Decision.
const (
	decisionPartition       protowire.Number = 1
	decisionOffset          protowire.Number = 2
	decisionClickID         protowire.Number = 3
	decisionEventTimeMillis protowire.Number = 4
	decisionVerdict         protowire.Number = 5
	decisionRules           protowire.Number = 6
	decisionIsLate          protowire.Number = 7
	decisionWinnerPartition protowire.Number = 8
	decisionWinnerOffset    protowire.Number = 9
	decisionIsConflict      protowire.Number = 10
	decisionPolicyHash      protowire.Number = 11
)

var errDecisionPosition = errors.New("a position is negative or out of range")

// EncodeDecision returns the decision as a csp.adclick.v1.Decision, the value of a record of the
// topic clicks.decisions. The same decision gives the same bytes. It is an error if a text is not
// UTF-8, the verdict or a rule is unknown, or a position is negative.
func EncodeDecision(d Decision) ([]byte, error) {
	return AppendDecision(make([]byte, 0, 96), &d)
}

// AppendDecision appends to dst what EncodeDecision returns.
func AppendDecision(dst []byte, d *Decision) ([]byte, error) {
	switch {
	case int(d.Verdict) >= len(verdictNames):
		return dst, fmt.Errorf("encode decision %s: unknown verdict %d", d.Position, d.Verdict)
	case d.Rules>>len(RuleNames) != 0:
		return dst, fmt.Errorf("encode decision %s: unknown rules %#x", d.Position, uint8(d.Rules))
	case !utf8.ValidString(d.ClickID), !utf8.ValidString(d.PolicyHash):
		return dst, fmt.Errorf("encode decision %s: %w", d.Position, errUTF8)
	case !d.Position.valid(), !d.Winner.valid():
		return dst, fmt.Errorf("encode decision %s: %w", d.Position, errDecisionPosition)
	}
	dst = appendInt(dst, decisionPartition, int64(d.Partition))
	dst = appendInt(dst, decisionOffset, d.Offset)
	dst = appendText(dst, decisionClickID, d.ClickID)
	dst = appendInt(dst, decisionEventTimeMillis, d.EventTimeMillis)
	dst = appendText(dst, decisionVerdict, verdictNames[d.Verdict])
	for i, name := range RuleNames {
		if d.Rules&(1<<i) != 0 {
			dst = appendText(dst, decisionRules, name)
		}
	}
	dst = appendBool(dst, decisionIsLate, d.IsLate)
	dst = appendInt(dst, decisionWinnerPartition, int64(d.Winner.Partition))
	dst = appendInt(dst, decisionWinnerOffset, d.Winner.Offset)
	dst = appendBool(dst, decisionIsConflict, d.IsConflict)
	return appendText(dst, decisionPolicyHash, d.PolicyHash), nil
}

// DecodeDecision reads what EncodeDecision wrote. Unknown fields are skipped; an unknown verdict or
// rule, text that is not UTF-8 and a negative position are errors.
func DecodeDecision(b []byte) (Decision, error) {
	var d Decision
	verdict := ""
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return Decision{}, fmt.Errorf("decode decision: read tag: %w", protowire.ParseError(n))
		}
		m, err := d.consume(&verdict, num, typ, b[n:])
		if err != nil {
			return Decision{}, fmt.Errorf("decode decision: field %d: %w", num, err)
		}
		b = b[n+m:]
	}
	var err error
	if d.Verdict, err = ParseVerdict(verdict); err != nil {
		return Decision{}, fmt.Errorf("decode decision %s: %w", d.Position, err)
	}
	if !d.Position.valid() || !d.Winner.valid() {
		return Decision{}, fmt.Errorf("decode decision %s: %w", d.Position, errDecisionPosition)
	}
	return d, nil
}

// consume reads the value of one field from the front of b and returns its length.
func (d *Decision) consume(
	verdict *string, num protowire.Number, typ protowire.Type, b []byte,
) (int, error) {
	switch typ {
	case protowire.VarintType:
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		d.setVarint(num, v)
		return n, nil
	case protowire.BytesType:
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		return n, d.setText(verdict, num, v)
	default:
		n := protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		return n, nil
	}
}

func (d *Decision) setVarint(num protowire.Number, v uint64) {
	switch num {
	case decisionPartition:
		d.Partition = int32(v)
	case decisionOffset:
		d.Offset = int64(v)
	case decisionEventTimeMillis:
		d.EventTimeMillis = int64(v)
	case decisionIsLate:
		d.IsLate = v != 0
	case decisionWinnerPartition:
		d.Winner.Partition = int32(v)
	case decisionWinnerOffset:
		d.Winner.Offset = int64(v)
	case decisionIsConflict:
		d.IsConflict = v != 0
	}
}

func (d *Decision) setText(verdict *string, num protowire.Number, v []byte) error {
	switch num {
	case decisionClickID, decisionVerdict, decisionRules, decisionPolicyHash:
		if !utf8.Valid(v) {
			return errUTF8
		}
	}
	switch num {
	case decisionClickID:
		d.ClickID = string(v)
	case decisionVerdict:
		*verdict = string(v)
	case decisionRules:
		for i, name := range RuleNames {
			if string(v) == name {
				d.Rules |= 1 << i
				return nil
			}
		}
		return fmt.Errorf("unknown rule %q", v)
	case decisionPolicyHash:
		d.PolicyHash = string(v)
	}
	return nil
}

// DecisionKey is the Kafka key of the decision on the click at p, "partition/offset" in decimals:
// the decisions of a replay meet in one partition of the topic, in order.
func DecisionKey(p Position) []byte {
	key := strconv.AppendInt(make([]byte, 0, 24), int64(p.Partition), 10)
	return strconv.AppendInt(append(key, '/'), p.Offset, 10)
}

// valid reports whether the position can be that of a record.
func (p Position) valid() bool { return p.Partition >= 0 && p.Offset >= 0 }

func appendInt(b []byte, num protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), 1)
}

func appendText(b []byte, num protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
}
