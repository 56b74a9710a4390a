package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// TestDamage changes a closed log in seeded ways: every record that was not touched is read, in order
// and unchanged, nothing else is, and what is missing is reported to the record.
func TestDamage(t *testing.T) {
	t.Parallel()
	const records = 120
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			cfg := small(t)
			l := open(t, cfg)
			appendAll(t, l, 1, records+1)
			l.Close()
			files := segmentFiles(t, cfg.Dir)
			name := files[rng.IntN(len(files)-1)] // not the last, whose end nobody else can tell
			touched := damage(t, rng, name)
			var mu sync.Mutex
			var damages []Damage
			cfg.Damaged = func(d Damage) { mu.Lock(); defer mu.Unlock(); damages = append(damages, d) }
			l = open(t, cfg)
			got := readAll(t, l)
			var lost uint64
			for _, d := range damages {
				lost += d.Records
			}
			missing := map[uint64]bool{}
			for n := uint64(1); n <= records; n++ {
				missing[n] = true
			}
			for i, r := range got {
				if i > 0 && r.Number <= got[i-1].Number {
					t.Fatalf("record %d after %d", r.Number, got[i-1].Number)
				}
				if !bytes.Equal(r.Payload, payload(int(r.Number))) {
					t.Fatalf("record %d is %q", r.Number, r.Payload)
				}
				delete(missing, r.Number)
			}
			for n := range missing {
				if !touched[n] {
					t.Errorf("record %d is missing, and was not touched", n)
				}
			}
			if uint64(len(missing)) != lost || len(touched) > 0 && len(damages) == 0 {
				t.Errorf("%d are missing, reported are %v", len(missing), damages)
			}
			if err := l.Ack(records); err != nil {
				t.Fatal(err)
			}
			if kept, _ := filepath.Glob(filepath.Join(cfg.Dir, "*"+damagedSuffix)); len(missing) > 0 && len(kept) != 1 {
				t.Errorf("set aside: %q", kept)
			}
		})
	}
}

// damage flips bits, overwrites or cuts a segment, and returns the numbers of the records concerned.
func damage(t *testing.T, rng *rand.Rand, name string) map[uint64]bool {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := headerBytes + rng.IntN(len(b)-headerBytes)
	length := 1
	kept := len(b)
	spans := spansOf(b)
	switch rng.IntN(4) {
	case 0:
		b[at] ^= 1 << rng.IntN(8)
	case 1:
		length = min(1+rng.IntN(200), len(b)-at)
		for i := range length {
			b[at+i] = byte(rng.Uint32())
		}
	case 2:
		length = min(1+rng.IntN(200), len(b)-at)
		clear(b[at : at+length])
	default:
		kept, length = at, len(b)-at
	}
	if err := os.WriteFile(name, b[:kept], 0o600); err != nil {
		t.Fatal(err)
	}
	touched := map[uint64]bool{}
	for number, span := range spans {
		if span[0] < at+length && span[1] > at {
			touched[number] = true
		}
	}
	return touched
}

// spansOf returns where each record of a sound segment is.
func spansOf(b []byte) map[uint64][2]int {
	spans := map[uint64][2]int{}
	for at := headerBytes; at < len(b); {
		end := at + headBytes + int(le32(b[at+4:]))
		spans[binary.LittleEndian.Uint64(b[at+8:])] = [2]int{at, end}
		at = end
	}
	return spans
}

// TestTornTail cuts the newest segment at every byte: what is whole is read, the rest is reported, and
// the log goes on with the next number.
func TestTornTail(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	l := open(t, cfg)
	appendAll(t, l, 1, 6)
	l.Close()
	name := segmentFiles(t, cfg.Dir)[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		cfg.Dir = t.TempDir()
		if err := os.WriteFile(filepath.Join(cfg.Dir, filepath.Base(name)), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		sound := 0
		for _, span := range spansOf(whole) {
			if span[1] <= cut {
				sound++
			}
		}
		l, recovery, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		appendAll(t, l, sound+1, sound+3)
		wantRecords(t, readAll(t, l), 1, sound+3)
		l.Close()
		isEnd := cut == 0 || cut >= headerBytes && slices.ContainsFunc(spanEnds(whole), func(end int) bool { return end == cut })
		if torn := len(recovery.Damages) > 0; torn == isEnd && cut > 0 {
			t.Errorf("cut at %d: got %v", cut, recovery.Damages)
		}
	}
}

func spanEnds(b []byte) []int {
	ends := []int{headerBytes}
	for _, span := range spansOf(b) {
		ends = append(ends, span[1])
	}
	return ends
}

func TestHeaderDamage(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	l := open(t, cfg)
	appendAll(t, l, 1, 100)
	l.Close()
	files := segmentFiles(t, cfg.Dir)
	flip := func(name string, offsets ...int) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range offsets {
			b[at] ^= 4
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flip(files[0], 17)                            // one copy: nothing is lost
	flip(files[1], 17, headerCopyBytes+17)        // both: the segment is
	flip(files[len(files)-1], 3, headerCopyBytes) // both of the newest
	var damages []Damage
	cfg.Damaged = func(d Damage) { damages = append(damages, d) }
	l, recovery, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if len(recovery.Damages) != 1 {
		t.Errorf("got %v, want the newest segment's header", recovery.Damages)
	}
	next := l.Stats().Next
	got := readAll(t, l)
	if len(damages) != 2 || damages[1].Records == 0 || uint64(len(got))+damages[1].Records != next-1 {
		t.Errorf("got %d records and %v", len(got), damages)
	}
}

// TestForgedRecord: a client that writes what looks like a record into its own bytes is not believed
// after a damage, because it does not know the salt.
func TestForgedRecord(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	l := open(t, cfg)
	forged := appendUnsealed(nil, []byte("forged"))
	seal(forged, 2, saltSum(0))
	if err := l.Append(t.Context(), append([]byte("honest "), forged...)); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, 2, 3)
	l.Close()
	name := segmentFiles(t, cfg.Dir)[0]
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[headerBytes+5] ^= 0xff
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRecords(t, readAll(t, open(t, cfg)), 2, 3)
}

func FuzzScan(f *testing.F) {
	good := header{first: 1, salt: 7}.appendTo(nil)
	records := appendUnsealed(appendUnsealed(nil, []byte("one")), []byte("two"))
	seal(records, 1, saltSum(7))
	f.Add(append(slices.Clone(good), records...))
	f.Add(good)
	f.Add(append(append(slices.Clone(good), "garbage\xc1\x57\xae\xd6"...), records...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerBytes {
			return
		}
		covered := int64(headerBytes)
		s := &scanner{src: bytes.NewReader(b), name: "x", salt: saltSum(7), recordBytesMax: 1 << 16, at: headerBytes, next: 1,
			damaged: func(d Damage) { covered += d.Bytes }}
		last := uint64(0)
		for {
			r, ok, err := s.scan(int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if r.number <= last {
				t.Fatalf("record %d after %d", r.number, last)
			}
			if !bytes.Contains(b, r.payload) {
				t.Fatal("a payload that is not in the file")
			}
			last, covered = r.number, covered+int64(headBytes+len(r.payload))
		}
		s.finish(int64(len(b)), 0, true)
		if covered != int64(len(b)) {
			t.Fatalf("%d of %d bytes are records or reported", covered, len(b))
		}
	})
}
