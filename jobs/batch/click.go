package batch

import (
	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/schemas"
)

// clickChunk is a chunk of clickColumns.
type clickChunk struct {
	partition        []int32
	offset, received []int64
	texts            [9]duckscan.Texts // click, ad, advertiser, campaign, user, ip, agent, device, country
	timestamp        []int64
	cost             []float64
}

func newClickChunk(c *duckscan.Chunk) clickChunk {
	k := clickChunk{partition: duckscan.Column[int32](c, 0), offset: duckscan.Column[int64](c, 1),
		received: duckscan.Column[int64](c, 2), timestamp: duckscan.Column[int64](c, 12), cost: duckscan.Column[float64](c, 13)}
	for i := range k.texts {
		k.texts[i] = c.Text(3 + i)
	}
	return k
}

// read fills raw with views of click i and returns its position.
func (k *clickChunk) read(i int, raw *schemas.RawClick) schemas.Position {
	t := &k.texts
	*raw = schemas.RawClick{ClickID: t[0].At(i), AdID: t[1].At(i), AdvertiserID: t[2].At(i), CampaignID: t[3].At(i),
		UserID: t[4].At(i), IPAddress: t[5].At(i), UserAgent: t[6].At(i), DeviceType: t[7].At(i), CountryCode: t[8].At(i),
		Timestamp: k.timestamp[i], CostPerClick: k.cost[i], ReceivedAt: k.received[i]}
	return schemas.Position{Partition: k.partition[i], Offset: k.offset[i]}
}
