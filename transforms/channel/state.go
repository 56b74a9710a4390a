package channel

import "github.com/clickledger/clickledger/transforms/snapshot"

// Save writes the set; encode appends one held block.
func (s *Set[B]) Save(w *snapshot.Writer, encode func(B) []byte) {
	w.Int(s.tick)
	w.Int(int64(len(s.channels)))
	for i := range s.channels {
		c := &s.channels[i]
		w.Bool(c.known)
		for _, v := range [...]int64{c.expected, c.watermark, c.log, int64(len(c.held))} {
			w.Int(v)
		}
		for _, b := range c.held {
			w.Bytes(encode(b))
		}
	}
}

// Load reads what Save wrote; decode reads one held block.
func (s *Set[B]) Load(r *snapshot.Reader, decode func([]byte) (B, error)) error {
	s.tick = r.Int()
	s.channels = make([]state[B], r.Count(5))
	for i := range s.channels {
		c := &s.channels[i]
		c.known = r.Bool()
		c.expected, c.watermark, c.log = r.Int(), r.Int(), r.Int()
		for range r.Count(1) {
			b, err := decode(r.Bytes())
			if err != nil {
				return err
			}
			c.held = append(c.held, b)
		}
	}
	return nil
}
