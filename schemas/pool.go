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

// NewRowBlock returns an empty block of rows, in the memory of a freed one where there is any.
func NewRowBlock() *RowBlock { return rowBlocks.Get().(*RowBlock) }

// Free empties the block and gives its memory to a later NewRowBlock. Nobody may use it, or views
// into it, any more.
func (b *RowBlock) Free() {
	b.Reset()
	rowBlocks.Put(b)
}
