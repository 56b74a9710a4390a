package shardstate

import "github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"

// inboxSlack is how many bytes of blocks without waiting clicks an inbox holds at least before it
// is written anew.
const inboxSlack = 256 << 10

// inbox is what is known of the Bag of blocks with clicks that wait. A bag cannot be cut, only
// cleared: it is written anew when most of it is not waited for any more.
type inbox struct {
	written map[*byte]bool // by their first byte
	bytes   int
}

// record adds the blocks that came to wait.
func (in *inbox) record(sp state.Provider, bag state.Bag[[]byte], waiting [][]byte, anew bool) error {
	live, more := 0, 0
	for _, block := range waiting {
		live += len(block)
		if !in.written[&block[0]] {
			more += len(block)
		}
	}
	if in.bytes > 0 && (anew || in.bytes+more > 2*live+inboxSlack) {
		if err := bag.Clear(sp); err != nil {
			return err
		}
		*in = inbox{}
	}
	for _, block := range waiting {
		if !in.written[&block[0]] {
			if err := in.add(sp, bag, block); err != nil {
				return err
			}
		}
	}
	return nil
}

func (in *inbox) add(sp state.Provider, bag state.Bag[[]byte], block []byte) error {
	number := int64(len(in.written))
	in.note(block)
	return bag.Add(sp, segment{kind: kindEntry, number: number, data: block}.encode())
}

func (in *inbox) note(block []byte) {
	if in.written == nil {
		in.written = map[*byte]bool{}
	}
	in.written[&block[0]] = true
	in.bytes += len(block)
}

func (in *inbox) restore(sp state.Provider, bag state.Bag[[]byte], core Core) error {
	segments, err := readSegments(sp, bag)
	if err != nil {
		return err
	}
	*in = inbox{}
	for _, s := range segments {
		if len(s.data) == 0 {
			return errSegment
		}
		in.note(s.data)
		if err := core.Wait(s.data); err != nil {
			return err
		}
	}
	return nil
}
