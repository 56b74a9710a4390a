package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// Log is an open log. It is safe for use by many goroutines; readers are not.
type Log struct {
	cfg  Config
	lock *os.File
	// sync makes a file's data durable; tests let it fail.
	sync func(*os.File) error

	mu       sync.Mutex
	segments []*segment // in order; the last is the one that is written, unless it is sealed
	next     uint64     // the number of the next record
	acked    uint64
	bytes    int64 // of all segments
	pending  *group
	spare    []byte // a buffer for the next group
	grown    chan struct{}
	closed   bool

	wake, stop, done chan struct{}

	// What only the goroutine that writes touches.
	file  *os.File
	salt  uint32
	began time.Time // the last group's

	ackMu   sync.Mutex
	savedAt time.Time
	saved   uint64
	later   *time.Timer // saves what was not due
	ended   bool
}

// group is what waits for one sync.
type group struct {
	buf     []byte
	records int
	done    chan struct{}
	err     error
}

// Recovery says what Open found.
type Recovery struct {
	Segments int
	Bytes    int64
	// Pending is how many numbered records are not acknowledged.
	Pending uint64
	// Damages are those of the newest segment; readers report those of all that they read.
	Damages []Damage
}

// Stats are the figures of a log.
type Stats struct {
	Segments int
	Bytes    int64
	Next     uint64 // the number of the next record
	Pending  uint64 // records that are not acknowledged
}

// Open takes the folder for this process and finds the end of what is in it.
func Open(cfg Config) (*Log, Recovery, error) {
	if err := cfg.Validate(); err != nil {
		return nil, Recovery{}, err
	}
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, Recovery{}, fmt.Errorf("wal: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, Recovery{}, err
	}
	l := &Log{cfg: cfg, lock: lock, sync: dataSync, grown: make(chan struct{}), wake: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{})}
	recovery, err := l.recover()
	if err != nil {
		return nil, Recovery{}, errors.Join(err, lock.Close())
	}
	go l.run()
	return l, recovery, nil
}

// Append writes one record and returns when it is on the disk. The payload is the caller's again when
// it returns. After an error the record is not promised, but may be in the log.
func (l *Log) Append(ctx context.Context, payload []byte) error {
	if len(payload) > l.cfg.RecordBytesMax {
		return fmt.Errorf("wal: %d bytes: %w", len(payload), ErrTooLarge)
	}
	g, err := l.enqueue(payload)
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return fmt.Errorf("wal: not on the disk yet: %w", ctx.Err())
	}
}

func (l *Log) enqueue(payload []byte) (*group, error) {
	size := headBytes + len(payload)
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := 0
	if l.pending != nil {
		waiting = len(l.pending.buf)
	}
	switch {
	case l.closed:
		return nil, ErrClosed
	case l.bytes+int64(waiting+size+headerBytes) > l.cfg.MaxBytes:
		return nil, ErrFull
	case waiting+size > l.cfg.WaitingBytes:
		return nil, ErrBusy
	case l.pending == nil:
		l.pending = &group{buf: l.spare[:0], done: make(chan struct{})}
		l.spare = nil
	}
	l.pending.buf = appendUnsealed(l.pending.buf, payload)
	l.pending.records++
	return l.pending, nil
}

// run writes group after group until the log is closed and nothing waits.
func (l *Log) run() {
	defer close(l.done)
	for {
		select {
		case <-l.wake:
			l.drain()
		case <-l.stop:
			l.drain()
			return
		}
	}
}

// drain writes groups until nothing waits.
func (l *Log) drain() {
	for {
		l.mu.Lock()
		waits := l.pending != nil
		l.mu.Unlock()
		if !waits {
			return
		}
		l.gather()
		l.mu.Lock()
		g := l.pending
		l.pending = nil
		l.mu.Unlock()
		g.err = l.commit(g)
		close(g.done)
		l.mu.Lock()
		l.spare = g.buf[:0]
		l.mu.Unlock()
	}
}

// gather lets a group grow until SyncEvery is over since the last one began, or the log is closed.
func (l *Log) gather() {
	if wait := l.cfg.SyncEvery - time.Since(l.began); wait > 0 {
		select {
		case <-time.After(wait):
		case <-l.stop:
		}
	}
	l.began = time.Now()
}

// commit writes a group and syncs it. What fails leaves no trace in the numbers.
func (l *Log) commit(g *group) error {
	began := time.Now()
	if err := l.ready(); err != nil {
		return err
	}
	l.mu.Lock()
	s, first := l.segments[len(l.segments)-1], l.next
	l.mu.Unlock()
	seal(g.buf, first, l.salt)
	if _, err := l.file.WriteAt(g.buf, s.end); err != nil {
		err = fmt.Errorf("wal: write %s: %w", s.name(), full(err))
		if cut := l.file.Truncate(s.end); cut != nil {
			return errors.Join(err, l.giveUp())
		}
		return err
	}
	if err := l.sync(l.file); err != nil {
		// The kernel may have dropped the pages: a second sync of this file would prove nothing.
		return errors.Join(fmt.Errorf("wal: sync %s: %w", s.name(), full(err)), l.giveUp())
	}
	l.mu.Lock()
	s.end += int64(len(g.buf))
	l.bytes += int64(len(g.buf))
	l.next += uint64(g.records)
	close(l.grown)
	l.grown = make(chan struct{})
	l.mu.Unlock()
	if l.cfg.Committed != nil {
		l.cfg.Committed(Group{Records: g.records, Bytes: int64(len(g.buf)), Took: time.Since(began)})
	}
	return nil
}

// full marks the errors of a disk that has no room.
func full(err error) error {
	for _, code := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, code) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	return err
}

// Stats returns the log's figures.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{Segments: len(l.segments), Bytes: l.bytes, Next: l.next, Pending: l.next - 1 - l.acked}
}

// Writable returns nil if a record of usual size would be taken now.
func (l *Log) Writable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case l.bytes+int64(headerBytes+headBytes) >= l.cfg.MaxBytes:
		return ErrFull
	}
	return nil
}

// Close writes what waits and the read position, and gives up the folder.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	<-l.done
	var err error
	if l.file != nil {
		err = l.file.Close()
	}
	return errors.Join(err, l.endPosition(), l.lock.Close())
}
