package schemas

import (
	"math"
	"strconv"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/encoding/protowire"
)

// AppendTo appends the click to dst as a csp.adclick.v1.ClickEvent, field by field in ascending
// order, the bytes that proto.Marshal writes deterministically. Texts go out as they are: one that
// is not UTF-8 makes a record that readers take for a dead letter.
func (c *RawClick) AppendTo(dst []byte) []byte {
	for _, f := range [...]struct {
		num protowire.Number
		v   []byte
	}{{1, c.ClickID}, {2, c.AdID}, {3, c.AdvertiserID}, {4, c.CampaignID}, {5, c.UserID}} {
		dst = appendBytes(dst, f.num, f.v)
	}
	if bits := math.Float64bits(c.CostPerClick); bits != 0 {
		dst = protowire.AppendFixed64(protowire.AppendTag(dst, 6, protowire.Fixed64Type), bits)
	}
	dst = appendBytes(dst, 7, c.IPAddress)
	dst = appendBytes(dst, 8, c.UserAgent)
	dst = appendInt(dst, 9, c.Timestamp)
	dst = appendBytes(dst, 10, c.Referrer)
	dst = appendInt(dst, 11, c.ReceivedAt)
	dst = appendBytes(dst, 12, c.CountryCode)
	return appendBytes(dst, 13, c.DeviceType)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// ClickKey says how the Kafka key of a click is made.
type ClickKey string

// The two kinds of key. Equal copies of a click have equal keys in both, and so meet in one partition.
const (
	// KeyClickID is the click_id.
	KeyClickID ClickKey = "click_id"
	// KeyAdSalt is the ad_id, an underscore and the hash of the click_id modulo the number of salts:
	// the clicks of an ad are in few partitions, and those of a viral ad in more than one.
	KeyAdSalt ClickKey = "ad_salt"
)

// Valid reports whether the kind is known.
func (k ClickKey) Valid() bool { return k == KeyClickID || k == KeyAdSalt }

// AppendTo appends the key of a click to dst. salts, at least 1, is for KeyAdSalt alone. The key of a
// click without an id is empty, and not nil, so that it too has a partition of its own.
func (k ClickKey) AppendTo(dst []byte, c *RawClick, salts int) []byte {
	if k == KeyAdSalt {
		dst = append(append(dst, c.AdID...), '_')
		return strconv.AppendUint(dst, xxh3.Hash(c.ClickID)%uint64(max(salts, 1)), 10)
	}
	if dst == nil {
		dst = []byte{}
	}
	return append(dst, c.ClickID...)
}
