package wal

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestGroups: concurrent appends share syncs, and each returns after its own.
func TestGroups(t *testing.T) {
	t.Parallel()
	cfg := Config{Dir: t.TempDir()}
	var mu sync.Mutex
	groups, records := 0, 0
	cfg.Committed = func(g Group) {
		mu.Lock()
		defer mu.Unlock()
		groups, records = groups+1, records+g.Records
	}
	l := open(t, cfg)
	var group sync.WaitGroup
	for w := range 64 {
		group.Go(func() {
			for i := range 50 {
				if err := l.Append(t.Context(), fmt.Appendf(nil, "%d-%d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	got := readAll(t, l)
	seen := map[string]bool{}
	for i, r := range got {
		if r.Number != uint64(i+1) {
			t.Fatalf("got number %d, want %d", r.Number, i+1)
		}
		seen[string(r.Payload)] = true
	}
	if len(seen) != 3200 || records != 3200 {
		t.Errorf("got %d records in %d groups, want 3200", len(seen), groups)
	}
	if groups > 1600 {
		t.Errorf("got %d groups of 3200 records: nothing was shared", groups)
	}
}

// TestSyncEvery: one record is synced at once, and what comes then waits for the next sync together;
// a close waits for nothing.
func TestSyncEvery(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	cfg.SyncEvery = time.Minute
	var mu sync.Mutex
	var groups []int
	cfg.Committed = func(g Group) { mu.Lock(); defer mu.Unlock(); groups = append(groups, g.Records) }
	l := open(t, cfg)
	if err := l.Append(t.Context(), payload(1)); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := 2; i < 12; i++ {
		group.Go(func() {
			if err := l.Append(t.Context(), payload(i)); err != nil {
				t.Error(err)
			}
		})
	}
	for waiting := 0; waiting < 10; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		if l.pending != nil {
			waiting = l.pending.records
		}
		l.mu.Unlock()
	}
	began := time.Now()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	if took := time.Since(began); took > 30*time.Second || len(groups) != 2 || groups[0] != 1 || groups[1] != 10 {
		t.Errorf("got groups of %v records, the close in %s; want 1 and 10, at once", groups, took)
	}
}
