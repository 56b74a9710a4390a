// Package claim is the contract of a store of click_ids that several workers share: what a click
// claims, and what is kept of those that came before it. Times are Unix milliseconds of the log and
// Unix microseconds of receipt, as in a Block.
//
// A History is the stream's memory of one click_id as a function of the log: the winners in log
// order, each with the newest receipt of its copies. A record that is read again after later ones
// finds its own place in it, and so gets the verdict that it had.
package claim

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/clickledger/clickledger/schemas"
)

// Claim is a click that asks who owns its click_id.
type Claim struct {
	Key            schemas.Key128 // of the click_id
	Position       schemas.Position
	LogMillis      int64 // its log time; with the position it gives the order of the log
	ReceivedMicros int64
	KeepMicros     int64 // the time to live that holds for it
	Content        uint64
}

// Owner is the click that owns a click_id.
type Owner struct {
	Position schemas.Position
	Content  uint64
}

// Run is a winner and what its copies have moved: the receipt that the time to live counts from.
type Run struct {
	Owner
	LogMillis    int64 // of the winner
	AnchorMicros int64
}

// RunBytes is the size of an encoded run.
const RunBytes = 36

// RunsMax bounds a history. More winners of one click_id within two periods only come from
// receipts that jump; of these the newest are kept.
const RunsMax = 4096

// ErrMalformed says that bytes are not a history.
var ErrMalformed = errors.New("malformed history of a click_id")

// History is the winners of one click_id in log order.
type History []Run

// Begin is the run that a claim begins as a winner.
func (c *Claim) Begin() Run {
	return Run{Owner: Owner{c.Position, c.Content}, LogMillis: c.LogMillis, AnchorMicros: c.ReceivedMicros}
}

// precedes orders a winner and a claim as the log does.
func (r *Run) precedes(c *Claim) bool {
	if r.LogMillis != c.LogMillis {
		return r.LogMillis < c.LogMillis
	}
	return r.Position.Less(c.Position)
}

// Judge returns who owns the click_id of a claim, the claim itself where it wins, and whether the
// history has changed by it. Claims of one click_id come in log order, and any of them may come
// again, after later ones too.
//
// A claim that is neither a winner nor fits the winner before it, but has one behind it, was not
// there when that one was judged: its partition had idled. It is a copy of the one behind it, as
// it was when it came; so it stays when it is read again.
func (h *History) Judge(c *Claim) (owner Owner, changed bool) {
	next := 0 // the first winner behind the claim
	for i := range *h {
		r := &(*h)[i]
		if r.Position == c.Position {
			return r.Owner, false
		}
		if r.precedes(c) {
			next = i + 1
		}
	}
	for _, i := range [...]int{next - 1, next} {
		if i < 0 || i == len(*h) {
			continue
		}
		if r := &(*h)[i]; c.ReceivedMicros-r.AnchorMicros <= c.KeepMicros {
			changed = c.ReceivedMicros > r.AnchorMicros
			r.AnchorMicros = max(r.AnchorMicros, c.ReceivedMicros)
			return r.Owner, changed
		}
	}
	*h = slices.Insert(*h, next, c.Begin())
	return (*h)[next].Owner, true
}

// Merge adds the runs of another history of the same click_id.
func (h *History) Merge(other History) {
	for _, r := range other {
		at, found := slices.BinarySearchFunc(*h, r, func(a, b Run) int {
			switch {
			case a.Position == b.Position:
				return 0
			case a.precedes(&Claim{LogMillis: b.LogMillis, Position: b.Position}):
				return -1
			}
			return 1
		})
		if found {
			(*h)[at].AnchorMicros = max((*h)[at].AnchorMicros, r.AnchorMicros)
			continue
		}
		*h = slices.Insert(*h, at, r)
	}
}

// Within returns what is needed of a history to judge the claims of log times from one on, before
// another: the winners of that time and the last one before it.
func (h *History) Within(fromMillis, toMillis int64) History {
	first, end := 0, 0
	for i := range *h {
		if (*h)[i].LogMillis < fromMillis {
			first = i
		}
		if (*h)[i].LogMillis < toMillis {
			end = i + 1
		}
	}
	return (*h)[max(min(first, end), end-RunsMax):end]
}

// Append encodes a run.
func (r *Run) Append(buf []byte) []byte {
	buf = binary.LittleEndian.AppendUint32(buf, uint32(r.Position.Partition))
	for _, v := range [...]uint64{uint64(r.Position.Offset), uint64(r.LogMillis), uint64(r.AnchorMicros), r.Content} {
		buf = binary.LittleEndian.AppendUint64(buf, v)
	}
	return buf
}

// Append encodes a history: its runs, one behind the other.
func (h *History) Append(buf []byte) []byte {
	for i := range *h {
		buf = (*h)[i].Append(buf)
	}
	return buf
}

// Decode reads an encoded history.
func Decode(data string) (History, error) {
	if len(data)%RunBytes != 0 {
		return nil, ErrMalformed
	}
	h := make(History, 0, len(data)/RunBytes+1)
	for b := []byte(data); len(b) > 0; b = b[RunBytes:] {
		word := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
		h = append(h, Run{LogMillis: int64(word(12)), AnchorMicros: int64(word(20)), Owner: Owner{Content: word(28),
			Position: schemas.Position{Partition: int32(binary.LittleEndian.Uint32(b)), Offset: int64(word(4))}}})
	}
	return h, nil
}
