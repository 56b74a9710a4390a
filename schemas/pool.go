package schemas

import "sync"

var (
	blocks    = sync.Pool{New: func() any { return new(Block) }}
	rowBlocks = sync.Pool{New: func() any { return new(RowBlock) }}
)

// NewBlock returns an empty block, in the memory of a freed one where there is any.
func NewBlock() *Block { return blocks.Get().(*Block) }

// Free empties the block and gives its memory to a later NewBlock. Nobody may use it, or views
// into it, any more.
func (b *Block) Free() {
	b.Reset()
	blocks.Put(b)
}

// FreeAll frees the blocks of a list, if they are the caller's to free, and returns the emptied list.
func FreeAll(done []*Block, isOwner bool) []*Block {
	for _, b := range done {
		if isOwner {
			b.Free()
		}
	}
	clear(done)
	return done[:0]
}

// NewRowBlock returns an empty block of rows, in the memory of a freed one where there is any.
func NewRowBlock() *RowBlock { return rowBlocks.Get().(*RowBlock) }

// Free empties the block and gives its memory to a later NewRowBlock. Nobody may use it, or views
// into it, any more.
func (b *RowBlock) Free() {
	b.Reset()
	rowBlocks.Put(b)
}
