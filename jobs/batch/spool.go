package batch

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// spoolBuffer is the buffer of one spool that is written.
const spoolBuffer = 32 << 10

// spool is a file of records, written once and then read once.
type spool struct {
	path string
	file *os.File
	w    *bufio.Writer
}

func (s *spool) add(rec []byte) (err error) {
	if s.file == nil {
		if s.file, err = os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		s.w = bufio.NewWriterSize(s.file, spoolBuffer)
	}
	var size [binary.MaxVarintLen64]byte
	if _, err := s.w.Write(size[:binary.PutUvarint(size[:], uint64(len(rec)))]); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if _, err := s.w.Write(rec); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// each calls f with every record; the record is valid during the call.
func (s *spool) each(f func([]byte) error) error {
	if s.file == nil {
		return nil
	}
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	r := bufio.NewReaderSize(s.file, 1<<20)
	var rec []byte
	for {
		n, err := binary.ReadUvarint(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if uint64(cap(rec)) < n {
			rec = make([]byte, n)
		}
		rec = rec[:n]
		if _, err := io.ReadFull(r, rec); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if err := f(rec); err != nil {
			return err
		}
	}
}

func (s *spool) remove() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.path))
}
