package loadgen

// Kind says what the generator meant a record to be.
type Kind uint8

// The kinds of records. The comments say what becomes of them by the default policy, as long as
// nothing else about them is out of the ordinary.
const (
	Ordinary Kind = iota // billable
	// Duplicate is a copy of a click of the last half minute.
	Duplicate
	// DuplicateOld is a copy of a click that is more than ten minutes old: beyond the stream's memory.
	DuplicateOld
	// Conflict is a copy whose cost or ad differs.
	Conflict
	// Attack is one of a burst of clicks of one identity: the first 30 are billable, the others not.
	Attack
	// AttackReturn is a click of an attacker within the cooling hour: invalid.
	AttackReturn
	// AtLimit is one of a burst that stays exactly within the velocity limit: billable.
	AtLimit
	// OverLimit is one of a burst of one more than the limit: the last one is invalid.
	OverLimit
	Bot      // invalid: bot_user_agent
	ListedIP // invalid: listed_ip
	Late     // one to nine minutes late: billable, late in the stream
	VeryLate // more than ten minutes late: the batch layer alone counts it
	Stale    // dead letter: stale
	Future   // dead letter: future
	Missing  // dead letter: missing_X
	Overlong // dead letter: overlong_X
	BadID    // dead letter: bad_id
	BadCost  // dead letter: bad_cost
	BadIP    // dead letter: bad_ip
	BadUTF8  // dead letter: undecodable
	Garbage  // dead letter: undecodable; not even protobuf
	Oversize // dead letter: oversize
	kinds
)

var kindNames = [kinds]string{
	"ordinary", "duplicate", "duplicate_old", "conflict", "attack", "attack_return", "at_limit", "over_limit",
	"bot", "listed_ip", "late", "very_late", "stale", "future", "missing", "overlong", "bad_id", "bad_cost",
	"bad_ip", "bad_utf8", "garbage", "oversize",
}

func (k Kind) String() string { return kindNames[k] }

// Kinds lists all kinds in their order.
func Kinds() []Kind {
	list := make([]Kind, kinds)
	for i := range list {
		list[i] = Kind(i)
	}
	return list
}

// HTTP reports whether a record of the kind can be sent to a gateway as a click's URL.
func (k Kind) HTTP() bool { return k != Garbage && k != Oversize }

// Counts are numbers of records by kind.
type Counts [kinds]int64

// Total is the number of records of all kinds.
func (c *Counts) Total() int64 {
	var n int64
	for _, v := range c {
		n += v
	}
	return n
}

// Map returns the counts that are not zero, by the kinds' names.
func (c *Counts) Map() map[string]int64 {
	m := map[string]int64{}
	for k, n := range c {
		if n != 0 {
			m[kindNames[k]] = n
		}
	}
	return m
}
