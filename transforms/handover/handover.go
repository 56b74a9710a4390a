// Package handover puts blocks into the elements of a pipeline and takes them out again. On a
// runner that carries elements between processes a block is encoded. On one that keeps all
// operators in this process and never tries a bundle again, such as prism, the element is a
// reference of nine bytes and the block itself stays where it is: that spares encoding, and a
// dozen copies on the way through the runner.
//
// Whoever sends a block gives it up, and whoever receives one owns it; every element is received
// once. In: blocks. Out: the same blocks, in elements that a runner may carry in any order.
package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/clickledger/clickledger/schemas"
)

// reference is the first byte of an element that is a reference; no encoded block begins with it.
const reference = 0

const referenceBytes = 9

// ErrGone says that a block was received before, or that its run has ended.
var ErrGone = errors.New("the block of a reference is gone")

// table holds the blocks that were sent by reference and not received yet.
var table = struct {
	sync.Mutex
	next uint64
	sent map[uint64]held
}{sent: map[uint64]held{}}

type held struct {
	run   string
	block carried
}

// Sender makes elements of blocks. It is for one goroutine; an element is valid until the next one.
type Sender struct {
	// RunID tells the pipelines of one process apart.
	RunID string
	// ByReference keeps blocks in this process; see the package.
	ByReference bool

	buf []byte
}

// Block makes the element of a block, which it takes over.
func (s *Sender) Block(b *schemas.Block) []byte { return s.send(b) }

// Rows makes the element of a block of rows, which it takes over.
func (s *Sender) Rows(b *schemas.RowBlock) []byte { return s.send(b) }

// carried is what both kinds of blocks can do.
type carried interface {
	Append(dst []byte) []byte
	Decode(data []byte) error
	Free()
}

func (s *Sender) send(b carried) []byte {
	if s.ByReference {
		return s.hold(b)
	}
	s.buf = b.Append(s.buf[:0])
	b.Free()
	return s.buf
}

// Again makes an element of a block that was received with data, and not changed since.
func (s *Sender) Again(b *schemas.Block, data []byte) []byte {
	if s.ByReference {
		return s.hold(b)
	}
	b.Free()
	return data
}

func (s *Sender) hold(b carried) []byte {
	table.Lock()
	id := table.next
	table.next++
	table.sent[id] = held{s.RunID, b}
	table.Unlock()
	s.buf = binary.LittleEndian.AppendUint64(append(s.buf[:0], reference), id)
	return s.buf
}

// Block takes the block of an element. Of an encoded one the texts are views into data.
func Block(data []byte) (*schemas.Block, error) { return receive(data, schemas.NewBlock) }

// Rows takes the block of rows of an element. Of an encoded one the texts are views into data.
func Rows(data []byte) (*schemas.RowBlock, error) { return receive(data, schemas.NewRowBlock) }

func receive[B carried](data []byte, fresh func() B) (B, error) {
	if len(data) == referenceBytes && data[0] == reference {
		return take[B](data)
	}
	b := fresh()
	if err := b.Decode(data); err != nil {
		b.Free()
		var none B
		return none, err
	}
	return b, nil
}

func take[B carried](data []byte) (b B, err error) {
	id := binary.LittleEndian.Uint64(data[1:])
	table.Lock()
	h, ok := table.sent[id]
	delete(table.sent, id)
	table.Unlock()
	if !ok {
		return b, fmt.Errorf("element %d: %w", id, ErrGone)
	}
	if b, ok = h.block.(B); !ok {
		return b, fmt.Errorf("element %d is a %T", id, h.block)
	}
	return b, nil
}

// Forget drops what a run sent and nobody received: of one that failed or was stopped.
func Forget(runID string) (dropped int) {
	table.Lock()
	defer table.Unlock()
	for id, h := range table.sent {
		if h.run == runID {
			delete(table.sent, id)
			dropped++
		}
	}
	return dropped
}
