package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	suffix        = ".wal"
	damagedSuffix = ".damaged"
	lockFile      = "lock"
)

// segment is one file of the log.
type segment struct {
	path    string
	first   uint64 // the number of its first record
	upTo    uint64 // once sealed: the number after its last record
	end     int64  // the bytes that count
	sealed  bool
	damaged bool // records of it are lost
}

func (s *segment) name() string { return filepath.Base(s.path) }

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	// The kernel's lock ends with the process, however that ends.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another process is using it")
		}
		return nil, errors.Join(fmt.Errorf("wal: lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// recover lists the segments and finds the number of the next record.
func (l *Log) recover() (Recovery, error) {
	if err := l.list(); err != nil {
		return Recovery{}, err
	}
	l.acked = readPosition(l.cfg.Dir)
	l.saved = l.acked
	var r Recovery
	next, damages, err := l.findNext()
	if err != nil {
		return r, err
	}
	l.next = max(next, l.acked+1)
	for i, s := range l.segments {
		s.sealed, s.upTo = true, l.next
		if i+1 < len(l.segments) {
			s.upTo = l.segments[i+1].first
		}
	}
	if len(l.segments) > 0 && l.segments[0].first > l.acked+1 {
		l.acked = l.segments[0].first - 1 // the position is lost, or older than what was removed
	} else if len(l.segments) == 0 {
		l.acked = l.next - 1
	}
	r = Recovery{Segments: len(l.segments), Pending: l.next - 1 - l.acked, Damages: damages}
	for _, s := range l.segments {
		l.bytes += s.end
	}
	r.Bytes = l.bytes
	return r, l.remove()
}

func (l *Log) list() error {
	entries, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	for _, e := range entries {
		text, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		first, err := strconv.ParseUint(text, 10, 64)
		if err != nil || first == 0 {
			return fmt.Errorf("wal: %s is not the name of a segment", e.Name())
		}
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("wal: %w", err)
		}
		l.segments = append(l.segments, &segment{
			path: filepath.Join(l.cfg.Dir, e.Name()), first: first, end: info.Size()})
	}
	slices.SortFunc(l.segments, func(a, b *segment) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	return nil
}

// findNext reads the newest segment to its end. One without a record is removed, as a crash just after
// its creation leaves it; one that cannot be read at all is set aside.
func (l *Log) findNext() (next uint64, damages []Damage, err error) {
	next = 1
	if len(l.segments) == 0 {
		return next, nil, nil
	}
	s := l.segments[len(l.segments)-1]
	f, err := os.Open(s.path)
	if err != nil {
		return 0, nil, fmt.Errorf("wal: %w", err)
	}
	defer f.Close()
	next = s.first
	sc, ok, err := l.scannerOf(f, s, func(d Damage) { damages = append(damages, d) })
	if err != nil {
		return 0, nil, err
	}
	records := 0
	for ok {
		r, more, err := sc.scan(s.end)
		if err != nil {
			return 0, nil, err
		}
		if !more {
			sc.finish(s.end, 0, true)
			break
		}
		next, records = r.number+1, records+1
	}
	switch {
	case records > 0:
		return next, damages, nil
	case ok || s.end < headerBytes:
		err = os.Remove(s.path)
	default: // its number comes again, and it may hold what somebody can still read
		err = os.Rename(s.path, s.path+damagedSuffix)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("wal: remove a segment without a record: %w", err)
	}
	l.segments = l.segments[:len(l.segments)-1]
	return next, damages, nil
}

// scannerOf reads a segment's header. ok is false if it tells nothing.
func (l *Log) scannerOf(f *os.File, s *segment, damaged func(Damage)) (*scanner, bool, error) {
	b := make([]byte, min(headerBytes, s.end))
	if _, err := f.ReadAt(b, 0); err != nil { // what is there is there: the end is the file's
		return nil, false, fmt.Errorf("wal: read the header of %s: %w", s.name(), err)
	}
	h, ok, whole := parseHeader(b)
	if !ok || h.first != s.first {
		d := Damage{Segment: s.name(), Bytes: s.end, Tail: s.end < headerBytes}
		if s.sealed {
			d.Records = s.upTo - s.first
		}
		damaged(d)
		return nil, false, nil
	}
	if !whole {
		damaged(Damage{Segment: s.name(), Bytes: headerCopyBytes})
	}
	return &scanner{src: f, name: s.name(), salt: saltSum(h.salt), recordBytesMax: l.cfg.RecordBytesMax,
		damaged: damaged, at: headerBytes, next: h.first}, true, nil
}

// ready sees to it that there is a segment to write to.
func (l *Log) ready() error {
	l.mu.Lock()
	var s *segment
	if n := len(l.segments); n > 0 {
		s = l.segments[n-1]
	}
	first := l.next
	l.mu.Unlock()
	if s != nil && !s.sealed {
		if s.end < l.cfg.SegmentBytes {
			return nil
		}
		if err := l.sealLast(); err != nil {
			return err
		}
	}
	return l.create(first)
}

// create begins a segment, durably: a record in a file without a name would be lost.
func (l *Log) create(first uint64) error {
	path := filepath.Join(l.cfg.Dir, fmt.Sprintf("%020d%s", first, suffix))
	var salt [8]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	h := header{first: first, salt: binary.LittleEndian.Uint64(salt[:])}
	// A file of this name can only be one that was given up before it held a record.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("wal: %w", full(err))
	}
	_, err = f.Write(h.appendTo(nil))
	if err == nil {
		err = l.sync(f)
	}
	if err == nil {
		err = syncDir(l.cfg.Dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("wal: create %s: %w", filepath.Base(path), full(err)), f.Close(), os.Remove(path))
	}
	l.file, l.salt = f, saltSum(h.salt)
	l.mu.Lock()
	l.segments = append(l.segments, &segment{path: path, first: first, upTo: math.MaxUint64, end: headerBytes})
	l.bytes += headerBytes
	l.mu.Unlock()
	return nil
}

// sealLast ends the segment that is written.
func (l *Log) sealLast() error {
	l.mu.Lock()
	s := l.segments[len(l.segments)-1]
	s.sealed, s.upTo = true, l.next
	close(l.grown) // a reader at its end goes on
	l.grown = make(chan struct{})
	l.mu.Unlock()
	err := l.file.Close()
	l.file = nil
	if err != nil {
		return fmt.Errorf("wal: close %s: %w", s.name(), err)
	}
	return nil
}

// giveUp ends the segment that is written, because its end is in doubt. Without a record it goes.
func (l *Log) giveUp() error {
	err := l.sealLast()
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.segments[len(l.segments)-1]; s.first == l.next {
		l.segments = l.segments[:len(l.segments)-1]
		l.bytes -= s.end
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
