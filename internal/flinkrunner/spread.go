package flinkrunner

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/twmb/murmur3"
)

// SpreadKeys returns n keys, the i-th of them i modulo n, that Flink spreads evenly over the subtasks of
// a job of any parallelism whose max parallelism is the default. Flink has subtasks by hash: of few keys that are just counted, one
// subtask may get three times as many as another one. Wrong keys would cost speed and nothing else.
func SpreadKeys(n int) []int64 {
	keys := make([]int64, n)
	for i := range keys {
		from, to := i*DefaultMaxParallelism/n, (i+1)*DefaultMaxParallelism/n
		keys[i] = int64(i)
		for range 100 * DefaultMaxParallelism {
			if g := keyGroup(keys[i]); from <= g && g < max(to, from+1) {
				break
			}
			keys[i] += int64(n)
		}
	}
	return keys
}

// keyGroup is the group of a key of the type int64: by Flink's hash (MathUtils.murmurHash) of that of
// Beam's runner (FlinkKey.hashCode), murmur3_128 of the encoded key.
func keyGroup(key int64) int {
	low, _ := murmur3.Sum128(binary.AppendUvarint(nil, uint64(key)))
	code := uint32(low)
	code *= 0xcc9e2d51
	code = bits.RotateLeft32(code, 15)
	code *= 0x1b873593
	code = bits.RotateLeft32(code, 13)
	code = code*5 + 0xe6546b64
	code ^= 4 // the length
	code ^= code >> 16
	code *= 0x85ebca6b
	code ^= code >> 13
	code *= 0xc2b2ae35
	code ^= code >> 16
	switch hash := int32(code); {
	case hash >= 0:
		return int(hash) % DefaultMaxParallelism
	case hash != math.MinInt32:
		return int(-hash) % DefaultMaxParallelism
	}
	return 0
}
