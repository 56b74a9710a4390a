// Package rowindex finds the rows of a block of rows by their key. It is a hash table of row
// numbers whose keys stay in the block: no key is copied, and none is hashed twice. The hash is
// seeded anew in every process, so that nobody can choose keys that meet; what it finds does not
// depend on it.
package rowindex

import (
	"bytes"
	"hash/maphash"

	"github.com/clickledger/clickledger/schemas"
)

const leastSlots = 64

var seed = maphash.MakeSeed()

// Index finds rows of one block by (minute, row key). The zero value is empty.
type Index struct {
	slots []slot // a power of two
}

type slot struct {
	hash uint32
	row  int32 // plus one; 0 is free
}

// Row returns the row of the key, which is appended with zero figures where the block has none.
// All rows of the block must have come by this index.
func (x *Index) Row(rows *schemas.RowBlock, minuteMillis int64, key []byte) int32 {
	if 4*(rows.Len()+1) > 3*len(x.slots) {
		x.grow()
	}
	h := uint32(maphash.Bytes(seed, key) ^ uint64(minuteMillis/schemas.MinuteMillis)*0x9e3779b97f4a7c15>>32)
	mask := uint32(len(x.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := &x.slots[i]
		switch {
		case s.row == 0:
			rows.AppendRow(minuteMillis, key, schemas.Sums{})
			*s = slot{h, int32(rows.Len())}
			return s.row - 1
		case s.hash == h && rows.MinuteMillis[s.row-1] == minuteMillis && bytes.Equal(rows.RowKey.At(int(s.row-1)), key):
			return s.row - 1
		}
	}
}

func (x *Index) grow() {
	old := x.slots
	x.slots = make([]slot, max(leastSlots, 2*len(old)))
	mask := uint32(len(x.slots) - 1)
	for _, s := range old {
		if s.row == 0 {
			continue
		}
		i := s.hash & mask
		for x.slots[i].row != 0 {
			i = (i + 1) & mask
		}
		x.slots[i] = s
	}
}

// Reset empties the index, for an empty block, and keeps its memory.
func (x *Index) Reset() { clear(x.slots) }
