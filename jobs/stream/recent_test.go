package stream

import (
	"testing"

	"github.com/clickledger/clickledger/schemas"
)

// TestRecentRecords reads more than is held: the newest records are found, the oldest ones and those
// that were never read are not.
func TestRecentRecords(t *testing.T) {
	t.Parallel()
	const perBatch, valueBytes = 8, 1 << 20
	at := func(partition int32, offset int64) schemas.Position {
		return schemas.Position{Partition: partition, Offset: offset}
	}
	var recent recentRecords
	recent.add(nil)
	value := make([]byte, valueBytes)
	const batches = 2 * recentBytes / perBatch / valueBytes
	for n := range int64(batches) {
		var records []schemas.Record
		for i := range int64(perBatch) {
			records = append(records, schemas.Record{Position: at(int32(n%2), n*100+2*i), TimestampMicros: n, Value: value})
		}
		recent.add(records)
	}
	if recent.bytes > recentBytes || recent.bytes < recentBytes-perBatch*(valueBytes+recordBytes) {
		t.Errorf("%d bytes are held, of %d", recent.bytes, recentBytes)
	}
	const newest = batches - 1
	for _, tc := range []struct {
		name  string
		of    schemas.Position
		found bool
	}{
		{"first of the newest batch", at(newest%2, newest*100), true},
		{"last of the newest batch", at(newest%2, newest*100+2*(perBatch-1)), true},
		{"other partition", at((newest+1)%2, newest*100), false},
		{"gap in the log", at(newest%2, newest*100+1), false},
		{"behind the newest", at(newest%2, newest*100+2*perBatch), false},
		{"oldest", at(0, 0), false},
	} {
		rec, found := recent.find(tc.of)
		if found != tc.found || found && (rec.Position != tc.of || rec.TimestampMicros != tc.of.Offset/100) {
			t.Errorf("%s: got %v, %t, want %t", tc.name, rec, found, tc.found)
		}
	}
}
