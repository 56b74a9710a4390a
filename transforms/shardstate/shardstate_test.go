package shardstate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/zeebo/xxh3"

	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/snapshot"
)

// store is the state of one key as a runner keeps it: a bundle's writes hold when it is committed.
// A bag comes back in any order.
type store struct {
	state.Provider // what an operator does not use is nil

	rng              *rand.Rand
	value, wasValue  any
	bags, wasBags    map[string][]any
	reads, bagReads  int
	failNext         error
	snapshotSegments int
	inboxClears      int
}

func cloneBags(bags map[string][]any) map[string][]any {
	out := map[string][]any{}
	for name, bag := range bags {
		out[name] = slices.Clone(bag)
	}
	return out
}

func (s *store) commit()   { s.wasValue, s.wasBags = s.value, cloneBags(s.bags) }
func (s *store) rollback() { s.value, s.bags = s.wasValue, cloneBags(s.wasBags) }

func (s *store) ReadValueState(string) (any, []state.Transaction, error) {
	s.reads++
	return s.value, nil, nil
}

func (s *store) WriteValueState(tx state.Transaction) error { s.value = tx.Val; return nil }

func (s *store) ReadBagState(name string) ([]any, []state.Transaction, error) {
	s.bagReads++
	out := slices.Clone(s.bags[name])
	s.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out, nil, nil
}

func (s *store) WriteBagState(tx state.Transaction) error {
	if err := s.failNext; err != nil {
		s.failNext = nil
		return err
	}
	if tx.Val.([]byte)[0] == kindSnapshot {
		s.snapshotSegments++
	}
	s.bags[tx.Key] = append(s.bags[tx.Key], bytes.Clone(tx.Val.([]byte)))
	return nil
}

func (s *store) ClearBagState(tx state.Transaction) error {
	if tx.Key == "Inbox" {
		s.inboxClears++
	}
	delete(s.bags, tx.Key)
	return nil
}

// lag is how many blocks a chainCore waits for before it judges one.
const lag = 3

// chainCore is a core whose output depends on every block that it ever judged, and on their order.
// Its memory is their sum, its head how many they were and which blocks wait.
type chainCore struct {
	sum     uint64
	learned []byte
	n       int
	hashes  []uint64 // of the waiting blocks
	waiting [][]byte
	ended   bool
	recent  uint64 // sum that was told last as recent, after a restart
	recents int
	pad     int // bytes of the snapshot that mean nothing
}

func (c *chainCore) Head() []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(c.n))
	for _, b := range c.waiting {
		out = binary.LittleEndian.AppendUint64(out, xxh3.Hash(b))
	}
	return out
}

func (c *chainCore) LoadHead(b []byte) error {
	c.n = int(binary.LittleEndian.Uint64(b))
	if want := min(c.n-lag, 24); c.n > lag && (c.recent != c.sum || c.recents < want || c.recents > want+2*24/(RingBags-2)+1) {
		return fmt.Errorf("%d blocks, of which %d were recent, sum %x, of the recent ones %x", c.n, c.recents, c.sum, c.recent)
	}
	for b = b[8:]; len(b) > 0; b = b[8:] {
		c.hashes = append(c.hashes, binary.LittleEndian.Uint64(b))
	}
	return nil
}

func (c *chainCore) Save() []byte {
	return append(binary.LittleEndian.AppendUint64(nil, c.sum), make([]byte, c.pad)...)
}

func (c *chainCore) Load(b []byte) error {
	if len(b) != 8+c.pad {
		return fmt.Errorf("%d bytes", len(b))
	}
	c.sum = binary.LittleEndian.Uint64(b)
	return nil
}

// Journal tells everything twice, as recent and as lasting.
func (c *chainCore) Journal() snapshot.Journal {
	j := snapshot.Journal{Recent: c.learned, Stamp: int64(c.n), Lasting: c.learned}
	c.learned = nil
	return j
}

func (c *chainCore) Redo(entry []byte) error {
	c.recents++
	c.recent = binary.LittleEndian.Uint64(entry)
	return nil
}

func (c *chainCore) Span() int64    { return 24 }
func (c *chainCore) Horizon() int64 { return int64(c.n) - 24 }

func (c *chainCore) RedoLasting(entry []byte) error {
	c.sum = binary.LittleEndian.Uint64(entry)
	return nil
}

func (c *chainCore) Waiting() ([][]byte, bool) { return c.waiting, c.n%40 == 0 }

func (c *chainCore) Wait(block []byte) error {
	if slices.Contains(c.hashes, xxh3.Hash(block)) {
		c.waiting = append(c.waiting, block)
	}
	return nil
}

func (c *chainCore) Ended() bool { return c.ended }

var errApply = errors.New("cannot be applied")

func (c *chainCore) apply(data []byte) (string, error) {
	if bytes.HasPrefix(data, []byte("bad")) {
		c.sum = 1 // half done
		return "", errApply
	}
	c.waiting = append(c.waiting, data)
	if len(c.waiting) > lag {
		c.sum = xxh3.HashSeed(c.waiting[0], c.sum)
		// What is learned is as long as the block, so that the log is folded.
		c.learned = append(binary.LittleEndian.AppendUint64(nil, c.sum), c.waiting[0]...)
		c.waiting = c.waiting[1:]
	}
	c.n++
	c.ended = bytes.HasPrefix(data, []byte("end"))
	return fmt.Sprintf("%d:%x", c.n, c.sum), nil
}

// harness steps one shard, as a DoFn does, and returns what would be emitted.
type harness struct {
	*store
	cfg   Config
	shard int64
	pad   int
}

func newHarness(t testing.TB, rng *rand.Rand, pad int) *harness {
	h := &harness{store: &store{rng: rng, bags: map[string][]any{}}, cfg: Config{RunID: t.Name() + fmt.Sprint(rng.Uint64()), Shards: 4}, pad: pad}
	t.Cleanup(func() { Forget(h.cfg.RunID) })
	return h
}

func (h *harness) step(data []byte) (out []string, err error) {
	err = Step(h.store, MakeCells(), h.cfg, "op", h.shard, bytes.Clone(data),
		func() *chainCore { return &chainCore{pad: h.pad} },
		func(c *chainCore, data []byte) error {
			s, err := c.apply(data)
			if err == nil {
				out = append(out, s)
			}
			return err
		})
	return out, err
}

// TestStepIsExact lets bundles fail after their work, shards move, writes fail and blocks be bad,
// with logs long enough to be folded: what is emitted by the bundles that hold is what a core
// that nothing happens to emits.
func TestStepIsExact(t *testing.T) {
	t.Parallel()
	for _, pad := range []int{0, 3 << 20} {
		t.Run(fmt.Sprint("pad ", pad), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			rng := rand.New(rand.NewPCG(seed, 1))
			h, plain := newHarness(t, rng, pad), &chainCore{}
			buffer := make([]byte, 1<<20)
			rebuilt := 0
			for i := range 150 {
				data := buffer[:8+rng.IntN(len(buffer)-8)]
				binary.LittleEndian.PutUint64(data, rng.Uint64()|1<<63)
				var want []string
				s, _ := plain.apply(bytes.Clone(data))
				want = append(want, s)
				for range rng.IntN(3) { // what goes wrong before it holds
					var err error
					switch rng.IntN(5) {
					case 0: // the bundle fails after the work
						_, err = h.step(data)
					case 1: // another worker did the work that does not hold
						_, err = h.step(data)
						Forget(h.cfg.RunID)
					case 2: // the shard moves
						Forget(h.cfg.RunID)
					case 3:
						if _, bad := h.step([]byte("bad")); !errors.Is(bad, errApply) {
							t.Fatalf("seed %d: got %v, want %v", seed, bad, errApply)
						}
					case 4:
						h.failNext = errors.New("no state")
						if _, bad := h.step(data); bad == nil {
							t.Fatalf("seed %d: a failed write is no error", seed)
						}
					}
					if err != nil {
						t.Fatalf("seed %d: block %d: %v", seed, i, err)
					}
					h.rollback()
				}
				before := h.bagReads
				got, err := h.step(data)
				if err != nil || !slices.Equal(got, want) {
					t.Fatalf("seed %d: block %d: got %v (%v), want %v", seed, i, got, err, want)
				}
				h.commit()
				rebuilt += h.bagReads - before
			}
			if rebuilt < 20 || h.snapshotSegments < 3 || h.inboxClears < 3 {
				t.Errorf("seed %d: %d rebuilt, %d snapshot segments, %d inboxes written anew: the test tests little", seed, rebuilt,
					h.snapshotSegments, h.inboxClears)
			}
		})
	}
}

// TestNothingIsReadBack: while nothing happens, a step reads one small cell only.
func TestNothingIsReadBack(t *testing.T) {
	t.Parallel()
	h := newHarness(t, rand.New(rand.NewPCG(1, 1)), 0)
	for range 20 {
		if _, err := h.step([]byte("data")); err != nil {
			t.Fatal(err)
		}
	}
	if h.reads != 20 || h.bagReads != 0 {
		t.Errorf("%d cells and %d logs read, want 20 and 0", h.reads, h.bagReads)
	}
}

// TestEndClearsTheLog: nothing is kept of a core that nothing more will come to; a bundle of the
// end that is tried again finds the log as it was.
func TestEndClearsTheLog(t *testing.T) {
	t.Parallel()
	h, plain := newHarness(t, rand.New(rand.NewPCG(1, 1)), 0), &chainCore{}
	var want string
	for _, data := range []string{"one", "two", "end"} {
		want, _ = plain.apply([]byte(data))
		if data == "end" {
			if _, err := h.step([]byte(data)); err != nil {
				t.Fatal(err)
			}
			h.rollback()
		}
		got, err := h.step([]byte(data))
		if err != nil || !slices.Equal(got, []string{want}) {
			t.Fatalf("%s: got %v (%v), want %s", data, got, err, want)
		}
		h.commit()
	}
	for name, bag := range h.bags {
		t.Errorf("%d segments of %s are left after the end", len(bag), name)
	}
}

// TestDamagedLog: a segment too short and a snapshot that does not load are errors.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	for name, segment := range map[string][]byte{"short": {kindEntry, 1}, "snapshot": append([]byte{kindSnapshot}, make([]byte, 9)...)} {
		h := newHarness(t, rand.New(rand.NewPCG(1, 1)), 0)
		if _, err := h.step([]byte("one")); err != nil {
			t.Fatal(err)
		}
		h.bags["Lasting"] = append(h.bags["Lasting"], segment)
		Forget(h.cfg.RunID)
		if _, err := h.step([]byte("two")); err == nil || !strings.Contains(err.Error(), "rebuild") {
			t.Errorf("%s: got %v, want an error of the rebuilding", name, err)
		}
	}
}

// TestShardsAreApart runs many shards and operators at once, with cores forgotten under them.
func TestShardsAreApart(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	var wg sync.WaitGroup
	run := t.Name()
	t.Cleanup(func() { Forget(run) })
	for shard := range int64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(shard)))
			h, plain := newHarness(t, rng, 0), &chainCore{}
			h.cfg.RunID, h.shard = run, shard
			for i := range 300 {
				data := []byte(fmt.Sprint(shard, i))
				want, _ := plain.apply(data)
				got, err := h.step(data)
				if err != nil || !slices.Equal(got, []string{want}) {
					t.Errorf("seed %d: shard %d: got %v (%v), want %s", seed, shard, got, err, want)
					return
				}
				if rng.IntN(20) == 0 {
					Forget(run)
				}
			}
		})
	}
	wg.Wait()
}

func TestConfig(t *testing.T) {
	t.Parallel()
	doc, err := policy.Default().YAML()
	if err != nil {
		t.Fatal(err)
	}
	good := Config{PolicyYAML: string(doc), Shards: 1, RunID: "r"}
	good.Validate()
	p, err := good.Policy()
	if err != nil || p.Hash() != policy.Default().Hash() {
		t.Errorf("got policy %v (%v), want the default", p, err)
	}
	if again, _ := good.Policy(); again != p {
		t.Error("the policy is parsed twice")
	}
	for name, bad := range map[string]Config{
		"shards": {PolicyYAML: good.PolicyYAML, RunID: "r"}, "run": {PolicyYAML: good.PolicyYAML, Shards: 1},
		"policy": {PolicyYAML: "x", Shards: 1, RunID: "r"}, "too many": {PolicyYAML: good.PolicyYAML, Shards: 1025, RunID: "r"},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			bad.Validate()
		}()
	}
}
