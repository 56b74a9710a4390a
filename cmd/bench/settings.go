package main

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/clickledger/clickledger/internal/bench"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/schemas"
)

// settings are what the phases are told.
type settings struct {
	bench.Settings

	Advertisers int `json:"advertisers"` // of a posting

	Profile string `json:"profile"`
	Dir     string `json:"dir"` // of everything that is written
	URL     string `json:"url"` // of the broker
}

// day is the billing day of the log, which begins at noon of it.
var day = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// records calls each for every record of the log in order of arrival. Key and value are valid
// during the call. No click is late and no copy older than the time to live: of those the stream
// and the batch think differently, and all ways are to come to one total.
func (s *settings) records(each func(pos schemas.Position, timeMicros int64, key, value []byte) error) error {
	cfg := loadgen.DefaultConfig(s.Seed, s.Clicks, day.Add(12*time.Hour).UnixMilli(), s.EventRate)
	cfg.Ads, cfg.Users, cfg.Advertisers = s.Ads, s.Users, max(1, min(2_000, s.Ads/10))
	cfg.Shares.Late, cfg.Shares.VeryLate, cfg.Shares.DuplicateOld = 0, 0, 0
	g, err := loadgen.New(cfg)
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	next := make([]int64, s.Partitions)
	var it loadgen.Item
	var key, value []byte
	for g.Next(&it) {
		key, value = it.AppendKey(key[:0], schemas.KeyClickID, 0), it.AppendValue(value[:0])
		h := fnv.New32a()
		_, _ = h.Write(key)
		p := int32(h.Sum32() % uint32(s.Partitions))
		pos := schemas.Position{Partition: p, Offset: next[p]}
		next[p]++
		// Kafka keeps milliseconds.
		if err := each(pos, it.ReceivedAtMicros/1000*1000, key, value); err != nil {
			return err
		}
	}
	return nil
}
