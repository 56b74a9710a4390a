package batch

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/clickledger/clickledger/schemas"
)

// bucket holds the clicks of some ads in two files until their turn comes: the day's copies, as
// pass 1 found them, and all clicks as blocks with the shard of their (ip, ad) identity.
type bucket struct {
	mu     sync.Mutex
	copies spool
	clicks spool
	n      int64
}

// copyOf is a duplicate and its winner.
type copyOf struct {
	pos, winner schemas.Position
	conflict    bool
}

func (s *session) bucketOf(ad []byte) *bucket {
	return s.buckets[s.bucketIndex(ad)]
}

func (s *session) bucketIndex(ad []byte) int {
	return int(xxh3.Hash(ad) % uint64(len(s.buckets)))
}

func newBucket(dir string, i int) *bucket {
	path := func(kind string) string { return filepath.Join(dir, fmt.Sprintf("%s-%06d", kind, i)) }
	return &bucket{copies: spool{path: path("copies")}, clicks: spool{path: path("clicks")}}
}

func (b *bucket) addCopy(c copyOf) error {
	rec := make([]byte, 0, 32)
	for _, v := range [...]int64{int64(c.pos.Partition), c.pos.Offset, int64(c.winner.Partition), c.winner.Offset} {
		rec = binary.AppendVarint(rec, v)
	}
	var conflict byte
	if c.conflict {
		conflict = 1
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.copies.add(append(rec, conflict))
}

// addClicks takes one encoded block of clicks.
func (b *bucket) addClicks(shard int64, block *schemas.Block) error {
	rec := block.Append(binary.AppendUvarint(nil, uint64(shard)))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(block.Len())
	return b.clicks.add(rec)
}

// loadCopies reads the copies by position.
func (b *bucket) loadCopies() (map[schemas.Position]copyOf, error) {
	copies := map[schemas.Position]copyOf{}
	err := b.copies.each(func(rec []byte) error {
		var v [4]int64
		for i := range v {
			n, w := binary.Varint(rec)
			if w <= 0 {
				return io.ErrUnexpectedEOF
			}
			v[i], rec = n, rec[w:]
		}
		c := copyOf{pos: schemas.Position{Partition: int32(v[0]), Offset: v[1]},
			winner: schemas.Position{Partition: int32(v[2]), Offset: v[3]}, conflict: rec[0] == 1}
		copies[c.pos] = c
		return nil
	})
	return copies, err
}

// emit reads the clicks back, marks the copies, and sends them as one channel in every shard.
func (b *bucket) emit(shards int, emit func(shard int64, data []byte)) error {
	copies, err := b.loadCopies()
	if err != nil {
		return err
	}
	sent := make([]int64, shards)
	send := func(shard int64, block *schemas.Block, watermark int64) {
		block.Header = schemas.Header{Channels: 1, Prev: sent[shard], Next: sent[shard] + 1,
			WatermarkMillis: watermark, LogMillis: watermark}
		sent[shard]++
		emit(shard, block.Append(nil))
	}
	var block schemas.Block
	err = b.clicks.each(func(rec []byte) error {
		shard, w := binary.Uvarint(rec)
		if w <= 0 || shard >= uint64(shards) {
			return io.ErrUnexpectedEOF
		}
		if err := block.Decode(rec[w:]); err != nil {
			return err
		}
		for i := range block.Len() {
			if c, ok := copies[block.Position(i)]; ok {
				block.Verdict[i], block.Rules[i] = schemas.Duplicate, 0
				block.WinnerPartition[i], block.WinnerOffset[i] = c.winner.Partition, c.winner.Offset
				if c.conflict {
					block.Flags[i] |= schemas.FlagConflict
				}
			}
		}
		send(int64(shard), &block, schemas.MinWatermark)
		return nil
	})
	for shard := range int64(shards) {
		block.Reset()
		send(shard, &block, schemas.MaxWatermark)
	}
	return err
}

func (b *bucket) remove() error { return errors.Join(b.copies.remove(), b.clicks.remove()) }

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
		s.w = bufio.NewWriterSize(s.file, 64<<10)
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
