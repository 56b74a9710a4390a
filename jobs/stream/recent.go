package stream

import (
	"cmp"
	"slices"
	"sync"

	"github.com/clickledger/clickledger/schemas"
)

const (
	// recentBytes bounds the values that recentRecords holds: some seconds of the log at the peak rate.
	recentBytes = 256 << 20
	// recordBytes is about what a record takes beside its value.
	recordBytes = 100
)

// recentRecords holds the newest records that this process has read. A click is judged seconds after it was read,
// mostly in the same process; an invalid one's record is at hand then.
type recentRecords struct {
	mu      sync.Mutex
	bytes   int
	batches []readBatch // in the order in which they were read
}

// readBatch is what one poll of a partition gave, by offset.
type readBatch struct {
	records []schemas.Record
	bytes   int
}

// add takes the records of one poll, and forgets the oldest ones of all.
func (r *recentRecords) add(records []schemas.Record) {
	if len(records) == 0 {
		return
	}
	b := readBatch{records: records}
	for i := range records {
		b.bytes += len(records[i].Key) + len(records[i].Value) + recordBytes
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches, r.bytes = append(r.batches, b), r.bytes+b.bytes
	n := 0
	for r.bytes > recentBytes {
		r.bytes -= r.batches[n].bytes
		n++
	}
	r.batches = slices.Delete(r.batches, 0, n)
}

// find returns the record of a position, if it is there.
func (r *recentRecords) find(p schemas.Position) (*schemas.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range slices.Backward(r.batches) {
		records := b.records
		if first, last := &records[0], &records[len(records)-1]; first.Partition != p.Partition || p.Offset < first.Offset || p.Offset > last.Offset {
			continue
		}
		at, found := slices.BinarySearchFunc(records, p.Offset, func(rec schemas.Record, offset int64) int { return cmp.Compare(rec.Offset, offset) })
		if found {
			return &records[at], true
		}
	}
	return nil, false
}
