package schemas

import (
	"encoding/binary"
	"errors"
)

// AppendRowKey appends the fields of a row's key without the minute: each as its length and its
// bytes, so that no two keys look alike whatever the fields hold.
func AppendRowKey[T string | []byte](dst []byte, advertiser, campaign, ad, device, country T) []byte {
	for _, s := range [...]T{advertiser, campaign, ad, device, country} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

var errRowKey = errors.New("malformed row key")

// RowKeyFields splits a row key into its five fields, as views.
func RowKeyFields(key []byte) (fields [5][]byte, err error) {
	for i := range fields {
		n, w := binary.Uvarint(key)
		if w <= 0 || n > uint64(len(key)-w) {
			return fields, errRowKey
		}
		fields[i], key = key[w:w+int(n)], key[w+int(n):]
	}
	if len(key) != 0 {
		return fields, errRowKey
	}
	return fields, nil
}

// RowKeyAd returns the ad of a row key as a view; nil where the key ends before it.
func RowKeyAd(key []byte) (ad []byte) {
	for range 3 {
		n, w := binary.Uvarint(key)
		if w <= 0 || n > uint64(len(key)-w) {
			return nil
		}
		ad, key = key[w:w+int(n)], key[w+int(n):]
	}
	return ad
}

// ParseRowKey builds the key of a row from AppendRowKey's bytes and the minute.
func ParseRowKey(minuteMillis int64, key []byte) (MinuteKey, error) {
	f, err := RowKeyFields(key)
	if err != nil {
		return MinuteKey{}, err
	}
	return MinuteKey{MinuteMillis: minuteMillis, AdvertiserID: string(f[0]), CampaignID: string(f[1]),
		AdID: string(f[2]), DeviceType: string(f[3]), CountryCode: string(f[4])}, nil
}
