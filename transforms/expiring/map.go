// Package expiring holds a map of identities that forgets by itself, in two generations: what is
// put goes into the young one, and the old one is dropped whole. An entry lives for at least the
// span after it was last put. Whether an entry still counts is for the caller to decide by its
// own times; the generations only bound memory.
package expiring

import (
	"bytes"
	"math"
	"slices"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// Forever is the span of a map that never forgets.
const Forever = math.MaxInt64

// Map is a map of keys, none of them zero, to values with a span in milliseconds.
type Map[V any] struct {
	span       int64
	start      int64 // time of the first entry of the young generation
	young, old table[V]
}

// New returns an empty map.
func New[V any](spanMillis int64) *Map[V] { return &Map[V]{span: spanMillis, start: math.MinInt64} }

// Span is for how long an entry lives at least, in milliseconds.
func (m *Map[V]) Span() int64 { return m.span }

// Get returns the value that was put last, if it was not forgotten.
func (m *Map[V]) Get(k schemas.Key128) (V, bool) {
	if v, ok := m.young.get(&k); ok || m.old.used == 0 {
		return v, ok
	}
	return m.old.get(&k)
}

// Put remembers the value from the given time on.
func (m *Map[V]) Put(k schemas.Key128, v V, nowMillis int64) {
	switch {
	case m.start == math.MinInt64:
		m.start = nowMillis
	case m.span != Forever && nowMillis-m.start > m.span:
		m.old, m.young, m.start = m.young, m.old, nowMillis
		m.young.reset()
	}
	m.young.put(&k, v)
}

// Delete forgets one key.
func (m *Map[V]) Delete(k schemas.Key128) {
	m.young.remove(&k)
	m.old.remove(&k)
}

// Save writes the map in key order, of each key what was put last.
func (m *Map[V]) Save(w *snapshot.Writer, value func(*snapshot.Writer, V)) {
	w.Int(m.start)
	for _, gen := range []*table[V]{&m.young, &m.old} {
		entries := make([]slot[V], 0, gen.used)
		for i := range gen.slots {
			k := &gen.slots[i].key
			if k.IsZero() {
				continue
			}
			if gen == &m.old {
				if _, isOutdated := m.young.get(k); isOutdated {
					continue
				}
			}
			entries = append(entries, gen.slots[i])
		}
		slices.SortFunc(entries, func(a, b slot[V]) int { return bytes.Compare(a.key[:], b.key[:]) })
		w.Int(int64(len(entries)))
		for i := range entries {
			w.Fixed(entries[i].key[:])
			value(w, entries[i].value)
		}
	}
}

// Load replaces the map by what Save wrote.
func (m *Map[V]) Load(r *snapshot.Reader, value func(*snapshot.Reader) V) {
	m.start = r.Int()
	for _, gen := range []*table[V]{&m.young, &m.old} {
		*gen = table[V]{}
		for range r.Count(len(schemas.Key128{}) + 1) {
			var k schemas.Key128
			copy(k[:], r.Fixed(len(k)))
			if v := value(r); !k.IsZero() {
				gen.put(&k, v)
			}
		}
	}
}
