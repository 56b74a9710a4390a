package flinkrunner

import "testing"

// TestSpreadKeys counts the keys of each subtask by Flink's formula (KeyGroupRangeAssignment).
func TestSpreadKeys(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 4, 8, 12, 64, 128, 300} {
		keys := SpreadKeys(n)
		for i, k := range keys {
			if k%int64(n) != int64(i) {
				t.Errorf("%d keys: key %d is %d", n, i, k)
			}
		}
		for _, parallelism := range []int{1, 2, 4, 8} {
			if parallelism > n {
				continue
			}
			count := make([]int, parallelism)
			for _, k := range keys {
				count[keyGroup(k)*parallelism/DefaultMaxParallelism]++
			}
			for subtask, got := range count {
				if low, high := n/parallelism, (n+parallelism-1)/parallelism; got < low || got > high {
					t.Errorf("%d keys, parallelism %d: subtask %d has %d", n, parallelism, subtask, got)
				}
			}
		}
	}
}

// TestKeyGroup has the groups as a cluster had them: of the keys 0 to 3 one subtask got one, the other three.
func TestKeyGroup(t *testing.T) {
	t.Parallel()
	for key, want := range []int{46, 122, 125, 68} {
		if got := keyGroup(int64(key)); got != want {
			t.Errorf("key %d: got group %d, want %d", key, got, want)
		}
	}
}
