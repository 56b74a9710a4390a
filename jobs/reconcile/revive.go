package reconcile

import (
	"context"
	"fmt"
	"os"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/schemas"
)

// revivedRows ends a file of revived clicks.
const revivedRows = 100_000

// reviver collects the clicks that the archive holds as dead letters, but that the policy accepts:
// the archiver judged by the policy of its time.
type reviver struct {
	run     *run
	decoder *schemas.Decoder
	rows    []schemas.ArchiveClick // of one partition
}

// revive writes those clicks as files in the archive's layout. The batch bills them, so they are
// compared and audited with the archive's clicks.
func (r *run) revive(ctx context.Context) (err error) {
	if len(r.dead) == 0 {
		return nil
	}
	db, err := duckscan.Open(duckscan.Options{MemoryLimit: r.cfg.MemoryLimit})
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	v := &reviver{run: r, decoder: schemas.NewDecoder(r.cfg.Policy)}
	query := `select partition::integer, "offset"::bigint, epoch_us(received_at)::bigint, coalesce(value, ''::blob)::blob
		from read_parquet(` + duckscan.Quote(paths(r.dead)...) + `, hive_partitioning = false) order by 1, 2`
	if err := conn.Scan(ctx, query, v.take); err != nil {
		return fmt.Errorf("judge dead letters again: %w", err)
	}
	return v.flush()
}

func (v *reviver) take(c *duckscan.Chunk) error {
	partitions, offsets := duckscan.Column[int32](c, 0), duckscan.Column[int64](c, 1)
	received, values := duckscan.Column[int64](c, 2), c.Text(3)
	for i := range c.Len() {
		k, reason := v.decoder.Decode(schemas.Record{TimestampMicros: received[i], Value: values.At(i),
			Position: schemas.Position{Partition: partitions[i], Offset: offsets[i]}})
		if reason != "" {
			continue
		}
		if n := len(v.rows); n == revivedRows || (n > 0 && v.rows[0].Partition != k.Partition) {
			if err := v.flush(); err != nil {
				return err
			}
		}
		v.rows = append(v.rows, schemas.ArchiveClick{Partition: k.Partition, Offset: k.Offset, ReceivedAt: k.ReceivedAtMicros,
			EventTime: k.EventTimeMillis, ClickID: k.ClickID, AdID: k.AdID, AdvertiserID: k.AdvertiserID,
			CampaignID: k.CampaignID, UserID: k.UserID, CostMicros: k.CostMicros, IPAddress: k.IPAddress,
			UserAgent: k.UserAgent, Referrer: k.Referrer, DeviceType: k.DeviceType, CountryCode: k.CountryCode,
			Timestamp: k.Timestamp, CostPerClick: k.CostPerClick})
	}
	return nil
}

func (v *reviver) flush() error {
	if len(v.rows) == 0 {
		return nil
	}
	data, err := parquetio.Encode(v.rows, nil)
	if err != nil {
		return err
	}
	path := v.run.temp(fmt.Sprintf("revived-%d.parquet", len(v.run.revived)))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write revived clicks: %w", err)
	}
	v.run.revived, v.rows = append(v.run.revived, path), v.rows[:0]
	return nil
}
