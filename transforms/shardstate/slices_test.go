package shardstate

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestNoLog: a core without a log begins anew with an empty state, is dropped at its end, and is an
// error where it is lost in between.
func TestNoLog(t *testing.T) {
	t.Parallel()
	h := newHarness(t, rand.New(rand.NewPCG(1, 1)), 0)
	h.cfg.NoLog = true
	run := func(blocks ...string) {
		t.Helper()
		plain := &chainCore{}
		for _, data := range blocks {
			want, _ := plain.apply([]byte(data))
			got, err := h.step([]byte(data))
			if err != nil || !slices.Equal(got, []string{want}) {
				t.Fatalf("%s: got %v (%v), want %s", data, got, err, want)
			}
		}
	}
	run("one", "two")
	h.rollback() // the runner begins anew
	run("one", "two", "end")
	if len(h.bags) != 0 {
		t.Errorf("%d segments were written", len(h.bags))
	}
	if _, err := h.step([]byte("more")); !errors.Is(err, errLost) {
		t.Errorf("got %v after the end, want %v", err, errLost)
	}
	h.rollback()
	run("one")
	Forget(h.cfg.RunID)
	if _, err := h.step([]byte("two")); !errors.Is(err, errLost) {
		t.Errorf("got %v without the core, want %v", err, errLost)
	}
}

// TestHangingStep: where a step hangs, because the runner that it belongs to has died, the key goes on
// in another worker of this process from the state that was committed.
func TestHangingStep(t *testing.T) {
	t.Parallel()
	for _, noLog := range []bool{false, true} {
		h := newHarness(t, rand.New(rand.NewPCG(1, 1)), 0)
		h.cfg.NoLog = noLog
		if _, err := h.step([]byte("one")); err != nil {
			t.Fatal(err)
		}
		h.commit()
		zombie := *h.store
		zombie.bags = cloneBags(h.bags)
		hangs, release, done := make(chan struct{}), make(chan struct{}), make(chan error)
		go func() {
			done <- Step(&zombie, MakeCells(), h.cfg, "op", h.shard, []byte("two"),
				func() *chainCore { return &chainCore{} }, func(c *chainCore, data []byte) error {
					close(hangs)
					<-release
					_, err := c.apply(data)
					return err
				})
		}()
		<-hangs
		plain, blocks := &chainCore{}, []string{"two", "three"}
		if noLog { // the runner begins anew
			h.value, blocks = nil, []string{"one", "two", "three"}
		} else {
			_, _ = plain.apply([]byte("one"))
		}
		for _, data := range blocks {
			want, _ := plain.apply([]byte(data))
			if got, err := h.step([]byte(data)); err != nil || !slices.Equal(got, []string{want}) {
				t.Errorf("no log %t: %s: got %v (%v), want %s", noLog, data, got, err, want)
			}
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestKeys: the shards of a slice are neighbours, and those of the first one are the shards themselves.
func TestKeys(t *testing.T) {
	t.Parallel()
	cfg := Config{Shards: 4}
	for _, tc := range []struct {
		key   int64
		shard int32
		next  int64 // the key of shard 3 beside it
	}{{0, 0, 3}, {3, 3, 3}, {4, 0, 7}, {4*1000 + 2, 2, 4003}} {
		if got := cfg.Shard(tc.key); got != tc.shard {
			t.Errorf("key %d: got shard %d, want %d", tc.key, got, tc.shard)
		}
		if got := cfg.Key(tc.key, 3); got != tc.next {
			t.Errorf("key %d: got key %d of shard 3, want %d", tc.key, got, tc.next)
		}
	}
}
