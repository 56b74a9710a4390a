// Package shardstate keeps an operator's pure core in Beam state, exactly, on any runner: one
// Value cell with a random token and one Bag with a log of segments. The log begins with a snapshot
// of the core and goes on with the blocks that it took in since. The built core stays in the process; if its
// token equals the cell's, nothing is read back. If not (a restart, a moved shard, a bundle tried
// again), the core is rebuilt from the log. The token is random and not a counter: after a restore
// another history could reach the same number.
package shardstate

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"

	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/handover"
)

const (
	segmentBytes  = 1 << 20 // of a snapshot
	leastLogBytes = 8 << 20 // of a log before it is folded into a snapshot

	kindSnapshot = 's'
	kindBlock    = 'b'
)

// Core is an operator's state machine, without Beam.
type Core interface {
	// Save returns the state as bytes.
	Save() []byte
	// Load replaces the state by what Save returned.
	Load(saved []byte) error
}

// ender is a core that knows that nothing more will come; its log is not needed any longer.
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
func (c Config) Key(key int64, shard int32) int64 { return key - key%int64(c.Shards) + int64(shard) }

// Validate panics on a bad configuration: it is a mistake in the program, found at construction.
func (c Config) Validate() {
	if c.Shards < 1 || c.Shards > 1024 || c.RunID == "" {
		panic(fmt.Sprintf("shardstate: %d shards (1 to 1024) for run %q", c.Shards, c.RunID))
	}
	if _, err := c.Policy(); err != nil {
		panic(err)
	}
}

func (c Config) isLogless() bool { return c.InMemory || c.NoLog }

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

// built is a core, the token of the state that it equals, and what is known of its log.
type built struct {
	core     Core
	token    []byte
	logBytes int
	segments int64
	snapshot int // bytes of the snapshot that the log begins with
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

// Step brings the core of one key up to date, applies the block to it with apply, and records both
// the block and a fresh token. While the core is rebuilt, apply is called with live false for the
// blocks of the log: its output was sent before and must not be sent again.
func Step[C Core](sp state.Provider, token state.Value[[]byte], log state.Bag[[]byte], cfg Config, operator string,
	key int64, data []byte, fresh func() C, apply func(core C, data []byte, live bool) error) error {
	have, exists, err := token.Read(sp)
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
	case cfg.isLogless():
		return fmt.Errorf("%s key %d: %w", operator, key, errLost)
	default:
		if err := rebuild(&c, sp, log, fresh(), apply); err != nil {
			return fmt.Errorf("%s key %d: rebuild: %w", operator, key, err)
		}
	}
	if err := apply(c.core.(C), data, true); err != nil {
		return err
	}
	if !cfg.isLogless() {
		if err := c.record(sp, log, data); err != nil {
			return fmt.Errorf("%s key %d: write state: %w", operator, key, err)
		}
	}
	if !cfg.isLogless() || !exists { // else the cell holds the token of this core's first block
		c.token = make([]byte, 16)
		_, _ = rand.Read(c.token) // never fails
		if err := token.Write(sp, c.token); err != nil {
			return fmt.Errorf("%s key %d: write token: %w", operator, key, err)
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
func (c *cached) take(token []byte) (b built, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.core == nil || !bytes.Equal(c.token, token) {
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

// record appends the block to the log, or folds the log into a snapshot when it has grown as
// large as the snapshot that it would save.
func (c *built) record(sp state.Provider, log state.Bag[[]byte], data []byte) error {
	if isEnded(c.core) {
		return log.Clear(sp)
	}
	if c.logBytes+len(data) < max(leastLogBytes, 2*c.snapshot) {
		c.logBytes += len(data)
		return c.add(sp, log, kindBlock, data)
	}
	saved := c.core.Save()
	if err := log.Clear(sp); err != nil {
		return err
	}
	c.logBytes, c.snapshot, c.segments = 0, len(saved), 0
	for part := range slices.Chunk(saved, segmentBytes) {
		if err := c.add(sp, log, kindSnapshot, part); err != nil {
			return err
		}
	}
	return nil
}

func (c *built) add(sp state.Provider, log state.Bag[[]byte], kind byte, data []byte) error {
	segment := make([]byte, 0, len(data)+9)
	segment = binary.BigEndian.AppendUint64(append(segment, kind), uint64(c.segments))
	c.segments++
	return log.Add(sp, append(segment, data...))
}

// errLost says that a core that is kept in memory alone is not there any more.
var errLost = errors.New("the state was in memory alone, and is lost")

var errSegment = errors.New("malformed log segment")

// rebuild restores the snapshot and applies the blocks that came after it.
func rebuild[C Core](c *built, sp state.Provider, log state.Bag[[]byte], core C,
	apply func(core C, data []byte, live bool) error) error {
	segments, _, err := log.Read(sp)
	if err != nil {
		return err
	}
	for _, s := range segments {
		if len(s) < 9 {
			return errSegment
		}
	}
	slices.SortFunc(segments, func(a, b []byte) int {
		return cmp.Compare(binary.BigEndian.Uint64(a[1:]), binary.BigEndian.Uint64(b[1:]))
	})
	var saved []byte
	blocks := 0
	for i, s := range segments {
		if s[0] == kindSnapshot {
			saved, blocks = append(saved, s[9:]...), i+1
		}
	}
	if len(saved) > 0 {
		if err := core.Load(saved); err != nil {
			return err
		}
	}
	*c = built{core: core, snapshot: len(saved), segments: int64(len(segments))}
	for _, s := range segments[blocks:] {
		if err := apply(core, s[9:], false); err != nil {
			return err
		}
		c.logBytes += len(s) - 9
	}
	return nil
}

// Operator names an operator's cores within a run.
func Operator(name string, variant int) string { return name + "/" + strconv.Itoa(variant) }
