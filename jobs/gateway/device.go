package gateway

import "bytes"

// The device types that deviceType tells apart.
const (
	deviceBot     = "bot"
	deviceDesktop = "desktop"
	deviceMobile  = "mobile"
	deviceTablet  = "tablet"
)

// deviceRules is read from the top; the first text found in the user agent decides. It is the rule
// that browser makers recommend: "Mobi" is a phone, an Android without it is a tablet. It is part of
// the key of a row, so it is short, fixed and free of a database that changes with its version.
var deviceRules = []struct{ text, device string }{
	{"bot/", deviceBot}, {"Bot/", deviceBot}, {"bot;", deviceBot}, {"Bot;", deviceBot}, {"Googlebot", deviceBot},
	{"spider", deviceBot}, {"crawler", deviceBot}, {"facebookexternalhit", deviceBot},
	{"iPad", deviceTablet}, {"Tablet", deviceTablet}, {"Kindle", deviceTablet}, {"Silk/", deviceTablet},
	{"Mobi", deviceMobile}, {"iPhone", deviceMobile}, {"iPod", deviceMobile},
	{"Android", deviceTablet},
}

// deviceType names the kind of device of a user agent; empty for an empty one, deviceDesktop for one
// that no rule knows.
func deviceType(userAgent []byte) string {
	if len(userAgent) == 0 {
		return ""
	}
	for _, r := range deviceRules {
		if bytes.Contains(userAgent, []byte(r.text)) {
			return r.device
		}
	}
	return deviceDesktop
}
