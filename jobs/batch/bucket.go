package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/clickledger/clickledger/schemas"
)

// bucketClicks is the size that buckets are meant to have: the state of one fits in a cache.
const bucketClicks = 16_384

// bucketsMax bounds the buckets of a run whose slices do not need more of them.
const bucketsMax = 128

// bucket holds the clicks of some ads until their turn comes: blocks in memory, and in a file what
// is beyond the session's share of memory; and the day's copies among them, as pass 1 found them.
type bucket struct {
	mu     sync.Mutex
	copies spool
	blocks []*schemas.Block
	clicks spool
	n      int64
}

// copyOf is a duplicate and its winner.
type copyOf struct {
	pos, winner schemas.Position
	conflict    bool
}

// openBuckets makes the buckets for that many clicks.
func (s *session) openBuckets(clicks int64) {
	n := min(1+clicks/bucketClicks, max(bucketsMax, 1+2*clicks/int64(s.cfg.SliceClicks)))
	for i := range n {
		s.buckets = append(s.buckets, newBucket(s.dir, i))
	}
}

func (s *session) bucketOf(ad []byte) *bucket {
	return s.buckets[s.bucketIndex(ad)]
}

func (s *session) bucketIndex(ad []byte) int {
	return int(xxh3.Hash(ad) % uint64(len(s.buckets)))
}

func newBucket(dir string, i int64) *bucket {
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

// addClicks takes over a block of clicks, which goes to the file unless it may stay in memory.
func (b *bucket) addClicks(block *schemas.Block, mayStay bool) error {
	block.Channels = 1
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(block.Len())
	if mayStay {
		b.blocks = append(b.blocks, block)
		return nil
	}
	err := b.clicks.add(block.Append(nil))
	block.Free()
	return err
}

// load returns all blocks, with the copies marked.
func (b *bucket) load() ([]*schemas.Block, error) {
	blocks := b.blocks
	b.blocks = nil
	err := b.clicks.each(func(rec []byte) error {
		// The texts are views into the record, which has to stay.
		block, err := schemas.DecodeBlock(append([]byte(nil), rec...))
		blocks = append(blocks, block)
		return err
	})
	if err != nil {
		return nil, err
	}
	copies, err := b.loadCopies()
	if err != nil || len(copies) == 0 {
		return blocks, err
	}
	for _, block := range blocks {
		for i := range block.Len() {
			c, ok := copies[block.Position(i)]
			if !ok {
				continue
			}
			block.Verdict[i], block.Rules[i] = schemas.Duplicate, 0
			block.WinnerPartition[i], block.WinnerOffset[i] = c.winner.Partition, c.winner.Offset
			if c.conflict {
				block.Flags[i] |= schemas.FlagConflict
			}
		}
	}
	return blocks, nil
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

func (b *bucket) remove() error { return errors.Join(b.copies.remove(), b.clicks.remove()) }
