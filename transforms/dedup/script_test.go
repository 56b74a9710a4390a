package dedup

import (
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/transforms/shardstate"
	"github.com/clickledger/clickledger/transforms/shardstate/statetest"
)

// skewMillis is how far the watermark of a scripted channel stays behind its log.
const skewMillis = 2000

// click is one click of a script.
type click struct {
	schemas.Position
	log, event, judge, receivedMicros int64
	id, ip, user                      string
	content                           uint64
	verdict                           schemas.Verdict
	flags                             schemas.ClickFlags
}

func key(s string) schemas.Key128 {
	if s == "" {
		return schemas.Key128{}
	}
	return schemas.Key128(xxh3.HashString128(s).Bytes())
}

func appendClick(b *schemas.Block, c *click) {
	b.Partition, b.Offset = append(b.Partition, c.Partition), append(b.Offset, c.Offset)
	b.ReceivedMicros, b.EventMillis = append(b.ReceivedMicros, c.receivedMicros), append(b.EventMillis, c.event)
	b.LogMillisColumn, b.JudgeMillis = append(b.LogMillisColumn, c.log), append(b.JudgeMillis, c.judge)
	b.CostMicros, b.Verdict = append(b.CostMicros, 1), append(b.Verdict, c.verdict)
	b.Rules, b.Flags = append(b.Rules, 0), append(b.Flags, c.flags)
	b.WinnerPartition, b.WinnerOffset = append(b.WinnerPartition, c.Partition), append(b.WinnerOffset, c.Offset)
	b.ClickKey, b.ContentHash = append(b.ClickKey, key(c.id)), append(b.ContentHash, c.content)
	b.IPKey, b.UserKey = append(b.IPKey, key(c.ip)), append(b.UserKey, key(c.user))
	b.ClickID.Append([]byte(c.id))
	b.RowKey.Append(schemas.AppendRowKey(nil, "adv", "cmp", "ad", "", ""))
}

// chain cuts the clicks of one partition into blocks, heartbeats between them, and ends it.
func chain(rng *rand.Rand, channel, channels int32, clicks []click) [][]byte {
	var out [][]byte
	b := schemas.Block{Header: schemas.Header{WatermarkMillis: schemas.MinWatermark, LogMillis: schemas.MinWatermark}}
	send := func(next int64) {
		b.Channel, b.Channels, b.Next, b.TickMillis = channel, channels, next, next
		out = append(out, b.Append(nil))
		h := b.Header
		b.Reset()
		b.Header, b.Prev = h, next
	}
	for i := range clicks {
		appendClick(&b, &clicks[i])
		if rng.IntN(8) == 0 || i == len(clicks)-1 {
			b.LogMillis = max(b.LogMillis, clicks[i].log)
			b.WatermarkMillis = max(b.WatermarkMillis, clicks[i].log-skewMillis)
			send(int64(i + 1))
			if rng.IntN(3) == 0 {
				send(int64(i + 1))
			}
		}
	}
	b.LogMillis, b.WatermarkMillis = schemas.MaxWatermark, schemas.MaxWatermark
	send(int64(len(clicks)))
	return out
}

// late marks the clicks that come behind their partition's watermark, as decoding does.
func late(clicks []click, latenessMillis int64) {
	log := int64(0)
	for i := range clicks {
		c := &clicks[i]
		watermark := log - skewMillis
		c.judge = c.event
		if log != 0 && c.event < watermark {
			c.judge, c.flags = watermark, schemas.FlagLate
			if watermark-c.event > latenessMillis {
				c.verdict = schemas.Late
			}
		}
		log = max(log, c.log)
	}
}

// interleave merges the chains in a random order that keeps nothing but their number: blocks of a
// channel overtake each other, and some come twice.
func interleave(rng *rand.Rand, chains [][][]byte) [][]byte {
	var out [][]byte
	next := make([]int, len(chains))
	for left := true; left; {
		left = false
		for _, c := range rng.Perm(len(chains)) {
			for n := rng.IntN(4); n > 0 && next[c] < len(chains[c]); n-- {
				out = append(out, chains[c][next[c]])
				next[c]++
			}
			left = left || next[c] < len(chains[c])
		}
	}
	for i := range out {
		if j := i + rng.IntN(4); j < len(out) {
			out[i], out[j] = out[j], out[i]
		}
		if rng.IntN(10) == 0 {
			out = append(out, out[i])
		}
	}
	return out
}

// silentAtFirst delivers half of the other chains before the first one says anything but that it is
// there: it bounds nothing until then, and what it says then may be older than what was judged.
func silentAtFirst(rng *rand.Rand, chains [][][]byte) [][]byte {
	silent := schemas.Block{Header: schemas.Header{Channels: int32(len(chains)), WatermarkMillis: schemas.NoWatermark, LogMillis: schemas.NoWatermark}}
	halves, rest := [][][]byte{{silent.Append(nil)}}, [][][]byte{chains[0]}
	for _, c := range chains[1:] {
		halves, rest = append(halves, c[:len(c)/2]), append(rest, c[len(c)/2:])
	}
	return append(interleave(rng, halves), interleave(rng, rest)...)
}

// sent is one block that a core emitted.
type sent struct {
	shard int32
	data  string
}

// run delivers the blocks to a core; reload, where it is not nil, may put another core in its
// place before any delivery.
func run(t *testing.T, core *Core, deliveries [][]byte, reload func(*Core) *Core) []sent {
	t.Helper()
	var out []sent
	for _, d := range deliveries {
		if reload != nil {
			core = reload(core)
		}
		in := new(schemas.Block)
		if err := in.Decode(d); err != nil {
			t.Fatal(err)
		}
		if err := core.Apply(in, func(shard int32, b *schemas.Block) {
			out = append(out, sent{shard, string(b.Append(nil))})
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !core.Ended() {
		t.Fatal("the core did not end with its channels")
	}
	return out
}

// judged gathers what was emitted, one block of one click by position, and holds the blocks to
// their promises: every shard gets a whole chain, and no click whose turn was over.
func judged(t *testing.T, out []sent) map[schemas.Position]*schemas.Block {
	t.Helper()
	clicks := map[schemas.Position]*schemas.Block{}
	next, promised := map[int32]int64{}, map[int32]int64{}
	for _, s := range out {
		b := new(schemas.Block)
		if err := b.Decode([]byte(s.data)); err != nil {
			t.Fatal(err)
		}
		if b.Prev != next[s.shard] {
			t.Fatalf("shard %d: got block %d, want %d", s.shard, b.Prev, next[s.shard])
		}
		next[s.shard] = b.Next
		for i := range b.Len() {
			if mark, known := promised[s.shard]; known && b.JudgeMillis[i] < mark {
				t.Fatalf("click %s of turn %d came after watermark %d", b.Position(i), b.JudgeMillis[i], mark)
			}
			if clicks[b.Position(i)] != nil {
				t.Fatalf("click %s came twice", b.Position(i))
			}
			one := new(schemas.Block)
			one.AppendFrom(b, i)
			clicks[b.Position(i)] = one
		}
		promised[s.shard] = b.WatermarkMillis
	}
	return clicks
}

// checkRebuilding runs the deliveries again, with the core rebuilt at random times: it must send the
// same bytes.
func checkRebuilding(t *testing.T, seed uint64, fresh func() *Core, deliveries [][]byte) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 99))
	var follower statetest.Follower
	rebuilt := 0
	keeping := func() *Core {
		c := fresh()
		c.KeepsJournal = true
		return c
	}
	want := run(t, fresh(), deliveries, nil)
	got := run(t, keeping(), deliveries, func(c *Core) *Core {
		follower.Follow(t, c)
		if rng.IntN(20) == 0 {
			follower.Fold(c)
		}
		if rebuilt > 0 && rng.IntN(5) > 0 {
			return c
		}
		rebuilt++
		twin := keeping()
		follower.Rebuild(t, c, twin)
		statetest.CheckDamage(t, rng.IntN, c, func() shardstate.Core { return keeping() })
		return twin
	})
	if rebuilt == 0 || len(got) != len(want) {
		t.Fatalf("seed %d: got %d blocks, want %d", seed, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("seed %d: block %d differs after rebuilding", seed, i)
		}
	}
}

func parsePolicy(t testing.TB, doc string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
