package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const chunkBytes = 256 << 10

// scanner reads the records of one segment in order, and finds the next sound one after a damage.
type scanner struct {
	src            io.ReaderAt
	name           string
	salt           uint32
	recordBytesMax int
	damaged        func(Damage)

	buf []byte // what is read ahead, from at on
	at  int64  // offset of buf in the segment
	// broken is where the damage that is being skipped began; 0 is none.
	broken int64
	next   uint64 // the number that comes next
}

// scanned is one record. Its payload stays as it is: what is read ahead next has a place of its own.
type scanned struct {
	number  uint64
	payload []byte
}

// scan returns the next record that ends at or before limit. ok is false if there is none.
func (s *scanner) scan(limit int64) (r scanned, ok bool, err error) {
	for {
		if err := s.fill(headBytes, limit); err != nil {
			return r, false, err
		}
		if len(s.buf) < headBytes {
			return r, false, nil
		}
		length, number, isHead := headOf(s.buf, s.recordBytesMax)
		size := headBytes + length
		if isHead && number >= s.next && s.at+int64(size) <= limit {
			if err := s.fill(size, limit); err != nil {
				return r, false, err
			}
			payload := s.buf[headBytes:size]
			if recordSum(s.salt, s.buf, payload) == le32(s.buf[16:]) {
				s.settle(number)
				s.buf, s.at, s.next = s.buf[size:], s.at+int64(size), number+1
				return scanned{number, payload}, true, nil
			}
		}
		s.skip()
	}
}

// settle reports what was skipped before a sound record.
func (s *scanner) settle(number uint64) {
	if s.broken == 0 && number == s.next {
		return
	}
	d := Damage{Segment: s.name, Offset: s.at, Records: number - s.next}
	if s.broken > 0 {
		d.Offset, d.Bytes = s.broken, s.at-s.broken
	}
	s.broken = 0
	s.damaged(d)
}

// skip goes on to the next place that may begin a record.
func (s *scanner) skip() {
	if s.broken == 0 {
		s.broken = s.at
	}
	step := bytes.Index(s.buf[1:], []byte(recordMagic)) + 1
	if step == 0 {
		step = max(1, len(s.buf)-len(recordMagic)+1) // the magic may go on in what is not read yet
	}
	s.buf, s.at = s.buf[step:], s.at+int64(step)
}

// fill reads ahead until n bytes are there, or all up to limit.
func (s *scanner) fill(n int, limit int64) error {
	end := s.at + int64(len(s.buf))
	if len(s.buf) >= n || end >= limit {
		return nil
	}
	want := min(max(int64(n-len(s.buf)), chunkBytes), limit-end)
	grown := make([]byte, len(s.buf)+int(want)) // payloads that were returned stay as they are
	copy(grown, s.buf)
	got, err := s.src.ReadAt(grown[len(s.buf):], end)
	s.buf = grown[:len(s.buf)+got]
	if err != nil && (!errors.Is(err, io.EOF) || int64(got) != want) {
		return fmt.Errorf("wal: read %s at byte %d: %w", s.name, end, err)
	}
	return nil
}

// finish reports what is left at the end of a segment. lost is how many numbered records are missing,
// as the next segment tells; tail is true where that cannot be told.
func (s *scanner) finish(limit int64, lost uint64, tail bool) {
	from := s.at
	if s.broken > 0 {
		from = s.broken
	}
	if lost == 0 && limit <= from {
		return
	}
	s.damaged(Damage{Segment: s.name, Offset: from, Bytes: max(0, limit-from), Records: lost, Tail: tail})
	s.broken = 0
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
