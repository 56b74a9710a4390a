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

// Map is a map of keys to values with a span in milliseconds.
type Map[V any] struct {
	span       int64
	start      int64 // time of the first entry of the young generation
	young, old map[schemas.Key128]V
}

// New returns an empty map.
func New[V any](spanMillis int64) *Map[V] {
	return &Map[V]{span: spanMillis, start: math.MinInt64, young: map[schemas.Key128]V{}}
}

// Get returns the value that was put last, if it was not forgotten.
func (m *Map[V]) Get(k schemas.Key128) (V, bool) {
	if v, ok := m.young[k]; ok {
		return v, true
	}
	v, ok := m.old[k]
	return v, ok
}

// Put remembers the value from the given time on.
func (m *Map[V]) Put(k schemas.Key128, v V, nowMillis int64) {
	switch {
	case m.start == math.MinInt64:
		m.start = nowMillis
	case m.span != Forever && nowMillis-m.start > m.span:
		m.old, m.young, m.start = m.young, make(map[schemas.Key128]V, len(m.young)), nowMillis
	}
	m.young[k] = v
}

// Delete forgets one key.
func (m *Map[V]) Delete(k schemas.Key128) {
	delete(m.young, k)
	delete(m.old, k)
}

// Save writes the map in key order.
func (m *Map[V]) Save(w *snapshot.Writer, value func(*snapshot.Writer, V)) {
	w.Int(m.start)
	for _, gen := range []map[schemas.Key128]V{m.young, m.old} {
		keys := make([]schemas.Key128, 0, len(gen))
		for k := range gen {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, func(a, b schemas.Key128) int { return bytes.Compare(a[:], b[:]) })
		w.Int(int64(len(keys)))
		for _, k := range keys {
			w.Fixed(k[:])
			value(w, gen[k])
		}
	}
}

// Load replaces the map by what Save wrote.
func (m *Map[V]) Load(r *snapshot.Reader, value func(*snapshot.Reader) V) {
	m.start = r.Int()
	for _, gen := range []*map[schemas.Key128]V{&m.young, &m.old} {
		n := r.Count(len(schemas.Key128{}) + 1)
		*gen = make(map[schemas.Key128]V, n)
		for range n {
			var k schemas.Key128
			copy(k[:], r.Fixed(len(k)))
			(*gen)[k] = value(r)
		}
	}
}
