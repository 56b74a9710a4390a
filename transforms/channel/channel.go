// Package channel keeps the books of an operator's inputs. Blocks reach an operator through
// several channels (partitions, then upstream shards); each channel's blocks form a chain, carry
// the channel's watermark, and may arrive in any order. A Set restores the order within every
// channel and knows the minimum over all of them.
package channel

import (
	"fmt"
	"slices"

	"github.com/clickledger/clickledger/schemas"
)

// MaxHeld bounds the blocks of one channel that wait for one before them.
const MaxHeld = 4096

// Set is the state of an operator's channels. The zero value has seen none of them.
type Set[B any] struct {
	header   func(B) *schemas.Header
	channels []state[B]
	tick     int64
}

type state[B any] struct {
	known     bool
	expected  int64
	watermark int64
	log       int64
	held      []B
}

// New returns an empty set over blocks whose header the function gives.
func New[B any](header func(B) *schemas.Header) *Set[B] { return &Set[B]{header: header} }

// Offer takes one block and appends to ready those that are in order now, oldest first. A block
// that was delivered before is dropped.
func (s *Set[B]) Offer(b B, ready []B) ([]B, error) {
	h := s.header(b)
	for int32(len(s.channels)) < h.Channels {
		s.channels = append(s.channels, state[B]{watermark: schemas.MinWatermark, log: schemas.MinWatermark})
	}
	c := &s.channels[h.Channel]
	if !c.known {
		c.known, c.expected = true, h.Start
	}
	s.tick = max(s.tick, h.TickMillis)
	if h.Prev != c.expected {
		if h.Prev < c.expected {
			return ready, nil
		}
		if len(c.held) == MaxHeld {
			return ready, fmt.Errorf("channel %d: block %d is missing and %d wait behind it", h.Channel, c.expected, MaxHeld)
		}
		c.held = append(c.held, b)
		return ready, nil
	}
	ready = append(ready, b)
	c.expected = h.Next
	for len(c.held) > 0 {
		i := slices.IndexFunc(c.held, func(b B) bool { return s.header(b).Prev == c.expected })
		if i < 0 {
			break
		}
		next := c.held[i]
		c.held = slices.Delete(c.held, i, i+1)
		c.expected = s.header(next).Next
		ready = append(ready, next)
	}
	// What was delivered twice, or was overtaken, waits for nothing any more.
	c.held = slices.DeleteFunc(c.held, func(b B) bool { return s.header(b).Prev < c.expected })
	return ready, nil
}

// Pass tells the set that the operator has taken in a ready block: its promises hold from now on.
func (s *Set[B]) Pass(b B) {
	h := s.header(b)
	c := &s.channels[h.Channel]
	c.watermark = raise(c.watermark, h.WatermarkMillis)
	c.log = raise(c.log, h.LogMillis)
}

// raise keeps a promise from going back; only a channel that bounded nothing may come to bound.
func raise(old, now int64) int64 {
	if old == schemas.NoWatermark && now != schemas.MinWatermark {
		return now
	}
	return max(old, now)
}

// Watermark is the minimum over the channels: nothing before it is still to come.
func (s *Set[B]) Watermark() int64 {
	return s.least(func(c *state[B]) int64 { return c.watermark })
}

// Log is the minimum log time over the channels.
func (s *Set[B]) Log() int64 { return s.least(func(c *state[B]) int64 { return c.log }) }

// Ended reports whether every channel has ended.
func (s *Set[B]) Ended() bool { return s.Watermark() == schemas.MaxWatermark }

// Tick is the newest tick of the source that any channel brought, Unix milliseconds.
func (s *Set[B]) Tick() int64 { return s.tick }

func (s *Set[B]) least(of func(*state[B]) int64) int64 {
	low, bounded, silent := int64(schemas.MaxWatermark), false, false
	for i := range s.channels {
		v := of(&s.channels[i])
		if v == schemas.NoWatermark {
			silent = true
			continue
		}
		low, bounded = min(low, v), true
	}
	if !bounded || (silent && low == schemas.MaxWatermark) {
		return schemas.MinWatermark // a silent channel may still speak: the others' end is not the end
	}
	return low
}
