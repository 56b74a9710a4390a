package shardstate

import (
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
)

const (
	snapshotSegmentBytes = 1 << 20 // of a snapshot
	leastLastingBytes    = 1 << 20 // learned before it is folded into a snapshot

	kindSnapshot = 's'
	kindEntry    = 'e'
)

// lasting is what is known of the Bag of what a core learned for long.
type lasting struct {
	learned  int // bytes since the snapshot
	segments int64
	snapshot int // bytes
}

// record appends what was learned, or folds all of it into a snapshot when it has grown to twice the
// size of the last one.
func (l *lasting) record(sp state.Provider, bag state.Bag[[]byte], core Core, entry []byte) error {
	if len(entry) == 0 {
		return nil
	}
	if l.learned+len(entry) < max(leastLastingBytes, 2*l.snapshot) {
		l.learned += len(entry)
		return l.add(sp, bag, kindEntry, entry)
	}
	saved := core.(Laster).Save()
	if err := bag.Clear(sp); err != nil {
		return err
	}
	*l = lasting{snapshot: len(saved)}
	for part := range slices.Chunk(saved, snapshotSegmentBytes) {
		if err := l.add(sp, bag, kindSnapshot, part); err != nil {
			return err
		}
	}
	return nil
}

func (l *lasting) add(sp state.Provider, bag state.Bag[[]byte], kind byte, data []byte) error {
	number := l.segments
	l.segments++
	return bag.Add(sp, segment{kind: kind, number: number, data: data}.encode())
}

func (l *lasting) restore(sp state.Provider, bag state.Bag[[]byte], core Core) error {
	segments, err := readSegments(sp, bag)
	if err != nil {
		return err
	}
	if len(segments) == 0 {
		return nil
	}
	laster, ok := core.(Laster)
	if !ok {
		return errSegment
	}
	var saved []byte
	entries := 0
	for i, s := range segments {
		if s.kind == kindSnapshot {
			saved, entries = append(saved, s.data...), i+1
		}
	}
	if len(saved) > 0 {
		if err := laster.Load(saved); err != nil {
			return err
		}
	}
	*l = lasting{snapshot: len(saved), segments: int64(len(segments))}
	for _, s := range segments[entries:] {
		if err := laster.RedoLasting(s.data); err != nil {
			return err
		}
		l.learned += len(s.data)
	}
	return nil
}
