// Package shardstate keeps an operator's pure core in Beam state, exactly, on any runner. A core's
// state has four parts: what changes with every block, its Head, in a Value beside a random token;
// what it learned from the clicks that it has judged and will forget, in a ring of Bags of which the
// oldest one is cleared as a whole; the little that it learned for longer, in a Bag that begins with
// a snapshot; and the blocks of which clicks still wait for their turn, in a last Bag. So a click's
// block is in the state only while the click waits, what is kept of it for minutes is a few bytes,
// and no runner has to write those bytes again and again in order to drop others.
//
// The built core stays in the process; if its token equals the cell's, nothing is read back. If not
// (a restart, a moved shard, a bundle tried again), the core is rebuilt. The token is random and not a
// counter: after a restore another history could reach the same number.
package shardstate

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"

	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/handover"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// tokenBytes is the size of the token that the cell begins with.
const tokenBytes = 16

// Core is an operator's state machine, without Beam.
type Core interface {
	// Head returns the part of the state that changes with every block and is small.
	Head() []byte
	// LoadHead takes what Head returned. It comes behind what was learned and before Wait.
	LoadHead(head []byte) error
	// Journal returns what the core learned since Journal was called last. It is valid until the core's
	// next block.
	Journal() snapshot.Journal
	// Redo learns again what a Journal said was Recent.
	Redo(recent []byte) error
	// Span is for how long what is Recent is needed, about, in the units of its stamps.
	Span() int64
	// Horizon is the stamp up to which nothing that was Recent is needed any more.
	Horizon() int64
	// Waiting returns the encoded blocks that hold clicks which wait for their turn. It is called after
	// every block. A block that is among them is the same memory every time. With anew it says that
	// blocks which it has returned before, and does not now, must not come back by Wait.
	Waiting() (blocks [][]byte, anew bool)
	// Wait takes back a block that Waiting returned. By now all its clicks may have had their turn,
	// and it may come twice.
	Wait(block []byte) error
}

// Laster is a core whose Journal also tells what is Lasting.
type Laster interface {
	Core
	// Save returns what is lasting.
	Save() []byte
	// Load replaces it by what Save returned.
	Load(saved []byte) error
	// RedoLasting learns again what a Journal said was Lasting.
	RedoLasting(lasting []byte) error
}

// ender is a core that knows that nothing more will come; its state is not needed any longer.
type ender interface{ Ended() bool }

func isEnded(c Core) bool {
	e, ok := c.(ender)
	return ok && e.Ended()
}

// Config is what every sharded operator is given. All fields are construction-time configuration.
type Config struct {
	// PolicyYAML is the policy document.
	PolicyYAML string
	// Shards is the number of shards of this operator and of the next one.
	Shards int32
	// Keys are the keys of the shards, the i-th of them i modulo Shards, where the runner wants others than the
	// shards themselves. Then there is one slice only.
	Keys []int64
	// RunID tells the pipelines of one process apart.
	RunID string
	// InMemory keeps no log in Beam state and hands blocks over by reference: for a runner that keeps state in memory itself, runs
	// every shard in this process, and ends the job where a bundle fails, such as prism. Where a
	// core is lost all the same, the next block is an error, never a wrong answer.
	InMemory bool
	// NoLog keeps no log either, but encodes blocks: for a runner that after a failure begins anew with
	// an empty state and all of the input, such as Flink in batch mode. It too answers a lost core with an error.
	NoLog bool
}

// Shard is the shard of an operator's key. A key is the shard itself, or where one pipeline works on
// several slices of the input that know nothing of each other, slice*Shards + shard.
func (c Config) Shard(key int64) int32 { return int32(key % int64(c.Shards)) }

// Key is the key of another shard of the slice that key belongs to.
func (c Config) Key(key int64, shard int32) int64 {
	if len(c.Keys) > 0 {
		return c.Keys[shard]
	}
	return key - key%int64(c.Shards) + int64(shard)
}

// Validate panics on a bad configuration: it is a mistake in the program, found at construction.
func (c Config) Validate() {
	if c.Shards < 1 || c.Shards > 1024 || c.RunID == "" {
		panic(fmt.Sprintf("shardstate: %d shards (1 to 1024) for run %q", c.Shards, c.RunID))
	}
	for i, key := range c.Keys {
		if len(c.Keys) != int(c.Shards) || c.Shard(key) != int32(i) {
			panic(fmt.Sprintf("shardstate: keys %v for %d shards", c.Keys, c.Shards))
		}
	}
	if _, err := c.Policy(); err != nil {
		panic(err)
	}
}

// KeepsLog reports whether what a core learns must be told by its Journal.
func (c Config) KeepsLog() bool { return !c.InMemory && !c.NoLog }

// Sender makes the elements that an operator sends.
func (c Config) Sender() handover.Sender {
	return handover.Sender{RunID: c.RunID, ByReference: c.InMemory}
}

// Policy parses the policy; one document is parsed once a process.
func (c Config) Policy() (*policy.Policy, error) {
	if p, ok := policies.Load(c.PolicyYAML); ok {
		return p.(*policy.Policy), nil
	}
	parsed, err := policy.Parse([]byte(c.PolicyYAML))
	if err != nil {
		return nil, err
	}
	p, _ := policies.LoadOrStore(c.PolicyYAML, parsed)
	return p.(*policy.Policy), nil
}

var (
	policies sync.Map // PolicyYAML -> *policy.Policy
	caches   sync.Map // cacheKey -> *cached
)

type cacheKey struct {
	run, operator string
	key           int64
}

// cached holds a core while no step works on it.
type cached struct {
	mu sync.Mutex
	built
}

// built is a core, the token of the state that it equals, and what is known of its cells.
type built struct {
	core  Core
	token []byte
	ring
	lasting
	inbox
}

// Forget drops the cores of a run that has ended, and blocks that nobody received.
func Forget(runID string) {
	handover.Forget(runID)
	caches.Range(func(k, _ any) bool {
		if k.(cacheKey).run == runID {
			caches.Delete(k)
		}
		return true
	})
}

// Step brings the core of one key up to date, applies the block to it with apply, and records what
// came of it.
func Step[C Core](sp state.Provider, cells *Cells, cfg Config, operator string, key int64, data []byte,
	fresh func() C, apply func(core C, data []byte) error) error {
	have, exists, err := cells.Head.Read(sp)
	if err != nil {
		return fmt.Errorf("%s key %d: read token: %w", operator, key, err)
	}
	entry, _ := caches.LoadOrStore(cacheKey{cfg.RunID, operator, key}, &cached{})
	var c built
	switch taken, ok := entry.(*cached).take(have); {
	case !exists:
		c.core = fresh()
	case ok:
		c = taken
	case !cfg.KeepsLog():
		return fmt.Errorf("%s key %d: %w", operator, key, errLost)
	default:
		if c, err = rebuild(sp, cells, have, fresh()); err != nil {
			return fmt.Errorf("%s key %d: rebuild: %w", operator, key, err)
		}
	}
	if err := apply(c.core.(C), data); err != nil {
		return err
	}
	if cfg.KeepsLog() || !exists { // else the cell holds the token of this core's first block
		c.token = make([]byte, tokenBytes)
		_, _ = rand.Read(c.token) // never fails
		if err := c.record(sp, cells, cfg); err != nil {
			return fmt.Errorf("%s key %d: write state: %w", operator, key, err)
		}
	}
	if !cfg.NoLog || !isEnded(c.core) {
		entry.(*cached).put(c)
	}
	return nil
}

// take gives the caller the core that equals the state of the token; it has it alone. A step does not
// hold the lock: in a worker whose runner has died it may hang for ever, and where the next worker is in the same process
// it must not wait for that one.
func (c *cached) take(have []byte) (b built, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.core == nil || !bytes.HasPrefix(have, c.token) {
		return built{}, false
	}
	b, c.built = c.built, built{}
	return b, true
}

func (c *cached) put(b built) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.built = b
}

// record writes down the token and what changed with the last block.
func (b *built) record(sp state.Provider, cells *Cells, cfg Config) error {
	if !cfg.KeepsLog() {
		return cells.Head.Write(sp, b.token)
	}
	var err error
	if isEnded(b.core) {
		err = clearAll(sp, cells)
	} else {
		err = b.recordLearned(sp, cells)
	}
	if err != nil {
		return err
	}
	return cells.Head.Write(sp, append(bytes.Clone(b.token), b.core.Head()...))
}

func (b *built) recordLearned(sp state.Provider, cells *Cells) error {
	learned := b.core.Journal()
	if err := b.ring.record(sp, &cells.Ring, b.core, learned); err != nil {
		return err
	}
	if err := b.lasting.record(sp, cells.Lasting, b.core, learned.Lasting); err != nil {
		return err
	}
	waiting, anew := b.core.Waiting()
	return b.inbox.record(sp, cells.Inbox, waiting, anew)
}

func clearAll(sp state.Provider, cells *Cells) error {
	for _, bag := range append(slices.Clone(cells.Ring[:]), cells.Lasting, cells.Inbox) {
		if err := bag.Clear(sp); err != nil {
			return err
		}
	}
	return nil
}

// errLost says that a core that is kept in memory alone is not there any more.
var errLost = errors.New("the state was in memory alone, and is lost")

var errSegment = errors.New("malformed state")

// rebuild makes of a fresh core what the cells say.
func rebuild(sp state.Provider, cells *Cells, have []byte, core Core) (b built, err error) {
	if len(have) < tokenBytes {
		return b, errSegment
	}
	b = built{core: core, token: bytes.Clone(have[:tokenBytes])}
	if err := b.lasting.restore(sp, cells.Lasting, core); err != nil {
		return b, err
	}
	if err := b.ring.restore(sp, &cells.Ring, core); err != nil {
		return b, err
	}
	if err := core.LoadHead(have[tokenBytes:]); err != nil {
		return b, err
	}
	return b, b.inbox.restore(sp, cells.Inbox, core)
}

// Operator names an operator's cores within a run.
func Operator(name string, variant int) string { return name + "/" + strconv.Itoa(variant) }
