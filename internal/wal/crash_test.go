//go:build linux

package wal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// childVariable makes the test's binary the process that is killed.
	childVariable = "CLICKLEDGER_TEST_WAL_CHILD"
	// longVariable runs the long variants of tests that kill processes.
	longVariable = "CLICKLEDGER_TEST_LONG"

	crashes     = 6
	crashesLong = 50
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		os.Exit(child(dir, os.Getenv(childVariable+"_LIMIT")))
	}
	os.Exit(m.Run())
}

// child appends from many goroutines and prints each payload once its append returned. With a limit
// no file may grow beyond it, as on a disk that is full.
func child(dir, limit string) int {
	if limit != "" {
		n, _ := strconv.ParseUint(limit, 10, 64)
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	l, _, err := Open(Config{Dir: dir, SegmentBytes: 64 << 10, MaxBytes: 64 << 20})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	for w := range 16 {
		group.Go(func() {
			for i := 0; ; i++ {
				text := fmt.Sprintf("%d-%d-%d-%s", os.Getpid(), w, i, strings.Repeat("x", i%300))
				err := l.Append(context.Background(), []byte(text))
				mu.Lock()
				if err != nil {
					fmt.Printf("refused %t\n", errors.Is(err, ErrFull))
				} else {
					fmt.Println(text)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return 0
}

// start starts the child and returns its promises, line by line.
func start(t *testing.T, dir, limit string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir, childVariable+"_LIMIT="+limit)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// TestKill kills a process that appends at random moments: every record whose append returned is there.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := crashes
	if os.Getenv(longVariable) != "" {
		rounds = crashesLong
	}
	dir := t.TempDir()
	promised := map[string]bool{}
	for round := range rounds {
		cmd, lines := start(t, dir, "")
		pause := time.Duration(20+rand.IntN(250)) * time.Millisecond
		timer := time.AfterFunc(pause, func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			if text := lines.Text(); strings.Count(text, "-") == 3 && !strings.HasPrefix(text, "refused") {
				promised[text] = true
			}
		}
		timer.Stop()
		_ = cmd.Wait()
		if round%5 == 4 { // now and then the log is written by another process in between
			l := open(t, Config{Dir: dir, SegmentBytes: 64 << 10, MaxBytes: 64 << 20})
			if err := l.Append(t.Context(), []byte("between")); err != nil {
				t.Fatal(err)
			}
			l.Close()
		}
	}
	cfg := Config{Dir: dir, SegmentBytes: 64 << 10, MaxBytes: 64 << 20,
		Damaged: func(d Damage) {
			if !d.Tail {
				t.Errorf("damage without a cause: %v", d)
			}
		}}
	found := map[string]int{}
	for i, r := range readAll(t, open(t, cfg)) {
		if r.Number != uint64(i+1) {
			t.Fatalf("got number %d, want %d", r.Number, i+1)
		}
		found[string(r.Payload)]++
	}
	for text := range promised {
		if found[text] != 1 {
			t.Errorf("%s was promised, and is there %d times", text, found[text])
		}
	}
	if len(promised) < 10*rounds {
		t.Errorf("only %d records were promised", len(promised))
	}
	t.Logf("%d kills, %d records promised, %d found", rounds, len(promised), len(found))
}

// TestNoRoom lets a process run into the end of its disk: it says so, promises nothing that is not
// there, and the log can be read.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, lines := start(t, dir, "20000")
	var promised [][]byte
	refused := 0
	for lines.Scan() {
		switch text := lines.Text(); text {
		case "refused true":
			refused++
		case "refused false":
			t.Error("an append failed for another reason than the disk")
		default:
			promised = append(promised, []byte(text))
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if refused != 16 || len(promised) == 0 {
		t.Errorf("%d refused, %d promised", refused, len(promised))
	}
	l := open(t, Config{Dir: dir, SegmentBytes: 64 << 10, MaxBytes: 64 << 20,
		Damaged: func(d Damage) { t.Errorf("damage: %v", d) }})
	got := readAll(t, l)
	for _, text := range promised {
		there := 0
		for _, r := range got {
			if bytes.Equal(r.Payload, text) {
				there++
			}
		}
		if there != 1 {
			t.Errorf("%s is there %d times", text, there)
		}
	}
	appended := len(got) + 1 // the disk has room again
	if err := l.Append(t.Context(), []byte("room")); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, l); len(got) != appended {
		t.Errorf("got %d records, want %d", len(got), appended)
	}
}

// TestDiskFull fills a disk of its own, and makes room on it by an acknowledgement.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("no small file system to fill: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	l, _, err := Open(Config{Dir: dir, SegmentBytes: 32 << 10, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wrote := 0
	for err = nil; err == nil; wrote++ {
		err = l.Append(t.Context(), bytes.Repeat([]byte{byte(wrote)}, 5000))
	}
	wrote--
	if !errors.Is(err, ErrFull) || wrote < 20 {
		t.Fatalf("got %v after %d records, want ErrFull", err, wrote)
	}
	for range 5 {
		if err := l.Append(t.Context(), make([]byte, 5000)); !errors.Is(err, ErrFull) {
			t.Errorf("got %v, want ErrFull again", err)
		}
	}
	if got := readAll(t, l); len(got) != wrote {
		t.Errorf("got %d records, want %d", len(got), wrote)
	}
	_ = l.Ack(uint64(wrote)) // its position may find no room, the segments go all the same
	if err := l.Append(t.Context(), []byte("room")); err != nil {
		t.Errorf("after room was made: %v", err)
	}
}
