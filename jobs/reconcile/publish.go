package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// publish makes the batch's rows final. The rows of held advertisers stay as the stream has them.
func (r *run) publish(ctx context.Context, rep *Report) error {
	rows, err := r.batchRows(ctx)
	if err != nil {
		return err
	}
	if len(rep.HeldAdvertisers) > 0 {
		held := func(row schemas.MinuteRow) bool {
			_, found := slices.BinarySearch(rep.HeldAdvertisers, row.AdvertiserID)
			return found
		}
		rows = slices.DeleteFunc(rows, held)
		day := serving.Range{FromMillis: r.dayStart, ToMillis: r.cut}
		for row, err := range r.deps.Serving.Rows(ctx, serving.Provisional, day) {
			if err != nil {
				return err
			}
			if held(row) {
				row.Version, row.IsFinal = serving.FinalVersion, true
				rows = append(rows, row)
			}
		}
	}
	rep.PublishedRows = int64(len(rows))
	return r.deps.Serving.PublishFinal(ctx, serving.FinalDay{DayMillis: r.dayStart, CutMillis: r.cut}, rows)
}

// batchRows reads the batch's rows below the cut.
func (r *run) batchRows(ctx context.Context) (rows []schemas.MinuteRow, err error) {
	db, err := duckscan.Open(duckscan.Options{MemoryLimit: r.cfg.MemoryLimit})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	query := fmt.Sprintf(`select epoch_ms(click_minute)::bigint, advertiser_id, campaign_id, ad_id, device_type, country_code,
		raw_clicks::bigint, duplicate_clicks::bigint, invalid_clicks::bigint, unique_clicks::bigint, spend_micros::bigint
		from read_parquet(%s) where epoch_ms(click_minute) < %d`, duckscan.Quote(r.batch.Minutes), r.cut)
	err = conn.Scan(ctx, query, func(c *duckscan.Chunk) error {
		number := func(col int) []int64 { return duckscan.Column[int64](c, col) }
		for i := range c.Len() {
			text := func(col int) string { return string(c.Text(col).At(i)) }
			rows = append(rows, schemas.MinuteRow{MinuteKey: schemas.MinuteKey{MinuteMillis: number(0)[i], AdvertiserID: text(1),
				CampaignID: text(2), AdID: text(3), DeviceType: text(4), CountryCode: text(5)},
				RawClicks: number(6)[i], DuplicateClicks: number(7)[i], InvalidClicks: number(8)[i],
				UniqueClicks: number(9)[i], SpendMicros: number(10)[i], Version: serving.FinalVersion, IsFinal: true})
		}
		return nil
	})
	return rows, err
}
