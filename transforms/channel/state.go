package channel

import "github.com/clickledger/clickledger/transforms/snapshot"

// Save writes the books. The blocks that are held are not part of them: see Held and Restore.
func (s *Set[B]) Save(w *snapshot.Writer) {
	w.Int(s.tick)
	w.Int(int64(len(s.channels)))
	for i := range s.channels {
		c := &s.channels[i]
		w.Bool(c.known)
		for _, v := range [...]int64{c.expected, c.watermark, c.log} {
			w.Int(v)
		}
	}
}

// Load reads what Save wrote.
func (s *Set[B]) Load(r *snapshot.Reader) {
	s.tick = r.Int()
	s.channels = make([]state[B], r.Count(4))
	for i := range s.channels {
		c := &s.channels[i]
		c.known = r.Bool()
		c.expected, c.watermark, c.log = r.Int(), r.Int(), r.Int()
	}
}

// AppendHeld appends the blocks that wait for one before them.
func (s *Set[B]) AppendHeld(dst []B) []B {
	for i := range s.channels {
		dst = append(dst, s.channels[i].held...)
	}
	return dst
}

// Restore takes back a block that was offered before Save. It reports whether the block was ready
// then; if not, the set holds it again.
func (s *Set[B]) Restore(b B) (wasReady bool) {
	h := s.header(b)
	if int(h.Channel) >= len(s.channels) {
		return false // of a channel that was never heard no block is held
	}
	c := &s.channels[h.Channel]
	if h.Prev <= c.expected {
		return true
	}
	c.held = append(c.held, b)
	return false
}
