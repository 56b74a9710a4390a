package bench

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// Log is a log in memory: all values in one piece, so that the garbage collector has nothing to
// look at.
type Log struct {
	values []byte
	recs   []logRecord
}

type logRecord struct {
	pos        schemas.Position
	timeMicros int64
	end        int
}

// Add appends one record, in order of its recording.
func (l *Log) Add(pos schemas.Position, timeMicros int64, value []byte) {
	l.values = append(l.values, value...)
	l.recs = append(l.recs, logRecord{pos, timeMicros, len(l.values)})
}

// Bytes is the size of all values.
func (l *Log) Bytes() int { return len(l.values) }

// errLate says that the loop, which has no state for it, met a click behind the watermark.
var errLate = errors.New("late click: the bare loop only takes logs without")

// stepMillis is how much event time is put in order at a time.
const stepMillis = 500

// loop is the job as one would write it for one goroutine, one revision of a policy and nothing to
// recover: plain maps that forget nothing. It is the floor of what is possible in Go.
type loop struct {
	rev      *policy.Revision
	bots     []*regexp.Regexp
	isBot    map[string]bool
	networks []netip.Prefix

	seen       map[xxh3.Uint128]int64 // click_id: received_at of the last copy
	waiting    map[int64][]unique     // by stepMillis of event time
	judged     int64                  // event time below which all is judged
	byIP, user map[xxh3.Uint128]history
	index      map[string]int32
	rows       []sums
	totals     Totals
	scratch    []byte
}

// unique is a unique click that waits for its turn.
type unique struct {
	event, offset, cost int64
	partition, row      int32
	listed              bool
	ip, user            xxh3.Uint128
}

// history is what is known of an identity: its last click, those of the window if there are
// several, and the last click that was one too many.
type history struct {
	last, trip int64
	times      []int64
}

type sums struct{ raw, duplicates, invalid, unique, spend int64 }

// RunLoop does the job over a log whose clicks are all on time, by the first revision of the
// policy, and returns the totals and the number of rows.
func RunLoop(p *policy.Policy, log *Log) (Totals, int64, error) {
	l := &loop{rev: &p.Revisions[0], isBot: map[string]bool{}, seen: map[xxh3.Uint128]int64{}, waiting: map[int64][]unique{},
		byIP: map[xxh3.Uint128]history{}, user: map[xxh3.Uint128]history{}, index: map[string]int32{}}
	for _, pattern := range l.rev.BotUserAgents.Patterns {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return Totals{}, 0, fmt.Errorf("bot pattern %q: %w", pattern, err)
		}
		l.bots = append(l.bots, re)
	}
	for _, cidr := range l.rev.ListedNetworks.CIDRs {
		network, err := netip.ParsePrefix(cidr)
		if err != nil {
			return Totals{}, 0, fmt.Errorf("listed network %q: %w", cidr, err)
		}
		l.networks = append(l.networks, network)
	}
	if err := l.run(schemas.NewDecoder(p), log); err != nil {
		return Totals{}, 0, err
	}
	return l.totals, int64(len(l.rows)), nil
}

func (l *loop) run(decoder *schemas.Decoder, log *Log) error {
	var raw schemas.RawClick
	from, highest, skew := 0, int64(0), l.rev.AllowedSkew.Milliseconds()
	for i := range log.recs {
		r := &log.recs[i]
		rec := schemas.Record{Position: r.pos, TimestampMicros: r.timeMicros, Value: log.values[from:r.end]}
		from = r.end
		l.totals.Records++
		j, reason := decoder.DecodeRaw(&rec, &raw)
		if reason != "" {
			l.totals.DeadLetters++
		} else if err := l.take(&raw, &j, r.pos); err != nil {
			return err
		}
		if t := r.timeMicros / 1000; t > highest {
			highest = t
			l.judgeBefore(t - skew)
		}
	}
	for _, step := range l.steps() {
		l.judgeStep(step)
	}
	return nil
}

// take is dedup, and the part of the other rules that needs no order.
func (l *loop) take(raw *schemas.RawClick, j *schemas.Judged, pos schemas.Position) error {
	row := l.row(schemas.MinuteStart(j.EventTimeMillis), raw)
	l.rows[row].raw++
	id := xxh3.Hash128(raw.ClickID)
	last, copied := l.seen[id]
	copied = copied && j.ReceivedAtMicros-last <= l.rev.Dedup.TTL.Microseconds()
	l.seen[id] = max(last, j.ReceivedAtMicros)
	if copied {
		l.rows[row].duplicates++
		l.totals.Duplicates++
		return nil
	}
	if j.EventTimeMillis < l.judged {
		return errLate
	}
	u := unique{event: j.EventTimeMillis, offset: pos.Offset, partition: pos.Partition, cost: j.CostMicros, row: row,
		listed: l.bot(raw.UserAgent) || l.isListed(j.Addr)}
	if j.Addr.IsValid() {
		ip := j.Addr.As16()
		l.scratch = append(append(l.scratch[:0], ip[:]...), raw.AdID...)
		u.ip = xxh3.Hash128(l.scratch)
	}
	if len(raw.UserID) > 0 {
		l.scratch = binary.AppendUvarint(l.scratch[:0], uint64(len(raw.UserID)))
		l.scratch = append(append(l.scratch, raw.UserID...), raw.AdID...)
		u.user = xxh3.Hash128(l.scratch)
	}
	step := j.EventTimeMillis / stepMillis
	l.waiting[step] = append(l.waiting[step], u)
	return nil
}

func (l *loop) row(minute int64, raw *schemas.RawClick) int32 {
	l.scratch = binary.BigEndian.AppendUint64(l.scratch[:0], uint64(minute))
	l.scratch = schemas.AppendRowKey(l.scratch, raw.AdvertiserID, raw.CampaignID, raw.AdID, raw.DeviceType, raw.CountryCode)
	row, ok := l.index[string(l.scratch)]
	if !ok {
		row = int32(len(l.rows))
		l.rows = append(l.rows, sums{})
		l.index[string(l.scratch)] = row
	}
	return row
}

func (l *loop) bot(agent []byte) bool {
	is, known := l.isBot[string(agent)]
	if !known {
		is = slices.ContainsFunc(l.bots, func(re *regexp.Regexp) bool { return re.Match(agent) })
		l.isBot[string(agent)] = is
	}
	return is
}

func (l *loop) isListed(addr netip.Addr) bool {
	return addr.IsValid() && slices.ContainsFunc(l.networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// judgeBefore judges the steps that end at or before the watermark.
func (l *loop) judgeBefore(watermark int64) {
	if end := watermark / stepMillis * stepMillis; end > l.judged {
		for _, step := range l.steps() {
			if (step+1)*stepMillis <= end {
				l.judgeStep(step)
			}
		}
		l.judged = end
	}
}

func (l *loop) steps() []int64 {
	steps := make([]int64, 0, len(l.waiting))
	for step := range l.waiting {
		steps = append(steps, step)
	}
	slices.Sort(steps)
	return steps
}

// judgeStep judges the clicks of one step in event order.
func (l *loop) judgeStep(step int64) {
	clicks := l.waiting[step]
	slices.SortFunc(clicks, func(a, b unique) int {
		return cmp.Or(cmp.Compare(a.event, b.event), cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	for i := range clicks {
		c := &clicks[i]
		invalid := c.listed
		invalid = c.ip != xxh3.Uint128{} && l.trips(l.byIP, c.ip, c.event) || invalid
		invalid = c.user != xxh3.Uint128{} && l.trips(l.user, c.user, c.event) || invalid
		if row := &l.rows[c.row]; invalid {
			row.invalid++
			l.totals.Invalid++
		} else {
			row.unique++
			row.spend += c.cost
			l.totals.Billable++
			l.totals.SpendMicros += c.cost
		}
	}
	delete(l.waiting, step)
}

// trips counts a click of an identity and reports whether it is one too many, or comes within the
// cooling time of one that was.
func (l *loop) trips(identities map[xxh3.Uint128]history, id xxh3.Uint128, event int64) bool {
	h, known := identities[id]
	after := event - l.rev.Velocity.Window.Milliseconds()
	n := 1
	if known && h.last > after {
		if len(h.times) == 0 {
			h.times = append(h.times, h.last)
		}
		for h.times[0] <= after {
			h.times = h.times[1:]
		}
		h.times = append(h.times, event)
		n = len(h.times)
	} else {
		h.times = h.times[:0]
	}
	h.last = event
	invalid := h.trip != 0 && event-h.trip < l.rev.Velocity.Cooling.Milliseconds()
	if n > l.rev.Velocity.MaxClicks {
		h.trip, invalid = event, true
	}
	identities[id] = h
	return invalid
}
