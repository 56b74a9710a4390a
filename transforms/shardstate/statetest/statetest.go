// Package statetest rebuilds cores in tests as shardstate does after a restart, from the least and
// the most that may be left of their state: nothing recent that is not needed, and every block
// that waited since the core wanted them anew.
package statetest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/clickledger/clickledger/transforms/shardstate"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// Follower holds what a core told of its state.
type Follower struct {
	saved   []byte
	lasting [][]byte
	recent  []snapshot.Journal
	blocks  [][]byte
	known   map[*byte]bool
}

// Follow is called after every block.
func (f *Follower) Follow(t *testing.T, c shardstate.Core) {
	t.Helper()
	j := c.Journal()
	if n := len(f.recent); n > 0 && f.recent[n-1].Stamp > j.Stamp {
		t.Fatalf("stamp %d comes after %d", j.Stamp, f.recent[n-1].Stamp)
	}
	if len(j.Recent) > 0 {
		f.recent = append(f.recent, snapshot.Journal{Recent: bytes.Clone(j.Recent), Stamp: j.Stamp})
	}
	if len(j.Lasting) > 0 {
		f.lasting = append(f.lasting, bytes.Clone(j.Lasting))
	}
	if f.known == nil {
		f.known = map[*byte]bool{}
	}
	waiting, anew := c.Waiting()
	if anew {
		f.blocks, f.known = nil, map[*byte]bool{}
	}
	for _, b := range waiting {
		if !f.known[&b[0]] {
			f.known[&b[0]] = true
			f.blocks = append(f.blocks, b)
		}
	}
}

// Fold puts a snapshot in the place of what is lasting.
func (f *Follower) Fold(c shardstate.Core) {
	if l, ok := c.(shardstate.Laster); ok {
		f.saved, f.lasting = l.Save(), nil
	}
}

// Rebuild makes of a fresh core what the followed one is.
func (f *Follower) Rebuild(t *testing.T, followed, fresh shardstate.Core) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("rebuild: %v", err)
		}
	}
	if f.saved != nil {
		check(fresh.(shardstate.Laster).Load(f.saved))
	}
	for _, e := range f.lasting {
		check(fresh.(shardstate.Laster).RedoLasting(e))
	}
	for _, j := range f.recent {
		if j.Stamp > followed.Horizon() {
			check(fresh.Redo(j.Recent))
		}
	}
	check(fresh.LoadHead(followed.Head()))
	for _, b := range f.blocks {
		check(fresh.Wait(b))
	}
	if !bytes.Equal(fresh.Head(), followed.Head()) {
		t.Fatal("the head of the rebuilt core is another one")
	}
}

// CheckDamage gives fresh cores damaged states of c: all must be refused as malformed. pick returns a random number below n.
func CheckDamage(t *testing.T, pick func(n int) int, c shardstate.Core, fresh func() shardstate.Core) {
	t.Helper()
	load := map[string]func([]byte) error{"head": fresh().LoadHead}
	good := map[string][]byte{"head": c.Head()}
	if l, ok := c.(shardstate.Laster); ok {
		load["snapshot"], good["snapshot"] = fresh().(shardstate.Laster).Load, l.Save()
	}
	for name, good := range good {
		damaged := bytes.Clone(good)
		damaged[pick(len(damaged))] ^= 1 << pick(8)
		for _, bad := range [][]byte{damaged, good[:pick(len(good))], nil, append(bytes.Clone(good), 0)} {
			if err := load[name](bad); !errors.Is(err, snapshot.ErrMalformed) {
				t.Fatalf("a damaged %s: got %v, want %v", name, err, snapshot.ErrMalformed)
			}
		}
	}
	for _, bad := range [][]byte{{1}, {1, 0xff}} {
		if err := fresh().Redo(bad); err == nil {
			t.Fatalf("a damaged journal %x is no error", bad)
		}
	}
	if err := fresh().Wait([]byte{1}); err == nil {
		t.Fatal("a damaged block is no error")
	}
}
