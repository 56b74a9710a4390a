package schemas

import "fmt"

// Position names one Kafka record: the partition and the offset in it.
type Position struct {
	Partition int32
	Offset    int64
}

// Less orders positions by partition, then offset.
func (p Position) Less(q Position) bool {
	if p.Partition != q.Partition {
		return p.Partition < q.Partition
	}
	return p.Offset < q.Offset
}

func (p Position) String() string { return fmt.Sprintf("%d/%d", p.Partition, p.Offset) }

// Verdict is what became of a record. Every record has exactly one; the zero value is Billable.
type Verdict uint8

// The verdicts of the billing contract. Late is the stream's alone: a click so far behind the
// watermark that its state is gone, left to the batch layer.
const (
	Billable Verdict = iota
	Duplicate
	Invalid
	DeadLettered
	Late
)

var verdictNames = [...]string{"billable", "duplicate", "invalid", "dead_letter", "late"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// ParseVerdict is the inverse of Verdict.String.
func ParseVerdict(s string) (Verdict, error) {
	for i, name := range verdictNames {
		if name == s {
			return Verdict(i), nil
		}
	}
	return 0, fmt.Errorf("unknown verdict %q", s)
}

// Rules is the set of invalid-traffic rules that a click hit; zero is none.
type Rules uint8

// The invalid-traffic rules, in the order in which they are listed everywhere.
const (
	RuleVelocityIPAd Rules = 1 << iota
	RuleVelocityUserAd
	RuleBotUserAgent
	RuleListedIP
)

// RuleNames are the rules' stable names, in bit order.
var RuleNames = [...]string{"velocity_ip_ad", "velocity_user_ad", "bot_user_agent", "listed_ip"}

// Names lists the rules in the set in bit order; nil when none hit.
func (r Rules) Names() []string {
	var names []string
	for i, name := range RuleNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// ParseRules is the inverse of Rules.Names.
func ParseRules(names []string) (Rules, error) {
	var r Rules
next:
	for _, n := range names {
		for i, name := range RuleNames {
			if n == name {
				r |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("unknown rule %q", n)
	}
	return r, nil
}

// Decision is the verdict on one click that the stream did not bill, or billed late.
type Decision struct {
	Position
	ClickID         string
	EventTimeMillis int64
	Verdict         Verdict
	Rules           Rules
	// IsLate marks a click, billable or not, that came behind the watermark, within the allowed lateness.
	IsLate bool
	// Winner is the position of the first copy of a duplicate; equal to Position otherwise.
	Winner Position
	// IsConflict marks a duplicate whose ad or cost differs from the winner's.
	IsConflict bool
	// PolicyHash names the policy that judged the click.
	PolicyHash string
}
