package dedupredis

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/claim"
)

const (
	// claimsMax bounds one call: Redis does nothing else while a script runs.
	claimsMax = 10_000
	// triesMax bounds the turns of two workers who change the same click_ids at the same time.
	triesMax = 1000
)

// ShardConfig says where a shard's click_ids lie.
type ShardConfig struct {
	Name  string // of everything that belongs to the job
	Shard int32
	// Span is the length of a period, and so the least time for which a click_id is remembered.
	Span time.Duration
	// Keep is how long a period stays in Redis after it was last written.
	Keep time.Duration
}

// Shard is one worker's access to a shard. It is for one goroutine.
type Shard struct {
	client *Client
	cfg    ShardConfig
	memory memory
	// loaded is the memory of the process before this one, until its writes were found in Redis.
	loaded []byte
	touch  map[int64]time.Time // when this worker wrote to a period
	newest int64

	// Of the block at hand.
	index map[schemas.Key128]int32 // of a click_id among the distinct ones
	ids   []id
	which []int32 // by claim, the place in ids
	blob  []byte
}

// memory is what a worker knows of its own writes: Redis must hold at least as many.
type memory struct {
	Name   string          `json:"name"`
	Writer string          `json:"writer"`
	Writes map[int64]int64 `json:"writes"` // by period
}

// id is one click_id of a block.
type id struct {
	first   *claim.Claim
	isKnown bool // it was claimed before, or more than once in the block
	old     string
	history claim.History
	isMoved bool // the history is to be written
}

// Shard returns the access to a shard.
func (c *Client) Shard(cfg ShardConfig) *Shard {
	return &Shard{client: c, cfg: cfg, memory: newMemory(cfg.Name), touch: map[int64]time.Time{},
		index: map[schemas.Key128]int32{}}
}

func newMemory(name string) memory {
	writer := make([]byte, 8)
	_, _ = rand.Read(writer) // never fails
	return memory{Name: name, Writer: "writer/" + hex.EncodeToString(writer), Writes: map[int64]int64{}}
}

func (s *Shard) hash(period int64) string {
	return fmt.Sprintf("%s:{%d}:%d", s.memory.Name, s.cfg.Shard, period)
}

// Judge sets the owner of each claim; see dedup.Store.
func (s *Shard) Judge(claims []claim.Claim, owners []claim.Owner) error {
	if err := s.adopt(); err != nil {
		return s.wrap(err)
	}
	span := s.cfg.Span.Milliseconds()
	for len(claims) > 0 {
		period, n := claims[0].LogMillis/span, 1
		for n < min(len(claims), claimsMax) && claims[n].LogMillis/span == period {
			n++
		}
		if err := s.judge(period, claims[:n], owners[:n]); err != nil {
			return s.wrap(err)
		}
		claims, owners = claims[n:], owners[n:]
	}
	return nil
}

func (s *Shard) wrap(err error) error {
	return fmt.Errorf("claim click ids of %s shard %d: %w", s.memory.Name, s.cfg.Shard, err)
}

// judge judges claims of one period, again those whose click_ids another worker has changed in the
// meantime.
func (s *Shard) judge(period int64, claims []claim.Claim, owners []claim.Owner) error {
	places := make([]int, len(claims))
	for i := range places {
		places[i] = i
	}
	for range triesMax {
		s.gather(claims, places)
		if err := s.claim(period); err != nil {
			return err
		}
		for n, i := range places {
			owners[i] = s.ids[s.which[n]].judge(&claims[i])
		}
		changed, err := s.settle(period)
		if err != nil {
			return err
		}
		if len(changed) == 0 {
			s.rotate(period)
			return nil
		}
		next := places[:0]
		for n, i := range places {
			if changed[s.which[n]] {
				next = append(next, i)
			}
		}
		places = next
	}
	return fmt.Errorf("period %d: another worker has changed the click ids %d times", period, triesMax)
}

// gather finds the distinct click_ids of the claims.
func (s *Shard) gather(claims []claim.Claim, places []int) {
	clear(s.index)
	s.ids, s.which, s.blob = s.ids[:0], s.which[:0], s.blob[:0]
	for _, i := range places {
		c := &claims[i]
		at, found := s.index[c.Key]
		if !found {
			at = int32(len(s.ids))
			s.index[c.Key] = at
			s.ids = append(s.ids, id{first: c})
			run := c.Begin()
			s.blob = run.Append(append(s.blob, c.Key[:]...))
		}
		s.which = append(s.which, at)
	}
}

// claim claims what is new and reads what is known.
func (s *Shard) claim(period int64) error {
	var answer []any
	err := s.client.do(func() (err error) {
		answer, err = claimScript.Run(s.client.ctx, s.client.db, []string{s.hash(period), s.hash(period - 1), s.hash(period + 1)},
			s.memory.Writer, s.memory.Writes[period], s.memory.Writes[period-1], s.expire(), s.blob).Slice()
		return err
	})
	if err != nil {
		return err
	}
	if len(answer)%4 != 1 {
		return fmt.Errorf("the script answered %d values", len(answer))
	}
	writes, ok := answer[0].(int64)
	if !ok {
		return fmt.Errorf("the script answered %T for the number of writes", answer[0])
	}
	s.memory.Writes[period] = writes
	s.touch[period] = time.Now()
	span := s.cfg.Span.Milliseconds()
	for known := range slices.Chunk(answer[1:], 4) {
		at, ok := known[0].(int64)
		if !ok || at < 0 || at >= int64(len(s.ids)) {
			return fmt.Errorf("the script answered for click id %v of %d", known[0], len(s.ids))
		}
		if err := s.ids[at].load(known[1:], period*span, (period+1)*span); err != nil {
			return err
		}
	}
	return nil
}

// expire is how many seconds Redis keeps a period by itself. The worker drops it before that,
// without making Redis wait while it frees the memory.
func (s *Shard) expire() int64 { return int64((s.cfg.Keep + s.cfg.Span).Seconds()) + 1 }

// load takes the values of a known click_id in its period, in the one before it and the one after it.
func (d *id) load(values []any, fromMillis, toMillis int64) error {
	d.isKnown = true
	for i, v := range values {
		text, ok := v.(string)
		if !ok {
			return fmt.Errorf("the script answered a %T for a history", v)
		}
		h, err := claim.Decode(text)
		if err != nil {
			return err
		}
		if i == 0 {
			d.old = text
		}
		d.history.Merge(h)
	}
	// What the period begins with is written even if nothing is new: the next period looks here.
	d.isMoved = d.old == "" && len(d.history.Within(fromMillis, toMillis)) > 0
	return nil
}

// judge returns the owner of a claim of this click_id.
func (d *id) judge(c *claim.Claim) claim.Owner {
	if c == d.first && !d.isKnown {
		return claim.Owner{Position: c.Position, Content: c.Content}
	}
	if !d.isKnown { // the first claim of the block has just won it
		run := d.first.Begin()
		d.isKnown, d.history, d.old = true, claim.History{run}, string(run.Append(nil))
	}
	owner, isMoved := d.history.Judge(c)
	d.isMoved = d.isMoved || isMoved
	return owner
}

// settle writes the histories that have changed, and returns the click_ids whose value is not any
// longer what it was.
func (s *Shard) settle(period int64) (changed map[int32]bool, err error) {
	span := s.cfg.Span.Milliseconds()
	args := []any{s.memory.Writer, s.memory.Writes[period]}
	var moved []int32
	for at := range s.ids {
		d := &s.ids[at]
		if !d.isMoved {
			continue
		}
		needed := d.history.Within(period*span, (period+1)*span)
		value := needed.Append(nil)
		if string(value) == d.old {
			continue
		}
		args = append(args, d.first.Key[:], d.old, value)
		moved = append(moved, int32(at))
	}
	changed = map[int32]bool{}
	if len(moved) == 0 {
		return changed, nil
	}
	var answer []int64
	err = s.client.do(func() (err error) {
		answer, err = settleScript.Run(s.client.ctx, s.client.db, []string{s.hash(period)}, args...).Int64Slice()
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, n := range answer {
		if n < 0 || n >= int64(len(moved)) {
			return nil, fmt.Errorf("the script answered for value %d of %d", n, len(moved))
		}
		changed[moved[n]] = true
	}
	return changed, nil
}

// rotate forgets periods once nobody needs them any more.
func (s *Shard) rotate(period int64) {
	if period <= s.newest {
		return
	}
	s.newest = period
	for p, at := range s.touch {
		if p < period-1 && time.Since(at) > s.cfg.Keep {
			// It expires by itself where this fails.
			s.client.db.Unlink(s.client.ctx, s.hash(p))
			delete(s.touch, p)
		}
		if p < period-1 {
			delete(s.memory.Writes, p)
		}
	}
}

// Save returns what this worker knows of its writes.
func (s *Shard) Save() []byte {
	if s.loaded != nil {
		return s.loaded
	}
	data, err := json.Marshal(s.memory) // map keys are sorted
	if err != nil {
		panic(err)
	}
	return data
}

// Load takes what Save returned, of this process or of another one.
func (s *Shard) Load(saved []byte) error {
	if err := json.Unmarshal(saved, &memory{}); err != nil {
		return fmt.Errorf("load the memory of writes to redis: %w", err)
	}
	s.loaded = slices.Clone(saved)
	return nil
}

// adopt takes over from the process whose memory was loaded, once Redis was seen to hold its writes:
// they are this worker's from now on.
func (s *Shard) adopt() error {
	if s.loaded == nil {
		return nil
	}
	var before memory
	if err := json.Unmarshal(s.loaded, &before); err != nil {
		return err
	}
	s.memory = newMemory(before.Name)
	for period, want := range before.Writes {
		err := s.client.do(func() error {
			have, err := s.client.db.HGet(s.client.ctx, s.hash(period), before.Writer).Int64()
			if err != nil && !errors.Is(err, redis.Nil) {
				return err
			}
			if have < want {
				return ErrLost
			}
			return s.client.db.HSet(s.client.ctx, s.hash(period), s.memory.Writer, strconv.Itoa(1)).Err()
		})
		if err != nil {
			return err
		}
		s.memory.Writes[period] = 1
	}
	s.loaded = nil
	return nil
}
