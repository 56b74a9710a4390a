package expiring

import (
	"encoding/binary"

	"github.com/clickledger/clickledger/schemas"
)

// leastSlots is the size of a table that holds anything.
const leastSlots = 64

// table is a hash table with open addressing and linear probing. Its keys are hashes that nobody
// can steer, so they are not hashed again: finding one costs one cache line, where a Go map takes
// three. The zero key marks an empty slot.
type table[V any] struct {
	slots []slot[V] // a power of two
	used  int
}

type slot[V any] struct {
	key   schemas.Key128
	value V
}

// home is the slot at which the search for a key begins. The key's first bytes have chosen the
// shard, so the last ones are taken.
func (t *table[V]) home(k *schemas.Key128) int {
	return int(binary.LittleEndian.Uint64(k[8:]) & uint64(len(t.slots)-1))
}

// find returns the slot of the key, or the empty one where it would be; -1 in an empty table.
func (t *table[V]) find(k *schemas.Key128) int {
	if len(t.slots) == 0 {
		return -1
	}
	mask := len(t.slots) - 1
	for i := t.home(k); ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.key == *k || s.key.IsZero() {
			return i
		}
	}
}

func (t *table[V]) get(k *schemas.Key128) (v V, ok bool) {
	i := t.find(k)
	if i < 0 || t.slots[i].key.IsZero() {
		return v, false
	}
	return t.slots[i].value, true
}

func (t *table[V]) put(k *schemas.Key128, v V) {
	if 4*(t.used+1) > 3*len(t.slots) {
		t.grow()
	}
	s := &t.slots[t.find(k)]
	if s.key.IsZero() {
		s.key = *k
		t.used++
	}
	s.value = v
}

func (t *table[V]) grow() {
	old := t.slots
	t.slots = make([]slot[V], max(leastSlots, 2*len(old)))
	for i := range old {
		if !old[i].key.IsZero() {
			t.slots[t.find(&old[i].key)] = old[i]
		}
	}
}

// remove forgets a key and moves those behind it up, so that no search ends too early.
func (t *table[V]) remove(k *schemas.Key128) {
	i := t.find(k)
	if i < 0 || t.slots[i].key.IsZero() {
		return
	}
	t.used--
	mask := len(t.slots) - 1
	for j := (i + 1) & mask; !t.slots[j].key.IsZero(); j = (j + 1) & mask {
		// A key may move up to the gap unless its home lies behind it.
		if (j-t.home(&t.slots[j].key))&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = slot[V]{}
}

// reset empties the table and keeps its memory.
func (t *table[V]) reset() {
	clear(t.slots)
	t.used = 0
}
