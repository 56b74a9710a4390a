package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Record is one record of the log. Its payload is the reader's.
type Record struct {
	Number  uint64
	Payload []byte
}

// Reader reads the log from its first record that is not acknowledged, to its end and on as it grows.
// It is for one goroutine.
type Reader struct {
	log  *Log
	next uint64 // records below are not returned

	segment *segment
	file    *os.File
	scanner *scanner
}

// NewReader returns a reader that begins after the last acknowledged record.
func (l *Log) NewReader() *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Reader{log: l, next: l.acked + 1}
}

// Close gives up the reader's file.
func (r *Reader) Close() error {
	f := r.file
	r.segment, r.file, r.scanner = nil, nil, nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// Next appends to dst the records that are there, at most as many as it has room for, at least one: it
// waits for the first. Only what is on the disk is returned.
func (r *Reader) Next(ctx context.Context, dst []Record) ([]Record, error) {
	from := len(dst)
	for {
		rec, ok, grown, err := r.one()
		switch {
		case err != nil && len(dst) > from:
			return dst, nil // the error comes again
		case err != nil:
			return dst, err
		case ok:
			if dst = append(dst, rec); len(dst) == cap(dst) {
				return dst, nil
			}
			continue
		case len(dst) > from:
			return dst, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return dst, ctx.Err()
		}
	}
}

// one returns the next record, or a channel that tells when it is worth trying again.
func (r *Reader) one() (Record, bool, <-chan struct{}, error) {
	for {
		if r.segment == nil {
			opened, grown, err := r.open()
			if err != nil || !opened {
				return Record{}, false, grown, err
			}
		}
		limit, upTo, sealed, grown := r.state()
		if r.scanner != nil {
			rec, ok, err := r.scanner.scan(limit)
			if err != nil {
				return Record{}, false, grown, err
			}
			if ok && rec.number < upTo {
				if rec.number < r.next {
					continue
				}
				r.next = rec.number + 1
				return Record{Number: rec.number, Payload: rec.payload}, true, nil, nil
			}
			if !ok && !sealed {
				return Record{}, false, grown, nil
			}
			if !ok {
				r.finish(limit, upTo)
			}
		} else if !sealed {
			return Record{}, false, grown, nil
		}
		r.next = max(r.next, upTo)
		if err := r.Close(); err != nil {
			return Record{}, false, nil, fmt.Errorf("wal: %w", err)
		}
	}
}

func (r *Reader) finish(limit int64, upTo uint64) {
	lost := uint64(0)
	if upTo > r.scanner.next {
		lost = upTo - r.scanner.next
	}
	r.scanner.finish(limit, lost, lost == 0)
}

func (r *Reader) state() (limit int64, upTo uint64, sealed bool, grown <-chan struct{}) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return r.segment.end, r.segment.upTo, r.segment.sealed, r.log.grown
}

// open opens the segment that holds the next record.
func (r *Reader) open() (bool, <-chan struct{}, error) {
	l := r.log
	l.mu.Lock()
	var s *segment
	var seen segment // as it is now: the writer goes on
	for _, candidate := range l.segments {
		if candidate.upTo > r.next {
			s, seen = candidate, *candidate
			break
		}
	}
	grown := l.grown
	l.mu.Unlock()
	if s == nil {
		return false, grown, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return false, grown, fmt.Errorf("wal: %w", err)
	}
	sc, ok, err := l.scannerOf(f, &seen, func(d Damage) { r.damaged(s, d) })
	if err != nil {
		return false, grown, errors.Join(err, f.Close())
	}
	r.segment, r.file, r.scanner = s, f, nil
	if ok {
		r.scanner = sc
	}
	return true, grown, nil
}

// damaged marks the segment and reports.
func (r *Reader) damaged(s *segment, d Damage) {
	if !d.Tail {
		r.log.mu.Lock()
		s.damaged = true
		r.log.mu.Unlock()
	}
	if r.log.cfg.Damaged != nil {
		r.log.cfg.Damaged(d)
	}
}
