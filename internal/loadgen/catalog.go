package loadgen

import (
	"math"
	"net/netip"
)

// catalog holds what clicks are made of: ads with their owners and prices, browsers, pages,
// countries. It is a pure function of the configuration.
type catalog struct {
	seed   uint64
	users  int
	ads    []ad
	draw   alias
	agents []agent
	pages  []string
	places []string
}

type ad struct {
	id, advertiserID, campaignID string
	cost                         float64
}

type agent struct{ text, device string }

// Streams of the hash, so that the ids of different things differ.
const (
	saltAd uint64 = (iota + 1) << 56
	saltAdvertiser
	saltCampaign
	saltUser
	saltClick
	saltHome
	saltPrice
	saltImpression
	saltLiking
)

const campaignsPerAdvertiser = 5

func newCatalog(cfg Config) *catalog {
	c := &catalog{
		seed: cfg.Seed, users: cfg.Users, ads: make([]ad, cfg.Ads),
		draw: newZipf(cfg.Ads, cfg.ZipfExponent), agents: agents(), pages: pages(), places: places(),
	}
	for i := range c.ads {
		h := mix64(cfg.Seed + saltPrice + uint64(i))
		owner := uint32(h>>8) % uint32(cfg.Advertisers)
		campaign := owner*campaignsPerAdvertiser + uint32(h>>40)%campaignsPerAdvertiser
		c.ads[i] = ad{
			id:           string(c.appendID(nil, "ad_", saltAd, uint32(i))),
			advertiserID: string(c.appendID(nil, "adv_", saltAdvertiser, owner)),
			campaignID:   string(c.appendID(nil, "cmp_", saltCampaign, campaign)),
			cost:         price(h),
		}
	}
	return c
}

// price is mostly a whole number of cents between 0.05 and 4.99, sometimes of hundredths of a cent,
// and rarely has a seventh decimal, which must be rounded to micros.
func price(h uint64) float64 {
	cents := 5 + h%495
	switch {
	case h>>60 == 0:
		return float64(cents*100_000+h>>32%100_000) / 1e7
	case h>>60 <= 2:
		return float64(cents*100+h>>32%100) / 1e4
	}
	return float64(cents) / 1e2
}

// appendID appends an id in the usual form: a prefix and 8 hexadecimal digits, different for every n.
func (c *catalog) appendID(dst []byte, prefix string, salt uint64, n uint32) []byte {
	dst = append(dst, prefix...)
	return appendHex(dst, uint64(mix32(n^uint32(mix64(c.seed+salt)))), 8)
}

// home is the address from which a user clicks; users of one household share it.
func (c *catalog) home(user uint32) netip.Addr {
	h := mix64(c.seed + saltHome + uint64(user/3))
	if h%5 == 0 {
		var a [16]byte
		a[0], a[1], a[2], a[3], a[4], a[5] = 0x2a, 0x02, byte(h>>8), byte(h>>16), byte(h>>24), byte(h>>32)
		a[15] = 1 + byte(user%3)
		return netip.AddrFrom16(a)
	}
	// First numbers that belong to no special range.
	first := [...]byte{5, 24, 31, 46, 62, 71, 78, 81, 86, 88, 93, 95, 109, 134, 151, 176, 178, 188, 212, 217}
	return netip.AddrFrom4([4]byte{first[h>>8%uint64(len(first))], byte(h >> 16), byte(h >> 24), byte(h >> 32)})
}

// person returns the browser and the country of a user, as indexes.
func (c *catalog) person(user uint32) (agentIndex, placeIndex uint16) {
	h := mix64(c.seed + saltUser + uint64(user))
	return uint16(h % uint64(len(c.agents))), uint16(h >> 32 % uint64(len(c.places)))
}

// alias draws indexes with given weights in constant time (Walker's method).
type alias struct {
	keep  []uint32 // chance, in 2^-32, to keep the index that was hit
	other []uint32
}

func newZipf(n int, exponent float64) alias {
	weights, sum := make([]float64, n), 0.0
	for i := range weights {
		weights[i] = math.Pow(float64(i+1), -exponent)
		sum += weights[i]
	}
	a := alias{keep: make([]uint32, n), other: make([]uint32, n)}
	var small, large []int
	for i := range weights {
		weights[i] *= float64(n) / sum
		if weights[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.keep[s], a.other[s] = uint32(weights[s]*math.MaxUint32), uint32(l)
		if weights[l] -= 1 - weights[s]; weights[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) {
		a.keep[i], a.other[i] = math.MaxUint32, uint32(i)
	}
	return a
}

// index maps 64 random bits to an index.
func (a *alias) index(bits uint64) int32 {
	i := bits >> 32 * uint64(len(a.keep)) >> 32
	if uint32(bits) <= a.keep[i] {
		return int32(i)
	}
	return int32(a.other[i])
}

// mix64 is a one-to-one scrambling of 64 bits (the finaliser of SplitMix64).
func mix64(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// mix32 is a one-to-one scrambling of 32 bits (the finaliser of MurmurHash3).
func mix32(x uint32) uint32 {
	x = (x ^ x>>16) * 0x85ebca6b
	x = (x ^ x>>13) * 0xc2b2ae35
	return x ^ x>>16
}

func appendHex(dst []byte, v uint64, digits int) []byte {
	const hex = "0123456789abcdef"
	for shift := (digits - 1) * 4; shift >= 0; shift -= 4 {
		dst = append(dst, hex[v>>shift&15])
	}
	return dst
}
