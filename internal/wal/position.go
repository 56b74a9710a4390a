package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"
)

const positionFile = "position"

// Ack says that all records up to this number were taken over: they are not read again, and segments
// that hold no other are removed.
func (l *Log) Ack(number uint64) error {
	l.mu.Lock()
	l.acked = max(l.acked, min(number, l.next-1))
	l.mu.Unlock()
	return errors.Join(l.savePosition(false), l.remove())
}

// savePosition writes the read position if it changed and is due, or has to be written now.
func (l *Log) savePosition(now bool) error {
	l.ackMu.Lock()
	defer l.ackMu.Unlock()
	l.mu.Lock()
	acked := l.acked
	l.mu.Unlock()
	at := time.Now()
	if now && l.later != nil {
		l.later.Stop()
		l.later = nil
	}
	if acked == l.saved || l.ended {
		return nil
	}
	if wait := l.cfg.PositionEvery - at.Sub(l.savedAt); !now && wait > 0 {
		if l.later == nil { // nothing may follow this acknowledgement for long
			l.later = time.AfterFunc(wait, func() { _ = l.savePosition(true) }) // the next one says what is wrong
		}
		return nil
	}
	b := binary.LittleEndian.AppendUint64(nil, acked)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	path := filepath.Join(l.cfg.Dir, positionFile)
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return fmt.Errorf("wal: write the position: %w", full(err))
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("wal: write the position: %w", err)
	}
	l.saved, l.savedAt = acked, at
	if l.later != nil {
		l.later.Stop()
		l.later = nil
	}
	return nil
}

// endPosition writes the position for the last time.
func (l *Log) endPosition() error {
	err := l.savePosition(true)
	l.ackMu.Lock()
	defer l.ackMu.Unlock()
	l.ended = true // the folder may be another's from now on
	return err
}

// readPosition returns the number up to which all was acknowledged; 0 if nobody knows.
func readPosition(dir string) uint64 {
	b, err := os.ReadFile(filepath.Join(dir, positionFile))
	if err != nil || len(b) != 12 || crc32.Checksum(b[:8], castagnoli) != le32(b[8:]) {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// remove removes the sealed segments of which every record is acknowledged. One that lost records is
// set aside instead.
func (l *Log) remove() error {
	l.mu.Lock()
	var gone []*segment
	for len(l.segments) > 0 && l.segments[0].sealed && l.segments[0].upTo <= l.acked+1 {
		gone = append(gone, l.segments[0])
		l.bytes -= l.segments[0].end
		l.segments = l.segments[1:]
	}
	l.mu.Unlock()
	var errs []error
	for _, s := range gone {
		var err error
		if s.damaged {
			err = os.Rename(s.path, s.path+damagedSuffix)
		} else {
			err = os.Remove(s.path)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("wal: remove %s: %w", s.name(), err))
		}
	}
	return errors.Join(errs...)
}
