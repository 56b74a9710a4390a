package shardstate

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
)

// segmentHeadBytes is the size of what an encoded segment begins with: its kind, number and stamp.
const segmentHeadBytes = 17

// segment is an element of a Bag. It has a number because a bag comes back in any order.
type segment struct {
	kind   byte
	number int64
	stamp  int64
	data   []byte
}

func (s segment) encode() []byte {
	out := append(make([]byte, 0, segmentHeadBytes+len(s.data)), s.kind)
	out = binary.BigEndian.AppendUint64(out, uint64(s.number))
	out = binary.BigEndian.AppendUint64(out, uint64(s.stamp))
	return append(out, s.data...)
}

// readSegments reads a bag in the order of its segments' numbers.
func readSegments(sp state.Provider, bag state.Bag[[]byte]) ([]segment, error) {
	elements, _, err := bag.Read(sp)
	if err != nil {
		return nil, err
	}
	segments := make([]segment, len(elements))
	for i, e := range elements {
		if len(e) < segmentHeadBytes {
			return nil, errSegment
		}
		segments[i] = segment{kind: e[0], number: int64(binary.BigEndian.Uint64(e[1:])), stamp: int64(binary.BigEndian.Uint64(e[9:])),
			data: e[segmentHeadBytes:]}
	}
	sortSegments(segments)
	return segments, nil
}

func sortSegments(segments []segment) {
	slices.SortFunc(segments, func(a, b segment) int { return cmp.Compare(a.number, b.number) })
}
