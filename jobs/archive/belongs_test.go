package archive

import (
	"errors"
	"strings"
	"testing"
)

// TestArchiveOfAnotherLog: an archive is not gone on with from a log that it was not made of, however
// long that log is.
func TestArchiveOfAnotherLog(t *testing.T) {
	t.Parallel()
	first := newRig(t, 1)
	first.produce(clicks(1, 0, 95, startMicros, 1_000_000))
	first.run()
	if err := CheckLog(first.ctx, first.cfg); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		records int
		want    string
	}{"shorter": {50, "ends at offset 50"}, "longer": {200, "holds another click at offset"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := newRig(t, 1)
			other.produce(clicks(1, 1000, tc.records, startMicros, 1_000_000))
			other.cfg.Archive, other.store = first.cfg.Archive, first.store
			_, runErr := Run(other.ctx, other.cfg, other.deps())
			for _, err := range []error{CheckLog(other.ctx, other.cfg), runErr} {
				if !errors.Is(err, ErrOtherLog) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want one line with %q", err, tc.want)
				}
			}
		})
	}
}
