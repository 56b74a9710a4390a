package batch

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// TestDoubt: every unique click of an identity with more clicks than its rule allows is sent
// through the rules, none is lost or sent twice, and hardly any other is.
func TestDoubt(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 4))
	d := newDoubt(policy.Default())
	key := func(kind, i int) schemas.Key128 {
		return newTestKey(fmt.Sprint(kind, " ", i))
	}
	var blocks []*schemas.Block
	perIdentity := map[schemas.Key128]int{}
	n := int64(0)
	for range 5 {
		b := schemas.NewBlock()
		for range 2000 {
			ip, user := rng.IntN(3000), rng.IntN(3000)
			if rng.IntN(10) == 0 {
				ip %= 5
			}
			if rng.IntN(10) == 0 {
				user %= 5
			}
			c := testClick{offset: n, ip: key(0, ip), user: key(1, user)}
			if rng.IntN(10) == 0 {
				c.ip = schemas.Key128{}
			}
			if rng.IntN(20) == 0 {
				c.verdict = schemas.Duplicate
			} else {
				perIdentity[c.ip]++
				perIdentity[c.user]++
			}
			c.appendTo(b)
			n++
		}
		blocks = append(blocks, b)
	}
	delete(perIdentity, schemas.Key128{})
	limit := policy.Default().Revisions[0].Velocity.MaxClicks
	open := []*schemas.Block{schemas.NewBlock(), schemas.NewBlock(), schemas.NewBlock()}
	d.count(blocks, n)
	d.take(blocks, open)
	isOpen := map[int64]bool{}
	for shard, b := range open {
		for i := range b.Len() {
			if b.IPKey[i].Shard(len(open)) != int64(shard) || isOpen[b.Offset[i]] {
				t.Fatalf("seed %d: click %d is in shard %d, open before: %t", seed, b.Offset[i], shard, isOpen[b.Offset[i]])
			}
			isOpen[b.Offset[i]] = true
		}
	}
	counted, needless := int64(0), 0
	for _, b := range blocks {
		for i := range b.Len() {
			stays := b.Flags[i]&schemas.FlagContext == 0
			if stays {
				counted++
			}
			if stays == isOpen[b.Offset[i]] {
				t.Fatalf("seed %d: click %d stays %t and is open %t", seed, b.Offset[i], stays, isOpen[b.Offset[i]])
			}
			may := b.Verdict[i] == schemas.Billable && (perIdentity[b.IPKey[i]] > limit || perIdentity[b.UserKey[i]] > limit)
			if may && !isOpen[b.Offset[i]] {
				t.Fatalf("seed %d: click %d may be hit and is not judged", seed, b.Offset[i])
			}
			if !may && isOpen[b.Offset[i]] {
				needless++
			}
		}
	}
	if counted+int64(len(isOpen)) != n || needless > int(n)/10 {
		t.Errorf("seed %d: %d clicks stay and %d are open of %d, %d of them without need", seed, counted, len(isOpen), n, needless)
	}
}

type testClick struct {
	offset   int64
	ip, user schemas.Key128
	verdict  schemas.Verdict
}

func newTestKey(s string) schemas.Key128 { return testIdentity([]byte(s)) }

var testIdentity = newIdentity()

func (c *testClick) appendTo(b *schemas.Block) {
	one := schemas.Block{
		Partition: []int32{0}, Offset: []int64{c.offset}, ReceivedMicros: []int64{0}, EventMillis: []int64{0}, LogMillisColumn: []int64{0},
		JudgeMillis: []int64{0}, CostMicros: []int64{1}, Verdict: []schemas.Verdict{c.verdict}, Rules: []schemas.Rules{0},
		Flags: []schemas.ClickFlags{0}, WinnerPartition: []int32{0}, WinnerOffset: []int64{c.offset}, ClickKey: make([]schemas.Key128, 1),
		ContentHash: []uint64{0}, IPKey: []schemas.Key128{c.ip}, UserKey: []schemas.Key128{c.user},
	}
	one.ClickID.Append(nil)
	one.RowKey.Append(nil)
	b.AppendFrom(&one, 0)
}
