package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func open(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, _, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// small is a configuration whose segments hold few records.
func small(t testing.TB) Config {
	return Config{Dir: t.TempDir(), SegmentBytes: 1 << 10, MaxBytes: 1 << 20, PositionEvery: time.Nanosecond,
		SyncEvery: time.Nanosecond}
}

func payload(i int) []byte { return fmt.Appendf(nil, "record %d %s", i, strings.Repeat("x", i%50)) }

func appendAll(t testing.TB, l *Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := l.Append(t.Context(), payload(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll returns what is there, by number, and closes the reader.
func readAll(t testing.TB, l *Log) []Record {
	t.Helper()
	r := l.NewReader()
	defer r.Close()
	var all []Record
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		got, err := r.Next(ctx, make([]Record, 0, 7))
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got...)
	}
}

func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func wantRecords(t testing.TB, got []Record, from, to int) {
	t.Helper()
	if len(got) != to-from {
		t.Fatalf("got %d records, want %d", len(got), to-from)
	}
	for i, r := range got {
		if r.Number != uint64(from+i) || !bytes.Equal(r.Payload, payload(from+i)) {
			t.Fatalf("got record %d %q, want %d", r.Number, r.Payload, from+i)
		}
	}
}

func TestReadsWhatWasAppended(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	l := open(t, cfg)
	appendAll(t, l, 1, 200)
	wantRecords(t, readAll(t, l), 1, 200)
	if n := len(segmentFiles(t, cfg.Dir)); n < 5 {
		t.Errorf("got %d segments, want several", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("after the close: got %v", err)
	}
	again, recovery, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if recovery.Pending != 199 || len(recovery.Damages) != 0 {
		t.Errorf("got %+v", recovery)
	}
	appendAll(t, again, 200, 220)
	wantRecords(t, readAll(t, again), 1, 220)
}

func TestAckTruncatesAndIsRemembered(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	l := open(t, cfg)
	appendAll(t, l, 1, 200)
	before := l.Stats()
	if err := l.Ack(120); err != nil {
		t.Fatal(err)
	}
	after := l.Stats()
	if after.Bytes >= before.Bytes || after.Segments >= before.Segments || after.Pending != 79 {
		t.Errorf("got %+v after %+v", after, before)
	}
	wantRecords(t, readAll(t, l), 121, 200)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, cfg)
	wantRecords(t, readAll(t, l), 121, 200)
	if err := l.Ack(1 << 40); err != nil { // more than there is
		t.Fatal(err)
	}
	if got := l.Stats(); got.Pending != 0 {
		t.Errorf("got %+v", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if files := segmentFiles(t, cfg.Dir); len(files) != 0 {
		_ = open(t, cfg) // what is sealed by the restart is removed
		if files = segmentFiles(t, cfg.Dir); len(files) != 0 {
			t.Errorf("got %q, want no segment", files)
		}
	}
}

// TestNumbersGoOn: numbers never come twice, even if every segment is gone.
func TestNumbersGoOn(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	for round := range 4 {
		l := open(t, cfg)
		appendAll(t, l, 1+round*10, 11+round*10)
		wantRecords(t, readAll(t, l), 1+round*10, 11+round*10)
		if err := l.Ack(uint64(10 + round*10)); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPositionIsSavedInTheEnd: also if no acknowledgement follows.
func TestPositionIsSavedInTheEnd(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	cfg.PositionEvery = 30 * time.Millisecond
	l := open(t, cfg)
	appendAll(t, l, 1, 11)
	for _, number := range []uint64{3, 7, 9} {
		if err := l.Ack(number); err != nil {
			t.Fatal(err)
		}
	}
	for tries := 0; readPosition(cfg.Dir) != 9; tries++ {
		if tries > 1000 {
			t.Fatalf("the position is %d, want 9", readPosition(cfg.Dir))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLostPositionReadsAgain(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	l := open(t, cfg)
	appendAll(t, l, 1, 100)
	if err := l.Ack(60); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.WriteFile(filepath.Join(cfg.Dir, positionFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, open(t, cfg))
	if len(got) == 0 || got[0].Number > 61 || got[len(got)-1].Number != 99 {
		t.Errorf("got %d records", len(got))
	}
}

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	open(t, cfg)
	if _, _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	cfg.MaxBytes, cfg.RecordBytesMax = 2<<10, 1000
	l := open(t, cfg)
	if err := l.Append(t.Context(), make([]byte, 1001)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	wrote := 0
	for ; wrote < 1000; wrote++ {
		if err := l.Append(t.Context(), payload(1)); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if s := l.Stats(); s.Bytes > cfg.MaxBytes || wrote < 10 || wrote == 1000 {
		t.Errorf("got %+v after %d records", s, wrote)
	}
	if err := l.Ack(uint64(wrote)); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), payload(1)); err != nil {
		t.Errorf("after the truncation: %v", err)
	}
}

func TestValidateNamesEveryKey(t *testing.T) {
	t.Parallel()
	err := Config{SegmentBytes: 1, MaxBytes: 1, RecordBytesMax: -1, WaitingBytes: -1, PositionEvery: -1, SyncEvery: -1}.Validate()
	for _, key := range []string{"dir", "segment_bytes", "max_bytes", "record_bytes_max", "position_every", "sync_every"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}

func TestAppendEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := open(t, small(t))
	release := make(chan struct{})
	l.sync = func(*os.File) error { <-release; return nil }
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := l.Append(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(release)
}

func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	cfg.RecordBytesMax, cfg.WaitingBytes = 100, 300
	l := open(t, cfg)
	entered, release := make(chan struct{}, 10), make(chan struct{})
	l.sync = func(*os.File) error { entered <- struct{}{}; <-release; return nil }
	var group sync.WaitGroup
	appendOne := func() {
		group.Go(func() {
			if err := l.Append(t.Context(), make([]byte, 100)); err != nil {
				t.Error(err)
			}
		})
	}
	appendOne()
	<-entered // the disk is busy with the first
	appendOne()
	appendOne()
	for waiting := 0; waiting < 240; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		if l.pending != nil {
			waiting = len(l.pending.buf)
		}
		l.mu.Unlock()
	}
	if err := l.Append(t.Context(), make([]byte, 100)); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	close(release)
	group.Wait()
}

// TestSyncFails: what a failed sync was for is refused, and a new segment is begun.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	l := open(t, cfg)
	appendAll(t, l, 1, 4)
	broken := errors.New("input/output error")
	l.sync = func(*os.File) error { return broken }
	for range 3 {
		if err := l.Append(t.Context(), []byte("lost")); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
	l.sync = dataSync
	appendAll(t, l, 4, 8)
	wantRecords(t, readAll(t, l), 1, 8)
	l.Close()
	l = open(t, cfg)
	wantRecords(t, readAll(t, l), 1, 8) // what was refused has a number that another record has
}

func TestDiskFullIsSaid(t *testing.T) {
	t.Parallel()
	l := open(t, small(t))
	l.sync = func(*os.File) error { return syscall.ENOSPC }
	if err := l.Append(t.Context(), []byte("x")); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
}

// TestReaderFollows reads while it is written, across segments.
func TestReaderFollows(t *testing.T) {
	t.Parallel()
	l := open(t, small(t))
	const records = 2000
	done := make(chan error, 1)
	go func() {
		for i := 1; i <= records; i++ {
			if err := l.Append(t.Context(), payload(i)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	r := l.NewReader()
	defer r.Close()
	var got []Record
	for len(got) < records {
		part, err := r.Next(t.Context(), make([]Record, 0, 100))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
		if err := l.Ack(part[len(part)-1].Number); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantRecords(t, got, 1, records+1)
	if s := l.Stats(); s.Segments > 1 || s.Pending != 0 {
		t.Errorf("got %+v", s)
	}
}

func BenchmarkAppend(b *testing.B) {
	l := open(b, Config{Dir: b.TempDir()})
	record := make([]byte, 300)
	b.SetParallelism(128)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Append(context.Background(), record); err != nil {
				b.Fatal(err)
			}
		}
	})
}
