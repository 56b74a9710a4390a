package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/schemas"
)

// An entry of the write-ahead log is a record for Kafka:
//
//	1 byte    version of this layout
//	1         topic
//	8         time in Unix microseconds, little-endian
//	varint    length of the key
//	…         key
//	…         value
const (
	entryVersion = 1

	entryClick      = 1
	entryImpression = 2

	entryHeadBytes = 10
)

var errEntry = errors.New("an entry of the write-ahead log that this version does not know")

func appendEntryHead(dst []byte, topic byte, timestampMicros int64, keyBytes int) []byte {
	dst = append(dst, entryVersion, topic)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(timestampMicros))
	return binary.AppendUvarint(dst, uint64(keyBytes))
}

// parseEntry returns the record; its key and value are views.
func parseEntry(b []byte) (r gatewaykafka.Record, err error) {
	if len(b) < entryHeadBytes || b[0] != entryVersion {
		return r, errEntry
	}
	switch b[1] {
	case entryClick:
		r.Topic = schemas.TopicClicks
	case entryImpression:
		r.Topic = schemas.TopicImpressions
	default:
		return r, fmt.Errorf("%w: topic %d", errEntry, b[1])
	}
	r.TimestampMicros = int64(binary.LittleEndian.Uint64(b[2:]))
	keyBytes, n := binary.Uvarint(b[entryHeadBytes:])
	rest := b[entryHeadBytes+max(n, 0):]
	if n <= 0 || keyBytes > uint64(len(rest)) {
		return r, errEntry
	}
	r.Key, r.Value = rest[:keyBytes:keyBytes], rest[keyBytes:]
	return r, nil
}
