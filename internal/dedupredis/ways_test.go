package dedupredis

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/clickledger/clickledger/internal/redistest"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/claim"
)

// blockClicks is the size of a block of the stream: a poll of 20,000 records dealt to four shards.
const blockClicks = 5000

// block makes new claims, of which two in a hundred are copies of earlier ones.
func block(rng *rand.Rand, n int64) []claim.Claim {
	claims := make([]claim.Claim, blockClicks)
	for i := range claims {
		at := n*blockClicks + int64(i)
		id := uint64(at)
		if rng.IntN(50) == 0 && at > 0 {
			id = uint64(at - 1 - rng.Int64N(min(at, 100_000)))
		}
		var key schemas.Key128
		binary.LittleEndian.PutUint64(key[:], id*0x9e3779b97f4a7c15)
		binary.LittleEndian.PutUint64(key[8:], id)
		claims[i] = claim.Claim{Key: key, Position: schemas.Position{Offset: at}, LogMillis: origin + at/10,
			ReceivedMicros: (origin + at/10) * 1000, KeepMicros: 600_000_000}
	}
	return claims
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWays compares ways to claim the click_ids of a block. Each prints the CPU time of a
// click in this process and in Redis, in microseconds.
func BenchmarkWays(b *testing.B) {
	for _, way := range []struct {
		name string
		run  func(c *Client, name string) func([]claim.Claim, []claim.Owner) error
	}{
		{"ours, two scripts", func(c *Client, name string) func([]claim.Claim, []claim.Owner) error {
			return c.Shard(ShardConfig{Name: name, Span: 11 * time.Minute, Keep: time.Hour}).Judge
		}},
		{"SET NX GET, pipelined", setNXGet},
		{"HMGET, then compare and set", readThenSet},
	} {
		b.Run(way.name, func(b *testing.B) {
			s := redistest.Start(b)
			run := way.run(open(b, s, 0), "bench")
			rng := rand.New(rand.NewPCG(1, 1))
			owners := make([]claim.Owner, blockClicks)
			mine, theirs := cpu(b), s.CPU()
			var making time.Duration
			n := int64(0)
			for b.Loop() {
				at := cpu(b)
				claims := block(rng, n)
				making += cpu(b) - at
				n++
				if err := run(claims, owners); err != nil {
					b.Fatal(err)
				}
			}
			clicks := float64(n * blockClicks)
			b.ReportMetric(float64((cpu(b)-mine-making).Microseconds())/clicks, "us-here/click")
			b.ReportMetric(float64((s.CPU()-theirs).Microseconds())/clicks, "us-redis/click")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/clicks, "ns/click")
		})
	}
}

// setNXGet claims every click_id by a command of its own. It only shows the price: it neither slides
// nor knows earlier winners.
func setNXGet(c *Client, name string) func([]claim.Claim, []claim.Owner) error {
	return func(claims []claim.Claim, owners []claim.Owner) error {
		answers := make([]*redis.StatusCmd, len(claims))
		_, err := c.db.Pipelined(c.ctx, func(p redis.Pipeliner) error {
			for i := range claims {
				run := claims[i].Begin()
				answers[i] = p.SetArgs(c.ctx, name+string(claims[i].Key[:]), run.Append(nil), redis.SetArgs{Mode: "NX", Get: true, TTL: time.Hour})
			}
			return nil
		})
		if err == redis.Nil { //nolint:errorlint // the client's own sentinel, not wrapped
			err = nil
		}
		for i := range owners {
			owners[i] = claim.Owner{Position: claims[i].Position}
		}
		return err
	}
}

// readThenSet reads both periods, judges here, and writes what has changed.
func readThenSet(c *Client, name string) func([]claim.Claim, []claim.Owner) error {
	set := redis.NewScript(`
for i = 1, #ARGV, 3 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or '') ~= ARGV[i + 1] then return i end
end
for i = 1, #ARGV, 3 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2]) end
return 0`)
	return func(claims []claim.Claim, owners []claim.Owner) error {
		fields := make([]string, len(claims))
		for i := range claims {
			fields[i] = string(claims[i].Key[:])
		}
		var here, there *redis.SliceCmd
		if _, err := c.db.Pipelined(c.ctx, func(p redis.Pipeliner) error {
			here, there = p.HMGet(c.ctx, name+":1", fields...), p.HMGet(c.ctx, name+":0", fields...)
			return nil
		}); err != nil {
			return err
		}
		var args []any
		inBlock := map[string]bool{}
		for i := range claims {
			old, isKnown := here.Val()[i].(string)
			if !isKnown {
				old, _ = there.Val()[i].(string)
			}
			h, err := claim.Decode(old)
			if err != nil {
				return err
			}
			owner, isMoved := h.Judge(&claims[i])
			owners[i] = owner
			if isMoved && !inBlock[fields[i]] {
				inBlock[fields[i]] = true
				args = append(args, fields[i], old, h.Append(nil))
			}
		}
		failed, err := set.Run(c.ctx, c.db, []string{name + ":1"}, args...).Int()
		if err == nil && failed != 0 {
			err = fmt.Errorf("value %d has changed", failed)
		}
		return err
	}
}
